"""QuantizeLinear and DequantizeLinear: QUANTIZE and DEQUANTIZE, deferred constants, or plain arithmetic.

A quantized tensor in ONNX is integers, and a scale and a zero point beside it; in TFLite the two are part of the
tensor. `quantize.integer` makes operators between such pairs native, after layout and fusion have seen them as floats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from fidelite.errors import InvalidModel
from fidelite.lower.carried import carried_type
from fidelite.lower.narrow import narrowed
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.values import onnx_element_type
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Apply
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Quantization, Tensor
from fidelite.tflite.grid import Grid, integer_range
from fidelite.tflite.types import ElementType

_F16, _F32 = ElementType.FLOAT16, ElementType.FLOAT32
_RANGES = {"INT4": (-8, 7), "UINT4": (0, 15), "INT2": (-2, 1), "UINT2": (0, 3)}
_UINT8 = onnx_ir.DataType.UINT8


@lowers("QuantizeLinear", since=10)
@lowers("QuantizeLinear", domain="com.microsoft")
def quantize_linear(node: Node, b: Builder) -> Tensor:
    """round(x / scale), half to even, plus the zero point, within the result's range."""
    x, scale, zero_point = node.input(0), node.input(1), node.optional(2)
    declared = _result_type(node, zero_point)
    element = onnx_element_type(declared)
    axis, block = _axis(node, x, scale), node.int_("block_size", 0)
    carried = carried_type(declared) is not None
    grid = grid_from(scale, zero_point, element, axis) if not block and not carried else None
    if grid is not None and grid.per_tensor and not _precision(node):
        return b.quantize(b.cast(x, _F32), grid)
    scale, zero_point = (None if t is None else spread(b, b.cast(t, _F32), x, axis, block)
                         for t in (scale, zero_point))
    assert scale is not None
    steps = b.div(b.cast(x, _F32), scale)
    if _precision(node) is _F16:  # a quotient in float32, rounded to float16, is that of float16
        steps = b.cast(b.cast(steps, _F16), _F32)
    if element.is_float:
        return narrowed(b, steps if zero_point is None else b.add(steps, zero_point), declared,
                        saturate=bool(node.int_("saturate", 1)))
    return b.cast(b.grid_steps(steps, zero_point, *_RANGES.get(declared.name) or integer_range(element)), element)


def _precision(node: Node) -> ElementType | None:
    code = node.int_("precision", 0)
    return onnx_element_type(onnx_ir.DataType(code)) if code else None


def _result_type(node: Node, zero_point: Tensor | None) -> onnx_ir.DataType:
    """The result's type as the model declares it: that of the zero point, else that of the attribute, else uint8."""
    declared = node.type_at(2) if zero_point is not None else None
    code = node.int_("output_dtype", 0)
    return declared or (onnx_ir.DataType(code) if code else _UINT8)


@lowers("DequantizeLinear", since=10)
@lowers("DequantizeLinear", domain="com.microsoft")
def dequantize_linear(node: Node, b: Builder) -> Tensor:
    """(x - zero point) * scale."""
    x, scale, zero_point = node.input(0), node.input(1), node.optional(2)
    axis, block = _axis(node, x, scale), node.int_("block_size", 0)
    code = node.int_("output_dtype", 0)
    element = onnx_element_type(onnx_ir.DataType(code)) if code else scale.element
    declared = node.type_at(0)
    small = ElementType[declared.name] if declared is not None and declared.name in ("INT4", "UINT4") else None
    return b.cast(values_of(b, x, scale, zero_point, axis, block, small), element)


def values_of(b: Builder, x: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int = 0, block: int = 0,
              small: ElementType | None = None) -> Tensor:
    """Integers (or what carries float8) as float32, with constant or run-time parameters, per tensor, per axis or in
    blocks. `small`: the 4-bit type that constant integers have, if they have one."""
    element = small if small is not None and x.is_constant else x.element
    grid = grid_from(scale, zero_point, element, axis) if not block and x.element.is_integer else None
    if grid is not None:
        return b.dequantize(x, grid)
    if x.constant is not None and scale.constant is not None:
        return _dequantized_blocks(b, x, scale, zero_point, axis, block)
    scale = spread(b, b.cast(scale, _F32), x, axis, block)
    zero_point = None if zero_point is None else spread(b, b.cast(zero_point, _F32), x, axis, block)
    return b.dequantize_exactly(x, scale, zero_point)


