"""A constant factor between two roundings is no rounding of its own: it changes the scale.

    c * DEQUANTIZE(q; s)  =  DEQUANTIZE(q; c s)          QUANTIZE(c x; s)  =  QUANTIZE(x; s / c)          c > 0

So the value on the other side of a MUL by c has a grid too, and the MUL, in integers, changes no number.
"""

from __future__ import annotations

import numpy as np

from fidelite.quantize.integer.work import Work
from fidelite.tflite.graph import Operator, Tensor
from fidelite.tflite.grid import Grid, grid_of_tensor
from fidelite.tflite.ops import FUSED_ACTIVATIONS
from fidelite.tflite.types import ElementType


def pass_factor(work: Work, operator: Operator) -> int:
    """Give the float result of a MUL (or DIV) by a constant, or its operand, the grid that it has by the other."""
    found = _factor(operator)
    if found is None:
        return 0
    value, factor = found
    result = operator.outputs[0]
    behind, target = work.behind(value), work.target(result)
    if (behind is None) == (target is None):
        return 0
    if behind is not None:
        grid = grid_of_tensor(behind)
        if grid is None or result in work.outputs or not result.users:
            return 0
        _round(work, result, _times(grid, factor), operator)
        return 1
    assert target is not None
    if value.producer is None or len(value.users) != 1 or value in work.outputs or value.producer.op == "DEQUANTIZE":
        return 0
    _round(work, value, _times(target, 1 / factor), value.producer)
    return 1


def _factor(operator: Operator) -> tuple[Tensor, float] | None:
    """The other operand of a MUL or DIV by one positive number, and what that multiplies by."""
    if operator.op not in ("MUL", "DIV") or operator.options.get("fusedActivationFunction") not in (
            None, 0, FUSED_ACTIVATIONS["RELU"]):
        return None
    for position in (1, 0) if operator.op == "MUL" else (1,):
        constant, value = operator.inputs[position], operator.inputs[1 - position]
        if constant is None or value is None or constant.constant is None or value.is_constant:
            continue
        if constant.constant.size != 1 or value.element is not ElementType.FLOAT32 or value.shape != \
                operator.outputs[0].shape:
            continue
        number = float(constant.constant.numpy().reshape(-1)[0])
        factor = 1 / number if operator.op == "DIV" and number else number
        if np.isfinite(factor) and factor > 0:
            return value, factor
    return None


def _times(grid: Grid, factor: float) -> Grid:
    return Grid.of(grid.element, float(np.float32(grid.scale * factor)), grid.zero_point)


def _round(work: Work, value: Tensor, grid: Grid, maker: Operator) -> None:
    """Put QUANTIZE and DEQUANTIZE behind a value whose numbers lie on `grid` anyway, or are rounded to it later."""
    rounded = Tensor(f"{value.name}/rounded", value.element, value.shape)
    work.graph.replace_uses(value, rounded)
    work.b.nodes = maker.nodes
    stored = work.b.emit("QUANTIZE", [value], [(grid.element, value.shape)])[0]
    stored.quantization = grid.quantization
    work.graph.append(Operator("DEQUANTIZE", [stored], [rounded], nodes=maker.nodes, made_by=work.b.made_by))
