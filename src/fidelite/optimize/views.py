"""Chains of RESHAPE and TRANSPOSE are one index map: write it with as few operators as it takes.

A chain is followed on the finest factors of its root's axes: a RESHAPE regroups them, a TRANSPOSE permutes them. Its
whole effect is an order of factors and a final shape, which takes at most RESHAPE, TRANSPOSE, RESHAPE, and often less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

from fidelite.optimize.passes import Log
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Graph, Model, Operator, Tensor

_VIEWS = frozenset({"RESHAPE", "TRANSPOSE"})
Shape = tuple[int, ...]
Step = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Plan:
    """RESHAPE to `merged`, TRANSPOSE by `permutation`, RESHAPE to the result's shape; each left out if it is idle."""

    merged: Shape
    permutation: tuple[int, ...]
    source: Shape
    target: Shape

    @property
    def transposed(self) -> Shape:
        return tuple(self.merged[a] for a in self.permutation)

    @property
    def operators(self) -> int:
        if self.permutation == tuple(range(len(self.permutation))):
            return int(self.source != self.target)
        return 1 + (self.merged != self.source) + (self.transposed != self.target)

    @property
    def transposes(self) -> int:
        return int(self.permutation != tuple(range(len(self.permutation))))


@dataclass(frozen=True)
class ShortenViews:
    """Rewrite each maximal chain of static views whose inner values nobody else reads."""

    name: ClassVar[str] = "shorten views"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            b = Builder(graph)
            b.made_by = self.name
            for operator in graph.operators:
                if operator in graph and operator.op in _VIEWS:
                    count += _drop_reduced_units(graph, operator, outputs) or _shorten(graph, b, operator, outputs)
        return count


def chain_to(operator: Operator) -> list[Operator]:
    """The views that lead to `operator`'s result, first to last."""
    chain = [operator]
    while True:
        source = chain[0].inputs[0]
        if source is None or source.is_constant:
            return chain
        maker = source.producer
        if maker is None or maker.op not in _VIEWS or not source.is_static or not _static(maker):
            return chain
        chain.insert(0, maker)


def _static(operator: Operator) -> bool:
    source = operator.inputs[0]
    return source is not None and source.is_static and operator.outputs[0].is_static and not source.is_constant


def _continues(operator: Operator) -> bool:
    """Whether every reader of the result is a view, so that longer chains cover this one."""
    users = operator.outputs[0].users
    return bool(users) and all(u.op in _VIEWS and _static(u) for u in users)


def _shorten(graph: Graph, b: Builder, operator: Operator, outputs: set[Tensor]) -> int:
    result = operator.outputs[0]
    if not _static(operator) or (_continues(operator) and result not in outputs):
        return 0
    chain = chain_to(operator)
    root = chain[0].inputs[0]
    assert root is not None
    for start in range(len(chain)):
        source = chain[start].inputs[0]
        assert source is not None
        part = chain[start:]
        plan = plan_of(source.static_shape, [step_of(o) for o in part])
        if plan is None:
            continue
        gone = _private(part, outputs)
        if result in outputs and plan.operators == 0:
            if _make_output(graph, source, operator, outputs):
                return 1
            if gone > 1 and operator.op == "RESHAPE":  # one copy will do
                graph.set_inputs(operator, [source, *operator.inputs[1:]])
                return 1
            continue
        better = (plan.transposes, plan.operators) < (sum(o.op == "TRANSPOSE" for o in part[-gone:]), gone)
        if better:
            _write(graph, b, source, plan, operator)
            return 1
    return 0


def _make_output(graph: Graph, source: Tensor, operator: Operator, outputs: set[Tensor]) -> bool:
    """Let `source`'s maker make the output that `operator` would copy it to."""
    maker, result = source.producer, operator.outputs[0]
    if maker is None or source in outputs or source.quantization != result.quantization:
        return False
    graph.remove(operator)
    graph.set_outputs(maker, [result if t is source else t for t in maker.outputs])
    graph.replace_uses(source, result)
    return True


def _private(chain: Sequence[Operator], outputs: set[Tensor]) -> int:
    """How many operators at the chain's end fall away if its end is made from its root."""
    count = 1
    for operator in reversed(chain[:-1]):
        result = operator.outputs[0]
        if len(result.users) != 1 or result in outputs:
            break
        count += 1
    return count


def private_part(chain: Sequence[Operator], outputs: set[Tensor]) -> Sequence[Operator]:
    """The end of a chain whose inner values serve nothing else."""
    return chain[-_private(chain, outputs):]