def _dequantized_blocks(b: Builder, x: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int,
                        block: int) -> Tensor:
    """A constant with a scale for each block, evaluated when it is written."""
    assert x.constant is not None
    assert scale.constant is not None
    scales, stored = scale.constant, x.constant
    zeros = None if zero_point is None else zero_point.constant
    key = ("dequantize blocks", scales.identity, None if zeros is None else zeros.identity, axis, block)

    def values(array: np.ndarray) -> np.ndarray:
        def along(parameters: np.ndarray) -> np.ndarray:
            if parameters.ndim != array.ndim:
                return parameters.reshape([-1 if i == axis else 1 for i in range(array.ndim)]) \
                    if parameters.ndim else parameters
            return np.take(np.repeat(parameters, block, axis=axis), np.arange(array.shape[axis]), axis=axis)

        shifted = array.astype(np.float32)
        if zeros is not None:
            shifted = shifted - along(zeros.numpy()).astype(np.float32)
        return shifted * along(scales.numpy()).astype(np.float32)

    return b.constant(stored.then(Apply(key, values, _F32)))


# -- parameters, which QLinear* and the like share

def _axis(node: Node, x: Tensor, scale: Tensor) -> int:
    """The axis that a vector of scales (or their blocks) lies along."""
    per_tensor = scale.rank == 0 or (scale.rank == 1 and scale.shape[0] == 1)
    return 0 if per_tensor and not node.int_("block_size", 0) else node.axis(x.rank, 1)


def grid_from(scale: Tensor, zero_point: Tensor | None, element: ElementType, axis: int = 0) -> Grid | None:
    """The grid that constant parameters describe: one number each, or one for each index along `axis`.

    None where only the run time knows them. Raises InvalidModel (F330) for scales that are no positive numbers.
    """
    if scale.constant is None or (zero_point is not None and zero_point.constant is None):
        return None
    scales = scale.constant.numpy().astype(np.float32).reshape(-1)
    if not np.isfinite(scales).all() or not np.all(scales > 0):
        raise InvalidModel(f"the scale '{scale.name}' is not a positive number",
                           remedy="quantize the model again: its calibration saw no values, or wrong ones")
    zeros = np.zeros(1) if zero_point is None or zero_point.constant is None else \
        zero_point.constant.numpy().reshape(-1)
    count = max(len(scales), len(zeros))
    return Grid(element, Quantization(tuple(float(s) for s in np.broadcast_to(scales, count)),
                                      tuple(int(z) for z in np.broadcast_to(zeros, count)), axis if count > 1 else 0))


def spread(b: Builder, parameters: Tensor, x: Tensor, axis: int, block: int = 0) -> Tensor:
    """`parameters` in a shape that broadcasts to `x`'s: one, a vector along `axis`, or one for each block of it."""
    if not block:
        size: Sequence[Dim] = [1] * x.rank
        if parameters.rank == 0 or (parameters.rank == 1 and parameters.shape[0] == 1):
            return b.reshape(parameters, ())
        return b.reshape(parameters, [parameters.shape[0] if i == axis else d for i, d in enumerate(size)])
    wide = [*parameters.shape[:axis + 1], 1, *parameters.shape[axis + 1:]]
    repeated = b.tile(b.reshape(parameters, wide), [block if i == axis + 1 else 1 for i in range(len(wide))]) \
        if parameters.constant is None else b.constant(np.repeat(
            parameters.constant.numpy().reshape([int(str(d)) for d in wide]), block, axis=axis + 1))
    blocks = parameters.shape[axis] * block
    whole = b.reshape(repeated, [blocks if i == axis else d for i, d in enumerate(parameters.shape)])
    return whole if blocks == x.shape[axis] else b.slice(whole, [0] * x.rank, x.shape)
