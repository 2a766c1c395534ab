"""Bring operators that only move elements to the integers' side of DEQUANTIZE and QUANTIZE.

    move(DEQUANTIZE(q)) = DEQUANTIZE(move(q))          QUANTIZE(move(x)) = move(QUANTIZE(x))

Both are exact: rounding to a grid goes element by element, and keeps order.
"""

from __future__ import annotations

import numpy as np

from fidelite.quantize.integer.factors import pass_factor
from fidelite.quantize.integer.work import Work
from fidelite.tflite.graph import Operator, Tensor
from fidelite.tflite.grid import Grid, grid_of_tensor
from fidelite.tflite.ops import FUSED_ACTIVATIONS
from fidelite.tflite.quantized import Kind, Row, row_of
from fidelite.tflite.types import ElementType

MAX_ROUNDS = 64
_FLOAT32 = ElementType.FLOAT32


def settle(work: Work) -> None:
    """Cancel and move until nothing changes."""
    for _ in range(MAX_ROUNDS):
        changed = 0
        for operator in work.graph.operators:
            if operator in work.graph:
                changed += cancel(work, operator) or _down(work, operator) or pass_factor(work, operator)
        for operator in reversed(work.graph.operators):
            if operator in work.graph:
                changed += _up(work, operator)
        work.drop_dead()
        work.graph.sort()
        if not changed:
            return


def cancel(work: Work, operator: Operator) -> int:
    """QUANTIZE(DEQUANTIZE(q)): q itself, or q rounded to the other grid at once."""
    source = operator.inputs[0]
    if operator.op != "QUANTIZE" or source is None:
        return 0
    behind, result = work.behind(source), operator.outputs[0]
    grid = grid_of_tensor(result)
    if behind is None or grid is None:
        return 0
    if grid_of_tensor(behind) != grid:
        work.graph.set_inputs(operator, [behind])
        return 1
    if result not in work.outputs:
        work.graph.replace_uses(result, behind)
        behind.origin = behind.origin or result.origin
        work.graph.remove(operator)
        return 1
    maker = behind.producer
    if maker is None or behind in work.outputs:
        return 0
    work.graph.remove(operator)
    work.graph.set_outputs(maker, [result if t is behind else t for t in maker.outputs])
    work.graph.replace_uses(behind, result)
    return 1


def _float_mover(operator: Operator) -> Row | None:
    row = row_of(operator.op)
    if row is None or row.kind is not Kind.MOVES:
        return None
    quantities = row.quantities(operator)
    return row if quantities and all(t.element is _FLOAT32 for t in quantities) else None


def _down(work: Work, operator: Operator) -> int:
    """Move DEQUANTIZE behind an operator whose operands all come from one grid."""
    row = _float_mover(operator)
    if row is None or operator.options.get("fusedActivationFunction") not in (None, 0, FUSED_ACTIVATIONS["RELU"]):
        return 0
    grids = {grid_of_tensor(q) for t in row.quantities(operator) if (q := work.behind(t)) is not None}
    grid = next(iter(grids), None)
    if len(grids) != 1 or grid is None or grid.element not in row.types:
        return 0
    operands = list(operator.inputs)
    for position in row.positions(operator):
        tensor = operator.inputs[position]
        assert tensor is not None
        behind = work.behind(tensor)
        if behind is None and not (tensor.is_constant and _holds(operator, position, tensor, grid)):
            return 0
        operands[position] = behind if behind is not None else work.integer(tensor, grid)
    _make_integer(work, operator, operands, grid)
    return 1


def _holds(operator: Operator, position: int, tensor: Tensor, grid: Grid) -> bool:
    """Whether a constant lies on `grid` exactly, or is the padding of a maximum that never wins."""
    assert tensor.constant is not None
    values = tensor.constant.numpy().astype(np.float64)
    readers = operator.outputs[0].users
    if operator.op == "PADV2" and position == 2 and readers and all(u.op == "MAX_POOL_2D" for u in readers) and \
            float(values.reshape(-1)[0]) <= (grid.low - grid.zero_point) * grid.scale:
        return True
    steps = values / grid.scale + grid.zero_point
    return bool(np.isfinite(steps).all() and np.all(steps >= grid.low) and np.all(steps <= grid.high)
                and np.all(np.abs(steps - np.rint(steps)) < 1e-4))


def _up(work: Work, operator: Operator) -> int:
    """Move the QUANTIZE of all readers before an operator."""
    row = _float_mover(operator)
    if row is None or not operator.outputs:
        return 0
    grids = [work.target(t) for t in operator.outputs if t.element is _FLOAT32]
    grid = grids[0] if grids else None
    if grid is None or any(g != grid for g in grids) or grid.element not in row.types:
        return 0
    if operator.op == "PAD" and not grid.low <= grid.zero_point <= grid.high:
        return 0
    operands = list(operator.inputs)
    for position in row.positions(operator):
        tensor = operator.inputs[position]
        assert tensor is not None
        operands[position] = work.integer(tensor, grid)
    _make_integer(work, operator, operands, grid)
    return 1


def _make_integer(work: Work, operator: Operator, operands: list[Tensor | None], grid: Grid) -> None:
    if operator.op == "PADV2" and (value := operands[2]) is not None and value.constant is not None and \
            int(value.constant.numpy().reshape(-1)[0]) == grid.zero_point:
        operator.op, operands = "PAD", operands[:2]
    work.graph.set_inputs(operator, operands)
    work.give(operator, [work.result_like(t, grid) if t.element is _FLOAT32 else t for t in operator.outputs])
