"""Exact rewrites for LiteRT's GPU delegate: what its parsers decline, misread or drop, in forms that they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fidelite.optimize.passes import Log
from fidelite.targets import gpu_rules
from fidelite.targets.gpu_operators import CHECKS
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.ops import FUSED_ACTIVATIONS

_PADS = frozenset({"PAD", "PADV2", "MIRROR_PAD"})
_SLICES = frozenset({"SLICE", "STRIDED_SLICE"})
_MASKS = ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")
_BINARY = frozenset(op for op, checks in CHECKS.items() if len(checks) >= 3)


def _float(operator: Operator) -> bool:
    """Whether all is static, and nothing has a scale."""
    return all(t is None or (t.is_static and t.quantization is None) for t in (*operator.inputs, *operator.outputs))


@dataclass(frozen=True)
class WriteForGpu:
    """Each operator of the main graph that breaks a rule of the delegate and has an exact form that does not."""

    name: ClassVar[str] = "write for the GPU delegate"

    def run(self, model: Model, log: Log) -> int:
        graph = model.main
        b = Builder(graph)
        b.made_by = self.name
        count = 0
        for operator in graph.operators:
            if not _float(operator):
                continue
            b.nodes = operator.nodes
            count += sum(rewrite(graph, b, operator) for rewrite in _REWRITES)
        return count


def _write_adjoints(graph: Graph, b: Builder, operator: Operator) -> int:
    """The delegate does not read adjX and adjY: the factor is transposed before."""
    if operator.op != "BATCH_MATMUL":
        return 0
    inputs = list(operator.inputs)
    count = 0
    for i, flag in enumerate(("adjX", "adjY")):
        factor = inputs[i]
        if not operator.options.get(flag) or factor is None:
            continue
        order = (*range(factor.rank - 2), factor.rank - 1, factor.rank - 2)
        inputs[i] = _permuted(factor, order) if factor.is_constant else b.transpose(factor, order)
        operator.options[flag] = False
        count += 1
    if count:
        graph.set_inputs(operator, inputs)
    return count


def _permuted(tensor: Tensor, order: Sequence[int]) -> Tensor:
    assert tensor.constant is not None
    constant = tensor.constant.permute(tuple(order))
    return Tensor(tensor.name, tensor.element, constant.shape, constant=constant)


def _write_activations(graph: Graph, b: Builder, operator: Operator) -> int:
    """The delegate drops the activation that is fused into a TRANSPOSE_CONV."""
    activation = operator.options.get("fusedActivationFunction", 0)
    names = {code: op for op, code in FUSED_ACTIVATIONS.items()}
    if operator.op != "TRANSPOSE_CONV" or activation not in names:
        return 0
    operator.options["fusedActivationFunction"] = 0
    result = operator.outputs[0]
    inner = Tensor(b.fresh_name("sum"), result.element, result.shape)
    graph.set_outputs(operator, [inner])
    graph.append(Operator(names[activation], [inner], [result], nodes=operator.nodes, made_by=WriteForGpu.name))
    return 1


def _write_whole_pools(graph: Graph, b: Builder, operator: Operator) -> int:
    """One window over the whole picture is a MEAN, which the delegate sums in parts."""
    x, y = operator.inputs[0], operator.outputs[0]
    if operator.op != "AVERAGE_POOL_2D" or x is None or operator.options.get("fusedActivationFunction"):
        return 0
    if (operator.options.get("filterHeight"), operator.options.get("filterWidth")) != x.static_shape[1:3] or (
            y.static_shape[1:3] != (1, 1)):
        return 0
    operator.op, operator.options = "MEAN", {"keepDims": True}
    graph.set_inputs(operator, [x, b.int32([1, 2])])
    return 1


def _write_kept_axes(graph: Graph, b: Builder, operator: Operator) -> int:
    """A reduction that drops axes, where the result's layout on the GPU would be another: keep them, then RESHAPE."""
    rules = {verdict[0] for one in CHECKS.get(operator.op, ()) for verdict in one(operator, graph)}
    x, axes = operator.inputs[0], operator.inputs[1] if len(operator.inputs) > 1 else None
    if gpu_rules.LAST_AXIS not in rules or x is None or axes is None or axes.constant is None:
        return 0
    reduced = {int(a) % x.rank for a in axes.constant.numpy().reshape(-1)}
    operator.options["keepDims"] = True
    _give_shape(graph, b, operator, tuple(1 if i in reduced else d for i, d in enumerate(x.static_shape)))
    return 1