def step_of(operator: Operator) -> Step:
    """What a view does: its kind and its shape or permutation. Kind "" where that is not known."""
    if operator.op == "RESHAPE":
        return "RESHAPE", operator.outputs[0].static_shape
    order = operator.inputs[1]
    if order is None or order.constant is None:
        return "", ()
    return "TRANSPOSE", tuple(int(a) for a in order.constant.numpy())


def plan_of(source: Shape, steps: Sequence[Step]) -> Plan | None:
    """The shortest way to do `steps`; None where they cannot be followed (a run-time order, no elements)."""
    factors = _follow(source, steps)
    return None if factors is None else factors.plan(source, _final_shape(source, steps))


def effect_of(source: Shape, steps: Sequence[Step]) -> tuple[Shape, Shape, Shape] | None:
    """What `steps` do, however they are written: equal for chains that move every element to the same place."""
    factors = _follow(source, steps)
    if factors is None:
        return None
    plan = factors.merged(source, _final_shape(source, steps))
    return plan.merged, plan.permutation, plan.target


def innermost_is_last(source: Shape, steps: Sequence[Step]) -> bool:
    """Whether the source's innermost factor is still the innermost after `steps`."""
    factors = _follow(source, steps)
    order = [] if factors is None else [f for axis in factors.axes for f in axis]
    return bool(order) and order[-1] == max(order)


def _follow(source: Shape, steps: Sequence[Step]) -> _Factors | None:
    if any(not kind for kind, _ in steps) or prod(source) == 0:
        return None
    axes: list[list[int]] = []  # per axis, the factors it consists of
    sizes: list[int] = []
    for size in source:
        axes.append([len(sizes)] if size != 1 else [])
        if size != 1:
            sizes.append(size)
    order = _Factors(sizes, axes)
    for kind, value in steps:
        if kind == "TRANSPOSE":
            order.axes = [order.axes[a] for a in value]
        elif not order.regroup(value):
            return None
    return order


def _final_shape(source: Shape, steps: Sequence[Step]) -> Shape:
    shape = source
    for kind, value in steps:
        shape = value if kind == "RESHAPE" else tuple(shape[a] for a in value)
    return shape


