"""Convolutions and linear layers: their weights as integers, their bias in the product of the scales."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fidelite.quantize.integer.work import Work
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Operator, Quantization, Tensor
from fidelite.tflite.grid import Grid, Shift, grid_of, grid_of_tensor
from fidelite.tflite.quantized import WEIGHTED
from fidelite.tflite.types import ElementType

_I4, _I8, _U8, _I16 = ElementType.INT4, ElementType.INT8, ElementType.UINT8, ElementType.INT16
_I32, _I64 = ElementType.INT32, ElementType.INT64
_NO_INT4 = frozenset({"TRANSPOSE_CONV"})


@dataclass(frozen=True, slots=True)
class Stored:
    """Integers and their grid."""

    integers: Constant
    grid: Grid


def shifted(stored: Stored, element: ElementType) -> Stored | None:
    """8-bit integers in the other 8-bit type: the same values, the zero point moved along. None for other types."""
    if stored.grid.element is element:
        return stored
    by = {(_U8, _I8): -128, (_I8, _U8): 128, (ElementType.UINT4, _I4): -8}.get((stored.grid.element, element))
    if by is None:
        return None
    facts = stored.grid.quantization
    moved = replace(facts, zero_point=tuple(z + by for z in facts.zero_point))
    return Stored(stored.integers.then(Shift(by, element)), Grid(element, moved))


def stored_as(tensor: Tensor | None) -> Stored | None:
    """What a float constant was stored as."""
    known = grid_of(tensor.constant) if tensor is not None and tensor.constant is not None else None
    return None if known is None else Stored(*known)


def symmetric(stored: Stored) -> Stored | None:
    """Weights with zero point 0, in int8 or int4; None where they are none."""
    element = {_U8: _I8, ElementType.UINT4: _I4}.get(stored.grid.element, stored.grid.element)
    moved = shifted(stored, element)
    return moved if moved is not None and not any(moved.grid.quantization.zero_point) and element in (_I8, _I4) \
        else None


def native_weights(work: Work, operator: Operator, grid: Grid) -> str:
    """Make an operator with weights native, its result on `grid`. Returns why that cannot be, or ''."""
    from fidelite.quantize.integer.kernels import finish

    facts = WEIGHTED[operator.op]
    data, weights = operator.inputs[facts.data], operator.inputs[facts.weights]
    bias = operator.inputs[facts.bias] if len(operator.inputs) > facts.bias else None
    assert data is not None
    source = work.behind(data)
    assert source is not None
    source_grid = grid_of_tensor(source)
    assert source_grid is not None
    stored = stored_as(weights)
    if weights is None or stored is None:
        return "its weights have no scale"
    fitting = _fitting(operator.op, stored, source_grid, facts.axis)
    if isinstance(fitting, str):
        return fitting
    if bias is not None and bias.constant is None:
        return "its bias is computed at run time"
    channels = weights.static_shape[facts.axis]
    integers = None if bias is None else bias_integers(bias, source_grid, fitting.grid, channels)
    if isinstance(integers, str):
        return integers
    operands = list(operator.inputs)
    operands[facts.data] = source
    operands[facts.weights] = Work.on(fitting.integers, fitting.grid, weights.name)
    if bias is not None and integers is not None:
        operands[facts.bias] = Work.on(integers.integers, integers.grid, bias.name)
    finish(work, operator, operands, grid, grid)
    return ""


def _fitting(op: str, stored: Stored, source: Grid, axis: int) -> Stored | str:
    """The weights as the kernel for this type of activations takes them, or why it takes none such."""
    if not stored.grid.per_tensor and stored.grid.quantization.axis != axis:
        return "its weights have scales along another axis than the output channels"
    if source.element is _U8:
        unsigned = shifted(stored, _U8)
        if unsigned is None or not unsigned.grid.per_tensor:
            return "the uint8 kernel takes uint8 weights with one scale only"
        return unsigned
    signed = symmetric(stored)
    if signed is None:
        return (f"LiteRT's {source.element.name.lower()} kernel takes symmetric int8 weights, and these are "
                f"{stored.grid.element.name.lower()} with a zero point")
    if signed.grid.element is _I4 and (op in _NO_INT4 or source.element is _I16):
        return f"LiteRT's {op} takes no int4 weights with {source.element.name} activations"
    return signed


def bias_integers(bias: Tensor, source: Grid, weights: Grid, channels: int) -> Stored | str:
    """The bias in steps of the product of the scales, int32 (int64 beside int16), or why that cannot be."""
    assert bias.constant is not None
    scale = np.float32(source.scale) * np.asarray(weights.quantization.scale, np.float32)
    element = _I64 if source.element is _I16 else _I32
    own = grid_of(bias.constant)
    if own is not None and own[1].element is _I32 and not any(own[1].quantization.zero_point):
        values = own[0].numpy().astype(np.float64) * np.asarray(own[1].quantization.scale, np.float64)
    else:
        values = bias.constant.numpy().astype(np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        steps = np.rint(values / scale.astype(np.float64))
    limit = float(1 << 62) if element is _I64 else float((1 << 31) - 1)
    if not np.isfinite(steps).all() or np.any(np.abs(steps) > limit):
        return "its bias does not fit into int32 in steps of its scales"
    integers = Constant.of(np.broadcast_to(steps, (channels,)).astype(element.dtype))
    count = len(scale)
    return Stored(integers, Grid(element, Quantization(tuple(float(s) for s in scale), (0,) * count)))
