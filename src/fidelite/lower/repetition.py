"""A body that is repeated by LiteRT's WHILE: its variables, what it captures, and the outputs that it collects.

All operands of a WHILE are variables of the loop: what is only read is passed on unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fidelite.errors import NeedsStaticShape, UnsupportedAttribute
from fidelite.lower.scope import Scope
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, Shape, is_static, symbols
from fidelite.tflite.graph import Graph, Tensor
from fidelite.tflite.types import ElementType


class Step(Protocol):
    """One repetition, as functions of the variables."""

    def body(self, scope: Scope, variables: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The variables after it, and what it gives besides."""
        ...

    def condition(self, b: Builder, variables: list[Tensor]) -> Tensor: ...


def kept_dims(scope: Scope, a: Shape, c: Shape) -> list[Dim | None]:
    """Dimensions that both have, where the symbols in them are known in `scope`; None where only the run time knows."""
    return [x if x == y and all(scope.b.knows_symbol(s) for s in symbols([x])) else None
            for x, y in zip(a, c, strict=True)]


def finish(scope: Scope, outputs: Sequence[Tensor], *, passing: bool = False) -> None:
    """Give a called graph its outputs: tensors of their own, or, if `passing`, its inputs in their places."""
    graph = scope.graph
    for position, tensor in enumerate(outputs):
        unchanged = position < len(graph.inputs) and graph.inputs[position] is tensor
        own = tensor not in graph.outputs and not tensor.is_constant
        if not own or (tensor in graph.inputs and not (passing and unchanged)):
            tensor = scope.copy(tensor)
        graph.outputs.append(tensor)


class Repetition:
    def __init__(self, scope: Scope, name: str, step: Step) -> None:
        self.scope, self.name, self.step = scope, name, step

    def probe(self, initial: Sequence[Tensor]) -> list[tuple[ElementType, Shape]]:
        """Types of what the body gives besides its variables, in symbols of the graph around."""
        found: list[tuple[ElementType, Shape]] = []
        for tensor in self._stable(initial)[2]:
            if None in kept_dims(self.scope, tensor.shape, tensor.shape):
                raise NeedsStaticShape(f"what a loop collects ('{tensor.name}') has a shape that changes in the loop",
                                       remedy="give it a fixed shape, or a fixed number of iterations")
            found.append((tensor.element, tensor.shape))
        return found

    def run(self, initial: Sequence[Tensor]) -> list[Tensor]:
        """The variables when the condition no longer holds."""
        inner, outputs, _, shapes = self._stable(initial)
        finish(inner, outputs, passing=True)
        inner.graph.outputs += inner.graph.inputs[len(initial):]
        self._refuse_empty(initial, shapes)
        captured = list(inner.captures)
        types = [*((t.element, s) for t, s in zip(initial, shapes, strict=True)),
                 *((t.element, list[Dim | None](t.shape)) for t in captured)]
        return self.scope.b.while_(self._condition(inner), inner.graph, [*initial, *captured],
                                   types)[:len(initial)]

    def _refuse_empty(self, initial: Sequence[Tensor], shapes: Sequence[Sequence[Dim | None]]) -> None:
        changes = any(None in shape for shape in shapes)
        for tensor in initial:
            if changes and 0 in tensor.shape:
                raise UnsupportedAttribute(
                    f"'{tensor.name}' is empty before the loop, in which shapes change: LiteRT's WHILE cannot",
                    remedy="start the loop with an element, or collect elements as the loop's scan outputs")

    def _stable(self, initial: Sequence[Tensor]) -> tuple[Scope, list[Tensor], list[Tensor], list[list[Dim | None]]]:
        """The body, lowered with variables of shapes that hold in every repetition: a dimension that the body
        changes is a symbol."""
        shapes: list[list[Dim | None]] = [list(t.shape) for t in initial]
        while True:
            inner = self.scope.nested(f"{self.name}/body")
            variables = [inner.b.sized_at_run_time(Tensor(f"{self.name}/variable:{i}", t.element, ()), shape)
                         for i, (t, shape) in enumerate(zip(initial, shapes, strict=True))]
            inner.graph.inputs += variables
            after, besides = self.step.body(inner, variables)
            changed = False
            for before, now, shape in zip(variables, after, shapes, strict=True):
                if now.element is not before.element or now.rank != before.rank:
                    raise UnsupportedAttribute(
                        f"a loop changes '{now.name}' from {before.rank} dimensions ({before.element.name}) to "
                        f"{now.rank} ({now.element.name}), which LiteRT's WHILE cannot",
                        remedy="keep the type and the number of dimensions of loop-carried values")
                for axis, dim in enumerate(now.shape):
                    if shape[axis] is not None and dim != shape[axis]:
                        shape[axis], changed = None, True
            if not changed:
                return inner, after, besides, shapes

    def _condition(self, inner: Scope) -> Graph:
        graph = Graph(f"{self.name}/condition")
        graph.inputs += [Tensor(t.name, t.element, t.shape) for t in inner.graph.inputs]
        b = Builder(graph)
        b.nodes, b.made_by = self.scope.b.nodes, self.scope.b.made_by
        graph.outputs.append(self.step.condition(b, graph.inputs))
        return graph


