"""If, Loop and Scan: resolved when converting where that is possible, else LiteRT's IF and WHILE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedAttribute, UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.repetition import Buffers, Repetition, finish, kept_dims, stack_of
from fidelite.lower.scope import BodyFailed, Held, Scope, Unresolved
from fidelite.lower.sequences import TensorSequence
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

if TYPE_CHECKING:
    import onnx_ir

MAX_UNROLLED_NODES = 1024
"""Iterations times nodes of the body up to which a loop of known length is unrolled."""
_ENDLESS = 1 << 31


def body_of(node: Node, name: str) -> onnx_ir.Graph:
    body = node.graph(name)
    if body is None:
        raise InvalidModel(f"its attribute '{name}' is missing", code="F339", where=node.where(),
                           remedy="export the model again")
    return body


def size_of(body: onnx_ir.Graph) -> int:
    """Nodes of a body, those of bodies inside it included."""
    return max(sum(1 for _ in body.all_nodes()), 1)


def tensors(held: Sequence[Held], what: str) -> list[Tensor]:
    """Raises UnsupportedType where one is a sequence."""
    found: list[Tensor] = []
    for one in held:
        if isinstance(one, TensorSequence):
            raise UnsupportedType(f"{what} gives a sequence of tensors, which LiteRT does not have",
                                  remedy="let it give tensors")
        found.append(one)
    return found


# -- If

@lowers("If", partial="where the condition is computed: branches whose results differ in their number of dimensions, "
        "and sequences")
def if_(node: Node, b: Builder) -> Sequence[Held]:
    scope, condition = node.scope, node.input(0)
    if condition.constant is not None:
        chosen = "then_branch" if condition.constant.numpy().reshape(-1)[0] else "else_branch"
        return scope.inline(body_of(node, chosen))
    inner: list[Scope] = []
    results: list[list[Tensor]] = []
    failed = False
    for name in ("then_branch", "else_branch"):
        inner.append(scope.nested(f"{node.name}/{name}"))
        try:
            results.append(tensors(inner[-1].inline(body_of(node, name)), name))
        except BodyFailed:
            failed = True
    if failed:
        raise BodyFailed
    types = [_common(node, scope, a, c) for a, c in zip(*results, strict=True)]
    captured = list(dict.fromkeys(outer for one in inner for outer in one.captures))
    for one, outputs in zip(inner, results, strict=True):
        one.graph.inputs[:] = [one.capture(outer) for outer in captured]
        finish(one, outputs)
    return b.if_(b.reshape(condition, ()), inner[0].graph, inner[1].graph, captured, types)


def _common(node: Node, scope: Scope, a: Tensor, c: Tensor) -> tuple[ElementType, list[Dim | None]]:
    """The type of a result that comes from either branch."""
    if a.element is not c.element or a.rank != c.rank:
        raise UnsupportedAttribute(
            f"its branches give '{a.name}' of {a.rank} dimensions ({a.element.name}) and '{c.name}' of {c.rank} "
            f"({c.element.name}), and LiteRT's IF gives one type", where=node.where(),
            remedy="where the condition is computed from a size, fix that: --shape NAME=1,3,512,512; else let both "
                   "branches give the same type")
    return a.element, kept_dims(scope, a.shape, c.shape)


# -- Loop

@lowers("Loop", partial="loop-carried values that change their number of dimensions; sequences in loops that cannot "
        "be unrolled")
def loop(node: Node, b: Builder) -> Sequence[Held]:
    run = _Loop(node, b)
    if run.never:
        return run.nothing()
    found = node.scope.tried(run.unrolled) if run.may_unroll else None
    return run.repeated() if found is None else found


class _Loop:
    def __init__(self, node: Node, b: Builder) -> None:
        self.node, self.b, self.scope = node, b, node.scope
        self.body = body_of(node, "body")
        self.carried: list[Held] = [t for t in node.held[2:] if t is not None]
        self.trips, self.condition = node.optional(0), node.optional(1)
        self.count: int | None = None
        """How often it runs at most; None where that is not known, or no number is given."""
        if self.trips is not None and self.trips.constant is not None:
            self.count = int(self.trips.constant.numpy().reshape(-1)[0])
            if self.count >= _ENDLESS:
                self.count = self.trips = None
        self.scans = len(self.body.outputs) - 1 - len(self.carried)

    @property
    def never(self) -> bool:
        return (self.count is not None and self.count <= 0) or (
            self.condition is not None and self.condition.constant is not None
            and not self.condition.constant.numpy().reshape(-1)[0])

    @property
    def may_unroll(self) -> bool:
        begins = self.condition is None or self.condition.constant is not None
        bounded = self.count is not None or self.trips is None
        return begins and bounded and (self.count or 1) * size_of(self.body) <= MAX_UNROLLED_NODES

    def nothing(self) -> list[Held]:
        """The results of a loop that never runs."""
        empty: list[Held] = []
        for value in self.body.outputs[1 + len(self.carried):]:
            if value.shape is None or value.dtype is None or not value.shape.is_static():
                raise UnsupportedAttribute(f"a loop that never runs gives '{value.name}' of unknown shape",
                                           remedy="remove the loop from the model")
            dims = [int(d) for d in value.shape]  # type: ignore[arg-type]
            empty.append(self.b.constant(np.zeros((0, *dims), value.dtype.numpy())))
        return [*self.carried, *empty]

    def bindings(self, b: Builder, index: Tensor, going: Tensor, carried: Sequence[Held]) -> list[Held]:
        """The body's inputs; number and condition in the rank that the body declares."""
        ranks = [0 if v.shape is None else len(v.shape) for v in self.body.inputs[:2]]
        return [b.reshape(index, (1,) * ranks[0]), b.reshape(going, (1,) * ranks[1]), *carried]

    def unrolled(self) -> list[Held]:
        """Raises Unresolved where it cannot be told how often the loop runs."""
        carried, scans = self.carried, [list[Tensor]() for _ in range(self.scans)]
        limit = MAX_UNROLLED_NODES // size_of(self.body)
        index, true = 0, self.b.constant(np.asarray(True))
        while self.count is None or index < self.count:
            if index > limit:
                raise Unresolved
            number = self.b.constant(np.asarray(index, np.int64))
            given = self.bindings(self.b, number, true, carried)
            results = self.scope.inline(self.body, given, f":{index}")
            carried = results[1:1 + len(carried)]
            for scan, one in zip(scans, tensors(results[1 + len(carried):], "the loop"), strict=True):
                scan.append(one)
            going = results[0]
            if not isinstance(going, Tensor) or going.constant is None:
                raise Unresolved
            index += 1
            if not going.constant.numpy().reshape(-1)[0]:
                break
        return [*carried, *(stack_of(self.b, scan, 0) for scan in scans)]

    # as a WHILE

    def repeated(self) -> list[Tensor]:
        carried = tensors(self.carried, "a loop")
        dynamic = self.condition is not None and self.condition.constant is None
        try:
            return self._while(carried, asks=dynamic)
        except _Asks:
            return self._while(carried, asks=True)

    def _while(self, carried: list[Tensor], *, asks: bool) -> list[Tensor]:
        """`asks`: the body's condition is not always true, and becomes a variable of the loop."""
        b, scope = self.b, self.scope
        head = [b.scalar(0, ElementType.INT64)]
        if self.trips is not None and self.count is None:
            head.append(b.reshape(self.trips, ()))
        if asks:
            head.append(b.constant(np.asarray(True)) if self.condition is None else b.reshape(self.condition, ()))
        step = _LoopStep(self, asks=asks, head=len(head))
        repetition = Repetition(scope, self.node.name, step)
        buffers = Buffers(self.count)
        if self.scans:
            buffers.elements = repetition.probe([*head, *carried])
        step.buffers = buffers
        results = repetition.run([*head, *carried, *buffers.initial(b)])
        after = results[len(head):]
        return [*after[:len(carried)], *buffers.collected(b, after[len(carried):], results[0] if asks else None)]


