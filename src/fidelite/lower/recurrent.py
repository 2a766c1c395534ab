"""RNN, GRU and LSTM: the input's part of all steps is one product, and each step is a few operators, unrolled.

Sequences that are long, or of a length that only the run time knows, run in a WHILE (`recurrent_loop`).

LiteRT's fused sequence operators keep their state from one invocation to the next, so they are never used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedAttribute
from fidelite.lower.node import Node
from fidelite.lower.recurrent_cells import (
    Cell,
    GruCell,
    LstmCell,
    MakeCell,
    RnnCell,
    Settings,
    States,
    Weights,
    activations,
    cut,
)
from fidelite.lower.recurrent_loop import Loop
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor

MAX_UNROLLED = 256
"""Steps times directions up to which a sequence is unrolled."""
MAX_UNROLLED_BYTES = 1 << 20
"""As above, of the weights that all steps read: XNNPACK packs those of each step anew. Beyond the processor's second
cache an unrolled step waits for memory (H = 64, 40 steps: 3.0 us, and 2.1 us in a WHILE; H = 32: 0.7 and 1.2)."""
ALWAYS_UNROLLED = 4
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@lowers("RNN", since=7)
def rnn(node: Node, b: Builder) -> Sequence[Tensor | None]:
    return _layer(node, b, 1, ["Tanh"], RnnCell)


@lowers("GRU", since=7)
def gru(node: Node, b: Builder) -> Sequence[Tensor | None]:
    return _layer(node, b, 3, ["Sigmoid", "Tanh"], GruCell)


@lowers("LSTM", since=7)
def lstm(node: Node, b: Builder) -> Sequence[Tensor | None]:
    return _layer(node, b, 4, ["Sigmoid", "Tanh", "Tanh"], LstmCell)


@dataclass(frozen=True, slots=True)
class Layer:
    """The operands of a node in float32. `time` is the axis of X that steps lie along, and that states keep as a unit
    axis: 0, or 1 where the batch comes first."""

    x: Tensor
    lengths: Tensor | None
    time: int

    @property
    def steps(self) -> Dim:
        return self.x.shape[self.time]

    def at_time(self, size: Dim, others: Dim) -> tuple[Dim, Dim, int]:
        """The shape of something that differs by step (`size` of them) and by batch entry."""
        return (size, others, 1) if self.time == 0 else (others, size, 1)


def _layer(node: Node, b: Builder, gates: int, defaults: Sequence[str], make: MakeCell) -> list[Tensor | None]:
    element = node.input(0).element
    x = b.float32(node.input(0))
    settings = _settings(node, b, defaults)
    reverses = _reverses(node)
    layer = Layer(x, _lengths(node), node.int_("layout", 0))
    sequences: list[Tensor | None] = []
    finals: list[tuple[Tensor, ...]] = []
    for index, reverse in enumerate(reverses):
        weights = _weights(node, b, index, gates, settings[index].hidden)
        states = tuple(_initial(node, b, position, index, layer.time)
                       for position in ((5, 6) if gates == 4 else (5,)))
        states = tuple(None if s is None or _is_zero(s) else s for s in states)
        if _may_unroll(layer, weights, len(reverses)):
            cell = make(weights, settings[index])
            sequence, last = _unrolled(b, layer, cell, states, settings[index].hidden, reverse, node.wants(0))
        else:
            loop = Loop(layer, make, weights, settings[index], reverse, node.wants(0))
            sequence, last = loop.run(node.scope, f"{node.name}/{'reverse' if reverse else 'forward'}", states)
            masks = _Masks(b, layer)
            last = tuple(_final(b, layer, s, masks, settings[index].hidden, given is not None)
                         for s, given in zip(last, states, strict=True))
        sequences.append(sequence)
        finals.append(last)
    results: list[Tensor | None] = [None]
    if node.wants(0):
        parts = [b.unsqueeze(s, [layer.time + 1]) for s in sequences if s is not None]
        results[0] = b.cast(b.concat(parts, layer.time + 1), element)
    for state in range(len(finals[0])):
        results.append(b.cast(b.concat([f[state] for f in finals], layer.time), element)
                       if node.wants(state + 1) else None)
    return results


# -- reading the node

def _reverses(node: Node) -> tuple[bool, ...]:
    direction = node.str_("direction", "forward")
    if direction not in _DIRECTIONS:
        raise UnsupportedAttribute(f"the direction '{direction}' is not in the standard",
                                   remedy="one of forward, reverse, bidirectional")
    return _DIRECTIONS[direction]


def _settings(node: Node, b: Builder, defaults: Sequence[str]) -> list[Settings]:
    """One per direction."""
    count = len(_reverses(node))
    names = node.strings("activations", None) or tuple(defaults) * count
    if len(names) != len(defaults) * count:
        raise InvalidModel(f"it names {len(names)} activations, and needs {len(defaults) * count}", where=node.where(),
                           remedy="export the model again")
    functions = activations(names, node.floats("activation_alpha", ()), node.floats("activation_beta", ()))
    hidden = b.static_dim(node.input(2).shape[-1], "the size of a recurrent state")
    size = len(defaults)
    return [Settings(hidden, functions[i * size:(i + 1) * size], node.float_("clip", None),
                     bool(node.int_("input_forget", 0)), bool(node.int_("linear_before_reset", 0)))
            for i in range(count)]


def _weights(node: Node, b: Builder, index: int, gates: int, hidden: int) -> Weights:
    """Those of direction `index`."""

    def part(position: int) -> Tensor | None:
        if node.optional(position) is None:
            return None
        operand = b.float32(node.input(position))
        one = cut(b, operand, 0, index, 1)
        return b.reshape(one, one.shape[1:])

    w, r, bias = part(1), part(2), part(3)
    assert w is not None
    assert r is not None
    size = gates * hidden
    halves = (None, None) if bias is None else (cut(b, bias, 0, 0, size), cut(b, bias, 0, size, size))
    return Weights(w, r, *halves, part(7) if gates == 4 else None)


def _initial(node: Node, b: Builder, position: int, index: int, time: int) -> Tensor | None:
    if node.optional(position) is None:
        return None
    return cut(b, b.float32(node.input(position)), time, index, 1)


def _is_zero(state: Tensor) -> bool:
    return state.constant is not None and not np.any(state.constant.numpy())


def _lengths(node: Node) -> Tensor | None:
    """The operand sequence_lens, or None where all sequences have full length."""
    lengths = node.optional(4)
    steps = node.input(0).shape[1 if node.int_("layout", 0) else 0]
    if lengths is not None and lengths.constant is not None and isinstance(steps, int) and \
            np.all(lengths.constant.numpy() >= steps):
        return None
    return lengths


# -- running a direction

def _may_unroll(layer: Layer, weights: Weights, directions: int) -> bool:
    if not isinstance(layer.steps, int):
        return False
    total = layer.steps * directions
    return layer.steps <= ALWAYS_UNROLLED or (
        total <= MAX_UNROLLED and total * weights.step_bytes <= MAX_UNROLLED_BYTES)


def _unrolled(b: Builder, layer: Layer, cell: Cell, states: States, hidden: int, reverse: bool,
              whole: bool) -> tuple[Tensor | None, tuple[Tensor, ...]]:
    """The outputs of all steps (if the `whole` sequence is asked for) and the last states."""
    steps = b.static_dim(layer.steps, "the number of unrolled steps")
    masks = _Masks(b, layer)
    initial = states
    projected = b.split(cell.project(b, layer.x), [1] * steps, layer.time) if steps else ()
    outputs: dict[int, Tensor] = {}
    for t in (range(steps - 1, -1, -1) if reverse else range(steps)):
        if masks.nobody(t):
            continue
        new = cell.step(b, projected[t], states)
        mask = masks.at(t)
        states = new if mask is None else tuple(
            b.select(mask, value, b.scalar(0.0, value) if old is None else old)
            for value, old in zip(new, states, strict=True))
        assert states[0] is not None
        outputs[t] = states[0]
    found: Tensor | None = None
    if whole and outputs:
        found = b.concat([outputs[t] for t in sorted(outputs)], layer.time)
        found = masks.zeroed(found, len(outputs))
        if len(outputs) < steps:
            behind = [steps - len(outputs) if i == layer.time else 0 for i in range(3)]
            found = b.pad(found, (0, 0, 0), behind)
    zeros = _zeros(b, layer, hidden, steps) if whole and found is None else found
    return zeros, tuple(_final(b, layer, s, masks, hidden, given is not None)
                        for s, given in zip(states, initial, strict=True))


def _zeros(b: Builder, layer: Layer, hidden: int, steps: int) -> Tensor:
    batch = b.static_dim(layer.x.shape[1 - layer.time], "the batch of an empty sequence")
    shape = (steps, batch, hidden) if layer.time == 0 else (batch, steps, hidden)
    return b.constant(np.zeros(shape, np.float32))


def _final(b: Builder, layer: Layer, state: Tensor | None, masks: _Masks, hidden: int, given: bool) -> Tensor:
    """The last state; 0 where a sequence is empty, as in ONNX Runtime."""
    if state is None:
        return _zeros(b, layer, hidden, 1)
    some = masks.not_empty() if given else None
    return state if some is None else b.select(some, state, b.scalar(0.0, state))


class _Masks:
    """Which entries of the batch are still running, step by step."""

    def __init__(self, b: Builder, layer: Layer) -> None:
        self.b, self.layer = b, layer
        lengths = layer.lengths
        self.known = lengths.constant.numpy().reshape(-1) if lengths is not None and lengths.constant else None
        self.lengths = None if lengths is None else b.reshape(lengths, layer.at_time(1, lengths.shape[0]))

    def nobody(self, t: int) -> bool:
        return self.known is not None and not np.any(self.known > t)

    def at(self, t: int) -> Tensor | None:
        """bool, by batch entry; None where all are running."""
        if self.lengths is None or (self.known is not None and bool(np.all(self.known > t))):
            return None
        return self._longer_than(np.asarray(t, np.int32))

    def not_empty(self) -> Tensor | None:
        return self.at(0)

    def zeroed(self, outputs: Tensor, steps: int) -> Tensor:
        """0 where a sequence has ended."""
        if self.lengths is None:
            return outputs
        numbers = np.arange(steps, dtype=np.int32).reshape((-1, 1, 1) if self.layer.time == 0 else (1, -1, 1))
        return self.b.select(self._longer_than(numbers), outputs, self.b.scalar(0.0, outputs))

    def _longer_than(self, numbers: np.ndarray) -> Tensor:
        assert self.lengths is not None
        if self.lengths.constant is not None:
            return self.b.constant(self.lengths.constant.numpy() > numbers)
        return self.b.compare("GREATER", self.lengths, self.b.constant(numbers))