class Buffers:
    """What a loop collects along a new first axis: written in place where it is known how often the loop runs at most,
    else joined, one by one, to a first entry that is dropped at the end: LiteRT's WHILE fails on variables that change
    their shape and begin empty.
    """

    def __init__(self, count: int | None) -> None:
        self.count = count
        self.elements: list[tuple[ElementType, Shape]] = []

    def initial(self, b: Builder) -> list[Tensor]:
        return [self._initial(b, element, shape) for element, shape in self.elements]

    def _initial(self, b: Builder, element: ElementType, shape: Shape) -> Tensor:
        whole = (1 if self.count is None else self.count, *shape)
        if self.count is None and is_static(shape):
            return b.constant(np.zeros(whole, element.dtype))  # type: ignore[arg-type]
        return b.fill(b.shape_operand(whole), b.scalar(0, element), whole)

    def collected(self, b: Builder, buffers: Sequence[Tensor], ran: Tensor | None = None, *,
                  at_front: Sequence[bool] = ()) -> list[Tensor]:
        """What the buffers hold after the loop, which ran `ran` times (None: the known number)."""
        if self.count is not None:
            return list(buffers) if ran is None else [_first(b, buffer, ran) for buffer in buffers]
        fronts = at_front or [False] * len(buffers)
        found: list[Tensor] = []
        for buffer, front in zip(buffers, fronts, strict=True):
            rest = (1 << buffer.rank) - 1
            shape = (buffer.shape[0] - 1, *buffer.shape[1:])
            begin, end = [0] * buffer.rank, [0] * buffer.rank
            begin[0], end[0] = (0, -1) if front else (1, 0)
            found.append(b.strided_slice(buffer, begin, end, [1] * buffer.rank, shape, begin_mask=rest - int(not front),
                                         end_mask=rest - int(front)))
        return found

    def put(self, b: Builder, buffers: Sequence[Tensor], elements: Sequence[Tensor], index: Tensor, *,
            at_front: Sequence[bool] = ()) -> list[Tensor]:
        """The buffers with one element more each; `index` is the number of the repetition."""
        fronts = at_front or [False] * len(elements)
        return [self._put(b, buffer, b.unsqueeze(one, [0]), index, front)
                for buffer, one, front in zip(buffers, elements, fronts, strict=True)]

    def _put(self, b: Builder, buffer: Tensor, one: Tensor, index: Tensor, front: bool) -> Tensor:
        if self.count is None:
            return b.concat([one, buffer] if front else [buffer, one], 0)
        place = b.cast(index, ElementType.INT32)
        place = b.sub(b.scalar(self.count - 1, place), place) if front else place
        place = b.reshape(place, (1,))
        if one.rank > 1:
            place = b.concat([place, b.int32([0] * (one.rank - 1))], 0)
        return b.one("DYNAMIC_UPDATE_SLICE", [buffer, one, place], buffer.element, buffer.shape)


def _first(b: Builder, buffer: Tensor, count: Tensor) -> Tensor:
    """The first `count` (int64, rank 0) entries."""
    sizes = b.reshape(b.cast(count, ElementType.INT32), (1,))
    if buffer.rank > 1:
        sizes = b.concat([sizes, b.int32([-1] * (buffer.rank - 1))], 0)
    result = b.one("SLICE", [buffer, b.int32([0] * buffer.rank), sizes], buffer.element, buffer.shape)
    return b.sized_at_run_time(result, [None, *buffer.shape[1:]])


def stack_of(b: Builder, parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors of one shape along a new axis."""
    axis %= parts[0].rank + 1
    return b.concat([b.unsqueeze(p, [axis]) for p in parts], axis)