class _Asks(Exception):
    """The body computes whether the loop goes on."""


@dataclass
class _LoopStep:
    """The body as a function of the loop's variables: number, [trips], [going on], carried values, scan outputs."""

    loop: _Loop
    asks: bool
    head: int
    buffers: Buffers | None = None

    def body(self, scope: Scope, variables: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        b, count = scope.b, len(self.loop.carried)
        index, going = variables[0], variables[self.head - 1] if self.asks else scope.b.constant(np.asarray(True))
        carried = variables[self.head:self.head + count]
        results = tensors(scope.inline(self.loop.body, self.loop.bindings(b, index, going, carried)), "a loop's body")
        goes_on, after, elements = results[0], results[1:1 + count], results[1 + count:]
        new = [b.add(index, b.scalar(1, index)), *variables[1:self.head]]
        if self.asks:
            new[-1] = b.reshape(goes_on, ())
        elif goes_on.constant is None or not goes_on.constant.numpy().reshape(-1)[0]:
            raise _Asks
        if self.buffers is not None:
            after = after + self.buffers.put(b, variables[self.head + count:], elements, index)
        return [*new, *after], elements

    def condition(self, b: Builder, variables: list[Tensor]) -> Tensor:
        trips: Tensor | None = None
        if self.loop.count is not None:
            trips = b.scalar(self.loop.count, ElementType.INT64)
        elif self.loop.trips is not None:
            trips = variables[1]
        below = b.compare("LESS", variables[0], trips) if trips is not None else b.constant(np.asarray(True))
        if not self.asks:
            return below if below.producer is not None else b.logical("LOGICAL_OR", below, below)
        return b.logical("LOGICAL_AND", variables[self.head - 1], below)


# -- Scan

@lowers("Scan", since=9, partial="state values that change their number of dimensions")
def scan(node: Node, b: Builder) -> Sequence[Held]:
    return _Scan(node, b, node.inputs()).results()


class _Scan:
    """Without a batch axis. `before`: as before opset 9, where axes and the outputs' order could not be chosen."""

    def __init__(self, node: Node, b: Builder, operands: Sequence[Tensor], *, before: bool = False) -> None:
        self.node, self.b, self.scope = node, b, node.scope
        self.body = body_of(node, "body")
        inputs = node.int_("num_scan_inputs")
        self.states = list(operands[:len(operands) - inputs])
        self.inputs = list(operands[len(operands) - inputs:])
        outputs = len(self.body.outputs) - len(self.states)
        zeros = (0,) * max(inputs, outputs)
        axes = node.ints("scan_input_axes", zeros[:inputs])
        self.axes = [node.normalized(a, t.rank) for a, t in zip(axes, self.inputs, strict=True)]
        backwards = node.ints("directions" if before else "scan_input_directions", zeros[:inputs])
        self.backwards = [bool(d) for d in backwards]
        self.output_axes = node.ints("scan_output_axes", zeros[:outputs])
        self.prepends = [bool(d) for d in node.ints("scan_output_directions", zeros[:outputs])]
        lengths = [t.shape[a] for t, a in zip(self.inputs, self.axes, strict=True)]
        self.length: Dim = next((d for d in lengths if isinstance(d, int)), lengths[0])

    def results(self) -> list[Held]:
        if isinstance(self.length, int) and self.length > 0 and self.length * size_of(self.body) <= MAX_UNROLLED_NODES:
            return self.unrolled(self.length)
        return [*self.repeated()]

    def unrolled(self, length: int) -> list[Held]:
        states: list[Tensor] = self.states
        scans: list[list[Tensor]] = [[] for _ in self.prepends]
        for step in range(length):
            places = [length - 1 - step if back else step for back in self.backwards]
            given = [_entry(self.b, x, axis, place)
                     for x, axis, place in zip(self.inputs, self.axes, places, strict=True)]
            results = tensors(self.scope.inline(self.body, [*states, *given], f":{step}"), "a scan's body")
            states = results[:len(states)]
            for found, one in zip(scans, results[len(states):], strict=True):
                found.append(one)
        return [*states, *(stack_of(self.b, found[::-1] if back else found, axis)
                           for found, axis, back in zip(scans, self.output_axes, self.prepends, strict=True))]

    def repeated(self) -> list[Tensor]:
        b = self.b
        head = [b.scalar(0, ElementType.INT32)]
        if not isinstance(self.length, int):
            head.append(b.reshape(b.shape_operand([self.length]), ()))
        step = _ScanStep(self, len(head))
        repetition = Repetition(self.scope, self.node.name, step)
        buffers = Buffers(self.length if isinstance(self.length, int) else None)
        buffers.elements = repetition.probe([*head, *self.states])
        step.buffers = buffers
        results = repetition.run([*head, *self.states, *buffers.initial(b)])[len(head):]
        count = len(self.states)
        collected = buffers.collected(b, results[count:], at_front=self.prepends)
        return [*results[:count], *(b.transpose(found, _to_axis(found.rank, axis))
                                    for found, axis in zip(collected, self.output_axes, strict=True))]


def _to_axis(rank: int, axis: int) -> list[int]:
    """The permutation that moves the first axis to `axis`."""
    order = list(range(1, rank))
    order.insert(axis % rank, 0)
    return order


def _entry(b: Builder, x: Tensor, axis: int, place: int) -> Tensor:
    """x[..., place, ...], without the axis."""
    if x.constant is not None:
        return b.constant(np.take(x.constant.numpy(), place, axis))
    one = b.slice(x, [place if i == axis else 0 for i in range(x.rank)],
                  [1 if i == axis else d for i, d in enumerate(x.shape)])
    return b.squeeze(one, [axis])


@dataclass
class _ScanStep:
    """The body as a function of the loop's variables: number, [length], states, scan outputs."""

    scan: _Scan
    head: int
    buffers: Buffers | None = None

    def body(self, scope: Scope, variables: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        b, scan, index = scope.b, self.scan, variables[0]
        count = len(scan.states)
        given: list[Tensor] = []
        for x, axis, back in zip(scan.inputs, scan.axes, scan.backwards, strict=True):
            place = b.sub(b.sub(self._length(b, variables), b.scalar(1, index)), index) if back else index
            given.append(b.gather(scope.capture(x), place, axis))
        results = tensors(scope.inline(scan.body, [*variables[self.head:self.head + count], *given]), "a scan's body")
        after, elements = results[:count], results[count:]
        if self.buffers is not None:
            after = after + self.buffers.put(b, variables[self.head + count:], elements, index,
                                             at_front=scan.prepends)
        return [b.add(index, b.scalar(1, index)), *variables[1:self.head], *after], elements

    def _length(self, b: Builder, variables: list[Tensor]) -> Tensor:
        length = self.scan.length
        return b.scalar(length, ElementType.INT32) if isinstance(length, int) else variables[1]

    def condition(self, b: Builder, variables: list[Tensor]) -> Tensor:
        return b.compare("LESS", variables[0], self._length(b, variables))


@lowers("Scan", until=8, partial="a batch or sequence lengths that only the run time knows")
def scan_in_batches(node: Node, b: Builder) -> Sequence[Held]:
    """Each entry of the batch (the first axis of all operands) is scanned along the second axis, for its own length."""
    operands = [t for t in node.operands[1:] if t is not None]
    batch = b.static_dim(operands[0].shape[0], "the batch of a Scan")
    lengths = [] if node.optional(0) is None else node.ints_at(0, "the sequence lengths")
    parts: list[list[Tensor]] = []
    for entry in range(batch):
        one = _Scan(node, b, [_entry(b, t, 0, entry) for t in operands], before=True)
        if lengths and lengths[entry] != one.length:
            raise UnsupportedAttribute("a Scan whose sequences end early has no lowering", where=node.where(),
                                       remedy="export the model with opset 9 or later")
        parts.append(tensors(one.results(), "a Scan"))
    return [stack_of(b, found, 0) for found in zip(*parts, strict=True)]