class _Factors:
    """Factors of the root's axes, in the root's order, and how the present axes consist of them."""

    def __init__(self, sizes: list[int], axes: list[list[int]]) -> None:
        self.sizes = sizes
        self.axes = axes

    def regroup(self, shape: Shape) -> bool:
        """RESHAPE: read the factors in order into axes of `shape`, splitting factors where needed."""
        pending = [f for axis in self.axes for f in axis]
        axes: list[list[int]] = []
        for size in shape:
            axis: list[int] = []
            room = size
            while room > 1:
                if not pending:
                    return False
                factor = pending[0]
                have = self.sizes[factor]
                if room % have == 0:
                    axis.append(pending.pop(0))
                    room //= have
                elif have % room == 0:
                    self._split(factor, room)
                    pending = [g for f in pending for g in ([f] if f < factor else
                                                           [f, f + 1] if f == factor else [f + 1])]
                    axes = [[f + 1 if f > factor else f for f in a] for a in axes]
                    axis = [f + 1 if f > factor else f for f in axis]
                    axis.append(pending.pop(0))
                    room = 1
                else:
                    return False
            axes.append(axis)
        if pending:
            return False
        self.axes = axes
        return True

    def _split(self, factor: int, first: int) -> None:
        """Split a factor in two, the first (slower) of size `first`; factors after it move up by one."""
        self.sizes[factor:factor + 1] = [first, self.sizes[factor] // first]

    def plan(self, source: Shape, target: Shape) -> Plan:
        runs = self._runs()
        if len(runs) <= 1:
            return Plan(source, tuple(range(len(source))), source, target)
        plans = (_on_axes(source, target, self.sizes, runs), self._on_target_axes(source, target),
                 self._merged(runs, source, target))
        return min((p for p in plans if p is not None), key=lambda p: (p.operators, len(p.permutation)))

    def merged(self, source: Shape, target: Shape) -> Plan:
        """RESHAPE to runs of factors, TRANSPOSE, RESHAPE."""
        return self._merged(self._runs(), source, target)

    def _runs(self) -> list[list[int]]:
        """The factors in their present order, those together that follow each other in the root."""
        runs: list[list[int]] = []
        for factor in (f for axis in self.axes for f in axis):
            if runs and factor == runs[-1][-1] + 1:
                runs[-1].append(factor)
            else:
                runs.append([factor])
        return runs

    def _on_target_axes(self, source: Shape, target: Shape) -> Plan | None:
        """A TRANSPOSE to the target's own axes (units included), where each is a run of factors."""
        if any(later != factor + 1 for axis in self.axes for factor, later in pairwise(axis)):
            return None
        solid = iter(sorted((i for i, axis in enumerate(self.axes) if axis), key=lambda i: self.axes[i][0]))
        order = [next(solid) if axis else i for i, axis in enumerate(self.axes)]  # units stay where they are
        merged = tuple(target[i] for i in order)
        return Plan(merged, tuple(order.index(i) for i in range(len(order))), source, target)

    def _merged(self, runs: list[list[int]], source: Shape, target: Shape) -> Plan:
        by_start = sorted(range(len(runs)), key=lambda i: runs[i][0])
        merged = tuple(prod(self.sizes[f] for f in runs[i]) for i in by_start)
        return Plan(merged, tuple(by_start.index(i) for i in range(len(runs))), source, target)


def _on_axes(source: Shape, target: Shape, sizes: Sequence[int], runs: list[list[int]]) -> Plan | None:
    """A TRANSPOSE of the source's own axes (units included), where runs begin and end at their borders."""
    borders: list[tuple[int, int]] = []  # per source axis, its factors [first, last)
    at = 0
    for size in source:
        first, left = at, size
        while left > 1 and at < len(sizes) and left % sizes[at] == 0:
            left //= sizes[at]
            at += 1
        if left != 1:
            return None
        borders.append((first, at))
    permutation: list[int] = []
    for run in runs:
        inside = [i for i, (first, last) in enumerate(borders) if first < last and run[0] <= first
                  and last <= run[-1] + 1]
        if sum(borders[i][1] - borders[i][0] for i in inside) != len(run):
            return None
        permutation += inside
    units = [i for i, (first, last) in enumerate(borders) if first == last]
    return _with_units(source, target, permutation, units)


def _with_units(source: Shape, target: Shape, permutation: list[int], units: list[int]) -> Plan:
    """Put the source's unit axes where the target has units, so that no RESHAPE is left over if possible."""
    if len(source) == len(target):
        rest, ones, order = iter(permutation), iter(units), list[int]()
        for size in target:
            axis = next(ones if size == 1 else rest, None)
            if axis is None:
                break
            order.append(axis)
        if len(order) == len(source) and tuple(source[a] for a in order) == target:
            return Plan(source, tuple(order), source, target)
    return Plan(source, (*units, *permutation), source, target)


def _write(graph: Graph, b: Builder, source: Tensor, plan: Plan, operator: Operator) -> None:
    """Make `operator`'s result by `plan` from `source`."""
    result = operator.outputs[0]
    b.nodes = operator.nodes
    graph.remove(operator)
    made = source
    if plan.transposes:
        made = b.transpose(_reshaped(b, made, plan.merged), plan.permutation)
    made = _reshaped(b, made, plan.target)
    if made is source:
        graph.replace_uses(result, source)
        return
    maker = made.producer
    assert maker is not None
    graph.set_outputs(maker, [result])


def _reshaped(b: Builder, x: Tensor, shape: Shape) -> Tensor:
    """A RESHAPE of `x` itself, whose result is nobody else's (the Builder's may be a tensor that was there before)."""
    if x.shape == shape:
        return x
    return b.one("RESHAPE", [x, b.int32(list(shape))], x.element, shape, newShape=list(shape))


def _drop_reduced_units(graph: Graph, operator: Operator, outputs: set[Tensor]) -> int:
    """A reduction that keeps unit axes, only for a RESHAPE to drop them."""
    source, result = operator.inputs[0], operator.outputs[0]
    maker = source.producer if source is not None else None
    if operator.op != "RESHAPE" or source is None or maker is None or not maker.options.get("keepDims"):
        return 0
    if len(source.users) != 1 or source in outputs or maker.inputs[0] is None or maker.inputs[1] is None:
        return 0
    axes = maker.inputs[1].constant
    if axes is None:
        return 0
    gone = {int(a) % source.rank for a in axes.numpy().reshape(-1)}
    if tuple(d for i, d in enumerate(source.shape) if i not in gone) != result.shape:
        return 0
    graph.remove(operator)
    maker.options["keepDims"] = False
    maker.nodes = tuple(dict.fromkeys((*maker.nodes, *operator.nodes)))
    graph.set_outputs(maker, [result])
    return 1
