"""Move views past what does not mind them, so that they meet other views and merge.

    f(reshape(x)) = reshape(f(x))                       f element by element, or a FULLY_CONNECTED on the last axis
    views(slice_i(x)) = slice_i(views of all slices(x)) for sibling slices of one entry that are viewed alike
    a @ transpose(b) = BATCH_MATMUL(a, b, adjY)         chosen so that the innermost axis stays innermost
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fidelite.optimize.passes import Log, only_user
from fidelite.optimize.views import Shape, Step, innermost_is_last, plan_of, step_of
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Graph, Model, Operator, Tensor

_UNARY_NAMES = ("RELU RELU6 RELU_N1_TO_1 LOGISTIC TANH GELU HARD_SWISH ABS NEG EXP LOG SQRT RSQRT SIN COS SQUARE ELU "
                "LEAKY_RELU FLOOR CEIL ROUND CAST")
_UNARY = frozenset(_UNARY_NAMES.split())
_SCALED = frozenset({"MUL", "ADD", "SUB", "DIV"})


def _is_view(operator: Operator | None, *kinds: str) -> bool:
    """A static RESHAPE or TRANSPOSE with known parameters."""
    if operator is None or operator.op not in (kinds or ("RESHAPE", "TRANSPOSE")):
        return False
    source = operator.inputs[0]
    return source is not None and not source.is_constant and source.is_static and operator.outputs[0].is_static \
        and bool(step_of(operator)[0])


def _transparent(operator: Operator) -> int | None:
    """The position of the only operand that is no constant, where a RESHAPE may pass `operator`."""
    if operator.op in _UNARY or operator.op == "FULLY_CONNECTED":
        free = [i for i, t in enumerate(operator.inputs) if t is not None and not t.is_constant]
        return 0 if free == [0] else None
    if operator.op in _SCALED and len(operator.inputs) == 2:
        for i in (0, 1):
            a, b = operator.inputs[i], operator.inputs[1 - i]
            if a is not None and b is not None and not a.is_constant and b.constant is not None and \
                    b.constant.size == 1 and b.rank <= 1:
                return i
    return None


@dataclass(frozen=True)
class MergeReshapesAcross:
    """RESHAPE, f, RESHAPE becomes f, RESHAPE or RESHAPE, f."""

    name: ClassVar[str] = "merge reshapes across"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            b = Builder(graph)
            for operator in graph.operators:
                position = _transparent(operator)
                if position is not None:
                    count += _sink(graph, b, operator, position, outputs) or \
                        _hoist(graph, b, operator, position, outputs)
        return count


def _reshape_before(operator: Operator, position: int, outputs: set[Tensor]) -> Operator | None:
    data = operator.inputs[position]
    before = data.producer if data is not None else None
    if data is None or before is None or not _is_view(before, "RESHAPE") or only_user(data, outputs) is not operator:
        return None
    return before


def _sink(graph: Graph, b: Builder, operator: Operator, position: int, outputs: set[Tensor]) -> int:
    """Let `operator` read what the RESHAPE before it read; the RESHAPEs after it do the rest."""
    before, result = _reshape_before(operator, position, outputs), operator.outputs[0]
    if before is None or result in outputs or not result.users or not all(_is_view(u, "RESHAPE") for u in result.users):
        return 0
    source, seen = before.inputs[0], before.outputs[0]
    assert source is not None
    if source.rank == 0:  # beside a constant of rank 1 it would have rank 1
        return 0
    shape = source.shape
    if operator.op == "FULLY_CONNECTED":
        if source.rank < 2 or source.shape[-1] != seen.shape[-1] or seen.rank != result.rank:
            return 0
        shape = (*source.shape[:-1], result.shape[-1])
        operator.options["keepNumDims"] = source.rank != 2
    graph.set_inputs(operator, [source if i == position else t for i, t in enumerate(operator.inputs)])
    result.shape, result.origin = shape, None
    graph.remove(before)
    return 1


def _hoist(graph: Graph, b: Builder, operator: Operator, position: int, outputs: set[Tensor]) -> int:
    """Let the RESHAPE before `operator` give the shape that the one after it wants."""
    before, result = _reshape_before(operator, position, outputs), operator.outputs[0]
    after = only_user(result, outputs)
    if before is None or after is None or not _is_view(after, "RESHAPE"):
        return 0
    source, seen, wanted = before.inputs[0], before.outputs[0], after.outputs[0]
    assert source is not None
    target = wanted.static_shape
    if not target:  # beside a constant of rank 1 it would have rank 1
        return 0
    if operator.op == "FULLY_CONNECTED":
        if wanted.rank < 2 or wanted.shape[-1] != result.shape[-1] or seen.rank != result.rank:
            return 0
        target = (*target[:-1], seen.static_shape[-1])
        operator.options["keepNumDims"] = len(target) != 2
    graph.set_inputs(before, [source, b.int32(list(target))])
    before.options["newShape"] = list(target)
    seen.shape, seen.origin = target, None
    graph.remove(after)
    graph.set_outputs(operator, [wanted])
    return 1


@dataclass(frozen=True)
class KeepInnermostAxes:
    """Swap the last two axes of a product's operand, with its `adj` flag, where that keeps memory in order."""

    name: ClassVar[str] = "keep innermost axes"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            b = Builder(graph)
            b.made_by = self.name
            for operator in graph.operators:
                if operator.op == "BATCH_MATMUL":
                    count += sum(_swap(graph, b, operator, position, outputs) for position in (0, 1))
        return count