def _write_views(graph: Graph, b: Builder, operator: Operator) -> int:
    """SQUEEZE and EXPAND_DIMS have no parser; RESHAPE has."""
    x, y = operator.inputs[0], operator.outputs[0]
    if operator.op not in ("SQUEEZE", "EXPAND_DIMS") or x is None:
        return 0
    graph.remove(operator)
    _reshape_into(graph, b, x, y)
    return 1


def _write_four_axes(graph: Graph, b: Builder, operator: Operator) -> int:
    """Paddings, slices and constants of fewer axes than four, where the delegate would read them otherwise."""
    x = operator.inputs[0]
    if operator.op in _PADS and x is not None and x.rank < 4:
        rows = _lead(operator.inputs[1], 4 - x.rank, 0)
        if rows is not None:
            return _in_four(graph, b, operator, [x, rows, *operator.inputs[2:]], positions=(0,))
    if operator.op in _SLICES and x is not None and x.rank < 3:
        return _slice_in_four(graph, b, operator, x)
    if operator.op in _BINARY:
        rules = {verdict[0] for one in CHECKS[operator.op] for verdict in one(operator, graph)}
        if gpu_rules.CONSTANT_LAYOUT in rules and all(t is not None and t.rank < 4 for t in operator.inputs):
            return _in_four(graph, b, operator, list(operator.inputs), positions=(0, 1))
    return 0


def _slice_in_four(graph: Graph, b: Builder, operator: Operator, x: Tensor) -> int:
    strided = operator.op == "STRIDED_SLICE"
    missing = 4 - x.rank
    if strided and any(operator.options.get(mask) for mask in _MASKS):
        return 0
    leads = [0, 1, 1] if strided else [0, 1]  # begin, end or size, step of the new axes
    moved = [_lead(t, missing, value) for t, value in zip(operator.inputs[1:], leads, strict=True)]
    if any(t is None for t in moved):
        return 0
    return _in_four(graph, b, operator, [x, *moved], positions=(0,))


def _lead(operand: Tensor | None, missing: int, value: int) -> Tensor | None:
    """An int32 operand with rows of `value` for the axes in front; None where it is computed."""
    if operand is None or operand.constant is None:
        return None
    array = operand.constant.numpy()
    rows = np.full((missing, *array.shape[1:]), value, array.dtype)
    constant = Constant.of(np.concatenate([rows, array]))
    return Tensor(operand.name, operand.element, constant.shape, constant=constant)


def _in_four(graph: Graph, b: Builder, operator: Operator, inputs: list[Tensor | None],
             positions: Sequence[int]) -> int:
    """The operator on values of four axes: ones in front, and a RESHAPE behind."""
    for i in positions:
        value = inputs[i]
        assert value is not None
        shape = (1,) * (4 - value.rank) + value.static_shape
        if value.constant is not None:
            constant = value.constant.reshape(shape)
            inputs[i] = Tensor(value.name, value.element, shape, constant=constant)
        else:
            inputs[i] = b.reshape(value, shape)
    graph.set_inputs(operator, inputs)
    result = operator.outputs[0]
    _give_shape(graph, b, operator, (1,) * (4 - result.rank) + result.static_shape)
    return 1


def _give_shape(graph: Graph, b: Builder, operator: Operator, shape: Sequence[int]) -> None:
    """Let the operator give `shape`, and a RESHAPE what it gave before."""
    result = operator.outputs[0]
    inner = Tensor(b.fresh_name("four"), result.element, tuple(shape))
    graph.set_outputs(operator, [inner])
    _reshape_into(graph, b, inner, result)


def _reshape_into(graph: Graph, b: Builder, x: Tensor, result: Tensor) -> None:
    sizes = list(result.static_shape)
    graph.append(Operator("RESHAPE", [x, b.int32(sizes)], [result], {"newShape": sizes}, nodes=b.nodes,
                          made_by=WriteForGpu.name))


_REWRITES = (_write_adjoints, _write_activations, _write_whole_pools, _write_kept_axes, _write_views, _write_four_axes)
