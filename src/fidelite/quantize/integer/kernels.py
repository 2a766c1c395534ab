"""Make an operator between DEQUANTIZE and QUANTIZE native, where the table of kernels has it for these grids."""

from __future__ import annotations

import numpy as np

from fidelite.quantize.integer.weights import native_weights, shifted, stored_as
from fidelite.quantize.integer.work import Work
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Operator, Tensor
from fidelite.tflite.grid import Grid, grid_of_tensor
from fidelite.tflite.quantized import Kind, Row, row_of
from fidelite.tflite.types import ElementType

_FLOAT32 = ElementType.FLOAT32
MAX_COARSER = 1.9
"""How much coarser the grid may be that a value is rounded to first: 0.5 x 1.9 steps, rounded again, and the rounding
that it is compared with, differ by at most one step."""
MAX_COARSER_FIXED = 1.01
"""The same for a kernel's own grid, which ends just below the largest value that its operator can have."""


def make_native(work: Work, operator: Operator) -> str:
    """Make `operator` native. Returns why that cannot be, or ''."""
    row = row_of(operator.op)
    if row is None:
        return "LiteRT has no integer kernel for it"
    quantities = row.quantities(operator)
    if not quantities or any(t.element is not _FLOAT32 for t in quantities):
        return "it does not compute in float32"
    if row.kind is Kind.READS:
        return _read(work, operator, row)
    grid = work.target(operator.outputs[0])
    if grid is None:
        return _why_not_rounded(work, operator.outputs[0])
    if any(t.users or t in work.outputs for t in operator.outputs[1:]):
        return "it has several results"
    sources = [work.behind(t) for t in quantities]
    reason = _why_not_sources(row, quantities, sources, grid)
    if reason:
        return reason
    if row.kind is Kind.WEIGHTED:
        return native_weights(work, operator, grid)
    return _compute(work, operator, row, grid)


def _why_not_rounded(work: Work, result: Tensor) -> str:
    if result in work.outputs:
        return "its result is an output of the model, in float32"
    if any(u.op != "QUANTIZE" for u in result.users):
        return "its result is not rounded before it is read"
    return "its result is rounded to several scales"


def _why_not_sources(row: Row, quantities: list[Tensor], sources: list[Tensor | None], grid: Grid) -> str:
    for tensor, source in zip(quantities, sources, strict=True):
        if source is None and not tensor.is_constant:
            return "an operand of it is not quantized"
    types = {s.element for s in sources if s is not None} | {grid.element}
    if len(types) > 1:
        return f"its operands and its result are of several types: {', '.join(sorted(t.name for t in types))}"
    if not types <= row.types:
        return f"LiteRT has no {grid.element.name} kernel for it"
    if all(s is None for s in sources):
        return "all its operands are constants"
    grids = [g for s in sources if s is not None and (g := grid_of_tensor(s)) is not None] + [grid]
    if grid.element is ElementType.INT16 and any(g.zero_point for g in grids):
        return "LiteRT's int16 kernels take no zero point"
    return ""


def _read(work: Work, operator: Operator, row: Row) -> str:
    """An operator whose result is an index: the same on the integers as on their values."""
    tensor = row.quantities(operator)[0]
    source = work.behind(tensor)
    if source is None:
        return "an operand of it is not quantized"
    if source.element not in row.types:
        return f"LiteRT has no {source.element.name} kernel for it"
    work.graph.set_inputs(operator, [source if t is tensor else t for t in operator.inputs])
    return ""


def _compute(work: Work, operator: Operator, row: Row, grid: Grid) -> str:
    """KEEPS, RESCALES and FIXED: the operands' integers, and a result on the grid that the kernel can give."""
    operands = list(operator.inputs)
    for position in row.positions(operator):
        tensor = operator.inputs[position]
        assert tensor is not None
        integers = work.behind(tensor) or _constant(tensor, grid.element)
        if integers is None:
            return "a constant operand of it has no scale"
        operands[position] = integers
    first = operands[row.positions(operator)[0]]
    assert first is not None
    own, most = grid, MAX_COARSER
    if row.kind is Kind.FIXED:
        own, most = row.fixed[grid.element], MAX_COARSER_FIXED
    elif row.kind is Kind.KEEPS:
        own = grid_of_tensor(first) or grid
    if own != grid and own.scale > most * grid.scale:
        return (f"its kernel rounds to steps of {own.scale:.4g}, too coarse for the model's {grid.scale:.4g}")
    finish(work, operator, operands, own, grid)
    return ""


def finish(work: Work, operator: Operator, operands: list[Tensor | None], own: Grid, grid: Grid) -> None:
    """Let `operator` compute on integers; its result on the grid `own`, and from there on `grid`."""
    result = operator.outputs[0]
    work.graph.set_inputs(operator, operands)
    if own == grid:
        work.give(operator, [work.result_like(result, grid), *operator.outputs[1:]])
        return
    middle = work.result_like(result, own)
    rounding = Operator("QUANTIZE", [middle], [result], nodes=operator.nodes, made_by="integerize")
    work.graph.set_outputs(operator, [middle, *operator.outputs[1:]])
    work.graph.append(rounding)
    work.give(rounding, [work.result_like(result, grid)])


def _constant(tensor: Tensor, element: ElementType) -> Tensor | None:
    """A constant operand as integers: those that it was stored as, or, of one number, that number as one scale."""
    if tensor.constant is None:
        return None
    known = stored_as(tensor)
    moved = shifted(known, element) if known is not None and known.grid.per_tensor else None
    if moved is not None:
        return Work.on(moved.integers, moved.grid, tensor.name)
    values = tensor.constant.numpy() if tensor.constant.size <= 1 << 20 else np.zeros(0)
    if values.size and np.isfinite(values).all() and np.all(values == values.reshape(-1)[0]):
        return _one_number(tensor, float(values.reshape(-1)[0]), element)
    return None


def _one_number(tensor: Tensor, value: float, element: ElementType) -> Tensor | None:
    top = 127 if element is not ElementType.INT16 else 32767
    zero_point = 128 if element is ElementType.UINT8 else 0
    scale = float(np.float32(abs(value) / top)) if value else 1.0
    if not scale > float(np.finfo(np.float32).tiny):
        return None
    grid = Grid.of(element, scale, zero_point)
    assert tensor.constant is not None
    number = zero_point + (top if value > 0 else -top if value < 0 else 0)
    return Work.on(Constant.of(np.full(tensor.constant.shape, number, element.dtype)), grid, tensor.name)
