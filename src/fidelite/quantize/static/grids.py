"""Grids of constants: weights per output channel and symmetric, other operands per tensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fidelite.errors import QuantizationError
from fidelite.quantize.calibration.parameters import grid_for
from fidelite.quantize.calibration.ranges import Range
from fidelite.tflite.graph import Graph, Operator, Quantization, Tensor
from fidelite.tflite.grid import Grid, grid_of
from fidelite.tflite.quantized import WEIGHTED, Kind, row_of
from fidelite.tflite.types import ElementType

Floats = NDArray[np.float64]
_SHRINKS = tuple(float(f) for f in np.linspace(1.0, 0.6, 41))
_SYMMETRIC = frozenset({"BATCH_MATMUL"})
"""Operators whose kernels take a constant operand at zero point 0 only, or faster."""


def constant_grids(graph: Graph, activations: ElementType, weights: ElementType, *, least_squares: bool) \
        -> dict[Tensor, Grid]:
    """A grid for each float constant that an operator with an integer kernel reads as a quantity.

    A constant that two operators want on different grids becomes two. Raises QuantizationError (F462) for weights
    that are NaN or infinite.
    """
    found: dict[Tensor, Grid] = {}
    for operator in graph.operators:
        for position, grid in _wanted(operator, activations, weights, least_squares):
            tensor = operator.inputs[position]
            assert tensor is not None
            if found.get(tensor, grid) != grid:
                own = Tensor(tensor.name, tensor.element, tensor.shape, constant=tensor.constant)
                graph.set_inputs(operator, [own if i == position else t for i, t in enumerate(operator.inputs)])
                tensor = own
            found[tensor] = grid
    return found


def _wanted(operator: Operator, activations: ElementType, weights: ElementType, least_squares: bool) \
        -> list[tuple[int, Grid]]:
    """Positions of constant operands, and the grids that the operator's kernel wants them on."""
    row = row_of(operator.op)
    if row is None:
        return []
    if row.kind is Kind.WEIGHTED:
        facts = WEIGHTED[operator.op]
        values = _float_constant(operator, facts.weights)
        if values is None:
            return []
        _check_finite(operator.inputs[facts.weights], values)
        return [(facts.weights, channel_grid(values, facts.axis, weights, least_squares=least_squares))]
    if row.kind is not Kind.RESCALES:
        return []
    found: list[tuple[int, Grid]] = []
    for position in row.positions(operator):
        values = _float_constant(operator, position)
        if values is not None and np.isfinite(values).all():
            low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
            if operator.op in _SYMMETRIC:
                low, high = -max(-low, high), max(-low, high)
            found.append((position, grid_for(Range(low, high), activations)))
    return found


def _float_constant(operator: Operator, position: int) -> Floats | None:
    """The values of a constant float operand that lies on no grid yet; None for others."""
    tensor = operator.inputs[position] if position < len(operator.inputs) else None
    if tensor is None or tensor.constant is None or tensor.element is not ElementType.FLOAT32:
        return None
    return None if grid_of(tensor.constant) is not None else tensor.constant.numpy().astype(np.float64)


def _check_finite(tensor: Tensor | None, values: Floats) -> None:
    if not np.isfinite(values).all():
        raise QuantizationError(f"the weights '{tensor.name if tensor else ''}' hold NaN or infinity", code="F462",
                                remedy="check the checkpoint, or use --precision float32")


def channel_grid(values: Floats, axis: int, element: ElementType, *, least_squares: bool) -> Grid:
    """A symmetric grid per entry of `axis`: its largest weight is the largest integer (127 of int8, 7 of int4), or,
    with `least_squares`, the scale with the least squared error of rounding and clipping."""
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    top = (1 << (element.bits - 1)) - 1
    largest = np.max(np.abs(rows), axis=1, initial=0.0)
    full = np.where(largest > 0, largest / top, 1.0)
    scale = least_squares_scale(rows, full, top) if least_squares else full
    scale = np.maximum(scale.astype(np.float32), np.finfo(np.float32).tiny)
    return Grid(element, Quantization(tuple(float(s) for s in scale), (0,) * len(scale), axis))


def least_squares_scale(rows: Floats, full: Floats, top: int) -> Floats:
    """Per row, the shrunken `full` scale whose rounded row is nearest."""
    best, least = full, np.full(len(rows), np.inf)
    for shrink in _SHRINKS:
        scale = (full * shrink)[:, None]
        error = np.square(np.clip(np.rint(rows / scale), -top, top) * scale - rows).sum(1)
        best, least = np.where(error < least, full * shrink, best), np.minimum(error, least)
    return best
