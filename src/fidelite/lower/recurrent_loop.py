"""A direction of RNN, GRU or LSTM as a WHILE, for sequences that are too long to unroll or of unknown length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fidelite.lower.recurrent_cells import MakeCell, Settings, States, Weights, own_weights
from fidelite.lower.repetition import Repetition
from fidelite.lower.scope import Scope
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

if TYPE_CHECKING:
    from fidelite.lower.recurrent import Layer


@dataclass
class Loop:
    """The loop's variables: step, states, and the outputs of all steps if they are asked for (`whole`)."""

    layer: Layer
    make: MakeCell
    weights: Weights
    settings: Settings
    reverse: bool
    whole: bool
    projected: Tensor | None = None

    def run(self, scope: Scope, name: str, states: States) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """All outputs (not yet zeroed behind the end of each sequence), and the last states."""
        b = scope.b
        self.projected = self.make(self.weights, self.settings).project(b, self.layer.x)
        batch = self.layer.x.shape[1 - self.layer.time]
        head = [b.scalar(0, ElementType.INT32)]
        if not isinstance(self.layer.steps, int):
            head.append(b.reshape(b.shape_operand([self.layer.steps]), ()))
        initial = [*head, *(_zeros(b, self._shape(1, batch)) if s is None else s for s in states)]
        if self.whole:
            initial.append(_zeros(b, self._shape(self.layer.steps, batch)))
        results = Repetition(scope, name, self).run(initial)[len(head):]
        return results[-1] if self.whole else None, tuple(results[:len(states)])

    def _shape(self, steps: Dim, batch: Dim) -> tuple[Dim, Dim, int]:
        hidden = self.settings.hidden
        return (steps, batch, hidden) if self.layer.time == 0 else (batch, steps, hidden)

    def _length(self, b: Builder, variables: list[Tensor]) -> Tensor:
        steps = self.layer.steps
        return b.scalar(steps, ElementType.INT32) if isinstance(steps, int) else variables[1]

    def body(self, scope: Scope, variables: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        b, time = scope.b, self.layer.time
        assert self.projected is not None
        head = 1 if isinstance(self.layer.steps, int) else 2
        step, states = variables[0], variables[head:-1] if self.whole else variables[head:]
        one = b.scalar(1, step)
        place = b.sub(b.sub(self._length(b, variables), one), step) if self.reverse else step
        gates = b.gather(scope.capture(self.projected), b.reshape(place, (1,)), time)
        cell = self.make(own_weights(self.weights, scope.capture), self.settings)
        new: Sequence[Tensor] = cell.step(b, gates, tuple(states))
        output = new[0]
        if self.layer.lengths is not None:
            lengths = b.reshape(scope.capture(self.layer.lengths), self.layer.at_time(1, self.layer.lengths.shape[0]))
            running = b.compare("GREATER", lengths, place)
            output = b.select(running, new[0], b.scalar(0.0, new[0]))
            new = [b.select(running, after, before) for after, before in zip(new, states, strict=True)]
        after = [b.add(step, one), *variables[1:head], *new]
        if self.whole:
            places = [b.int32([0])] * 3
            places[time] = b.reshape(place, (1,))
            after.append(b.one("DYNAMIC_UPDATE_SLICE", [variables[-1], output, b.concat(places, 0)], output.element,
                               variables[-1].shape))
        return after, []

    def condition(self, b: Builder, variables: list[Tensor]) -> Tensor:
        return b.compare("LESS", variables[0], self._length(b, variables))


def _zeros(b: Builder, shape: Sequence[Dim]) -> Tensor:
    return b.fill(b.shape_operand(shape), b.scalar(0.0, ElementType.FLOAT32), tuple(shape))