def _swap(graph: Graph, b: Builder, operator: Operator, position: int, outputs: set[Tensor]) -> int:
    operand = operator.inputs[position]
    if operand is None or operand.rank < 2 or only_user(operand, outputs) is not operator:
        return 0
    scaled: Operator | None = None
    maker = operand.producer
    if maker is not None and maker.op in _SCALED | _UNARY and (at := _transparent(maker)) is not None:
        scaled, viewed = maker, maker.inputs[at]
        if viewed is None or only_user(viewed, outputs) is not scaled:
            return 0
        maker = viewed.producer
    if maker is None or not _is_view(maker):
        return 0
    root, steps = _chain(maker, outputs)
    shape = maker.outputs[0].static_shape
    swapped = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    more: list[Step] = [*steps, ("TRANSPOSE", swapped)]
    old, new = plan_of(root.static_shape, steps), plan_of(root.static_shape, more)
    if old is None or new is None or new.operators > old.operators or not innermost_is_last(root.static_shape, more) \
            or innermost_is_last(root.static_shape, steps):
        return 0
    b.nodes = maker.nodes
    turned = b.transpose(maker.outputs[0], swapped)
    if scaled is None:
        replaced = turned
    else:
        graph.set_inputs(scaled, [turned if t is maker.outputs[0] else t for t in scaled.inputs])
        operand.shape, operand.origin = turned.shape, None
        replaced = operand
    graph.set_inputs(operator, [replaced if i == position else t for i, t in enumerate(operator.inputs)])
    flag = ("adjX", "adjY")[position]
    operator.options[flag] = not operator.options.get(flag)
    return 1


def _chain(last: Operator, outputs: set[Tensor]) -> tuple[Tensor, list[Step]]:
    """The root of the views that end in `last` and serve nothing else, and their steps."""
    steps = [step_of(last)]
    source = last.inputs[0]
    assert source is not None
    while source.producer is not None and _is_view(source.producer) and only_user(source, outputs) is not None:
        steps.insert(0, step_of(source.producer))
        source = source.producer.inputs[0]
        assert source is not None
    return source, steps


@dataclass(frozen=True)
class HoistViewsAboveSlices:
    """Sibling SLICEs of one entry each, all viewed alike: view the whole once, and slice that."""

    name: ClassVar[str] = "hoist views above slices"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            b = Builder(graph)
            b.made_by = self.name
            for tensor in list(graph.tensors()):
                if len(tensor.users) >= 2 and tensor.is_static and not tensor.is_constant:
                    count += _hoist_views(graph, b, tensor, outputs)
        return count


@dataclass(frozen=True)
class _Sibling:
    slice: Operator
    axis: int
    index: int
    steps: tuple[Step, ...]
    end: Tensor


def _hoist_views(graph: Graph, b: Builder, whole: Tensor, outputs: set[Tensor]) -> int:
    groups: dict[Hashable, list[_Sibling]] = {}
    for user in whole.users:
        sibling = _sibling(user, whole, outputs)
        if sibling is not None:
            key = (sibling.axis, sibling.end.shape, _effect(sibling))
            groups.setdefault(key, []).append(sibling)
    count = 0
    for siblings in groups.values():
        if len(siblings) >= 2 and any(kind == "TRANSPOSE" for kind, _ in siblings[0].steps):
            _view_whole(graph, b, whole, siblings)
            count += 1
    return count


def _effect(sibling: _Sibling) -> Hashable:
    """What the views do, however it is written."""
    source = sibling.slice.outputs[0].static_shape
    plan = plan_of(source, list(sibling.steps))
    return None if plan is None else (plan.merged, plan.permutation, plan.target)


def _sibling(operator: Operator, whole: Tensor, outputs: set[Tensor]) -> _Sibling | None:
    begin, size = (operator.inputs[1], operator.inputs[2]) if operator.op == "SLICE" else (None, None)
    if begin is None or size is None or begin.constant is None or size.constant is None:
        return None
    result = operator.outputs[0]
    cut = [i for i, (a, c) in enumerate(zip(whole.shape, result.shape, strict=True)) if a != c]
    if len(cut) != 1 or result.shape[cut[0]] != 1:
        return None
    steps: list[Step] = []
    end, user = result, only_user(result, outputs)
    while user is not None and _is_view(user):
        steps.append(step_of(user))
        end = user.outputs[0]
        user = only_user(end, outputs)
    if not steps or end in outputs:
        return None
    return _Sibling(operator, cut[0], int(begin.constant.numpy()[cut[0]]), tuple(steps), end)


def _view_whole(graph: Graph, b: Builder, whole: Tensor, siblings: list[_Sibling]) -> None:
    first = siblings[0]
    b.nodes = first.slice.nodes
    count = whole.static_shape[first.axis]
    order = (first.axis, *(a for a in range(whole.rank) if a != first.axis))
    made = b.transpose(whole, order)
    made = b.reshape(made, (count, *first.slice.outputs[0].static_shape))
    for kind, value in first.steps:
        made = b.reshape(made, (count, *value)) if kind == "RESHAPE" else b.transpose(
            made, (0, *(a + 1 for a in value)))
    final: Shape = first.end.static_shape
    leads = bool(final) and final[0] == 1
    made = b.reshape(made, (count, *final[1:]) if leads else (count, *final))
    for sibling in siblings:
        begin = np.zeros(made.rank, np.int64)
        begin[0] = sibling.index
        b.nodes = sibling.slice.nodes
        part = b.slice(made, begin.tolist(), (1, *made.shape[1:]))
        part = b.reshape(part, final)
        part.origin = sibling.end.origin
        graph.replace_uses(sibling.end, part)
