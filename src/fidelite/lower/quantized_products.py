"""Products of quantized operands: QLinearConv and QLinearMatMul as float operators between integers, which
`quantize.integer` makes native; ConvInteger and MatMulInteger, whose int32 sums are exact, in parts that float32 holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.errors import QuantizationError
from fidelite.lower.convolution import convolution
from fidelite.lower.matmul import multiplied
from fidelite.lower.node import Node
from fidelite.lower.quantized import grid_from, spread, values_of
from fidelite.lower.registry import lowers
from fidelite.lower.windows import read_window
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Quantization, Tensor
from fidelite.tflite.grid import Grid
from fidelite.tflite.types import ElementType

_F32, _I32 = ElementType.FLOAT32, ElementType.INT32
_EXACT = 1 << 24
"""float32 holds every whole number up to here."""
_LARGEST_PRODUCT = 255 * 255
"""Of two 8-bit integers less their zero points."""


def rounded_to(b: Builder, y: Tensor, scale: Tensor, zero_point: Tensor | None, element: ElementType) -> Tensor:
    """float32 `y` quantized with one scale, constant or not."""
    grid = grid_from(scale, zero_point, element)
    if grid is not None:
        return b.quantize(y, grid)
    zero = None if zero_point is None else b.cast(zero_point, _F32)
    return b.quantize_exactly(y, b.cast(scale, _F32), zero, element)


@lowers("QLinearConv", partial="run-time weights together with groups or more than 3 spatial dimensions")
def qlinear_conv(node: Node, b: Builder) -> Tensor:
    """Conv of the dequantized operands, quantized. The int32 bias has the product of the scales."""
    x = values_of(b, node.input(0), node.input(1), node.input(2))
    weights = values_of(b, node.input(3), node.input(4), node.input(5), axis=0)
    bias = node.optional(8)
    if bias is not None:
        bias = _bias(b, bias, node.input(1), node.input(4))
    y = convolution(node, b, x, weights, bias)
    return rounded_to(b, y, node.input(6), node.input(7), node.input(7).element)


def _bias(b: Builder, bias: Tensor, x_scale: Tensor, w_scale: Tensor) -> Tensor:
    if bias.constant is not None and x_scale.constant is not None and w_scale.constant is not None:
        scale = x_scale.constant.numpy().reshape(-1) * w_scale.constant.numpy().reshape(-1)
        facts = Quantization(tuple(float(s) for s in scale.astype(np.float32)), (0,) * len(scale))
        return b.dequantize(bias, Grid(_I32, facts))
    scale = b.mul(b.cast(x_scale, _F32), b.cast(w_scale, _F32))
    return b.mul(b.cast(bias, _F32), scale)


@lowers("QLinearMatMul")
def qlinear_matmul(node: Node, b: Builder) -> Tensor:
    """MatMul of the dequantized operands, quantized. Parameters per row of a, per column of b."""
    a, other = node.input(0), node.input(3)
    left = values_of(b, a, *_matrix_parameters(b, node, 1, a, max(a.rank - 2, 0)))
    right = values_of(b, other, *_matrix_parameters(b, node, 4, other, max(other.rank - 1, 0)))
    return rounded_to(b, multiplied(b, left, right), node.input(6), node.input(7), node.input(7).element)


def _matrix_parameters(b: Builder, node: Node, position: int, x: Tensor, axis: int) -> tuple[Tensor, Tensor, int]:
    """Scale, zero point, and the axis that they lie along."""
    scale, zero_point = node.input(position), node.input(position + 1)
    if scale.rank > 1 and all(d == 1 for d in scale.shape[:-1]):
        scale, zero_point = b.reshape(scale, scale.shape[-1:]), b.reshape(zero_point, zero_point.shape[-1:])
    return scale, zero_point, axis


# -- exact sums of integers

def whole(b: Builder, x: Tensor, zero_point: Tensor | None, axis: int) -> Tensor:
    """x less its zero point, as float32 whole numbers."""
    value = b.cast(x, _F32)
    if zero_point is None or (zero_point.constant is not None and not np.any(zero_point.constant.numpy())):
        return value
    if zero_point.constant is not None and x.constant is not None:
        zeros = zero_point.constant.numpy().astype(np.float32)
        aligned = zeros.reshape([-1 if i == axis else 1 for i in range(x.rank)] if zeros.size > 1 else ())
        return b.constant(x.constant.numpy().astype(np.float32) - aligned)
    if zero_point.rank > 1:
        return b.sub(value, b.cast(zero_point, _F32))
    return b.sub(value, spread(b, b.cast(zero_point, _F32), x, axis))


def _summed(b: Builder, parts: Sequence[Tensor]) -> Tensor:
    """The sum of float32 whole numbers in int32."""
    total = b.cast(parts[0], _I32)
    for part in parts[1:]:
        total = b.add(total, b.cast(part, _I32))
    return total


@lowers("MatMulInteger")
def matmul_integer(node: Node, b: Builder) -> Tensor:
    """The product of integers less their zero points, as int32."""
    a, other = node.input(0), node.input(1)
    return integer_product(b, whole(b, a, node.optional(2), max(a.rank - 2, 0)),
                           whole(b, other, node.optional(3), max(other.rank - 1, 0)))


def integer_product(b: Builder, left: Tensor, right: Tensor) -> Tensor:
    """The int32 matrix product of whole numbers below 256 in magnitude: in parts of which float32 holds the sums."""
    terms = b.static_dim(left.shape[-1], "the dimension that an integer product sums over")
    most = _EXACT // _LARGEST_PRODUCT
    if terms <= most:
        return _summed(b, [multiplied(b, left, right)])
    axis = max(right.rank - 2, 0)
    sizes = [min(most, terms - at) for at in range(0, terms, most)]
    lefts, rights = b.split(left, sizes, left.rank - 1), split_constant(b, right, sizes, axis)
    return _summed(b, [multiplied(b, x, y) for x, y in zip(lefts, rights, strict=True)])


def split_constant(b: Builder, x: Tensor, sizes: Sequence[int], axis: int) -> Sequence[Tensor]:
    """Pieces along an axis; those of a constant are constants."""
    if x.constant is None:
        return b.split(x, sizes, axis)
    ends = np.cumsum(sizes)[:-1]
    return [b.constant(np.ascontiguousarray(part)) for part in np.split(x.constant.numpy(), ends, axis=axis)]


@lowers("ConvInteger", partial="kernels of more than 258 places")
def conv_integer(node: Node, b: Builder) -> Tensor:
    """Conv of integers less their zero points, as int32. Padding is the zero point, that is, zero."""
    x, w = node.input(0), node.input(1)
    values, weights = whole(b, x, node.optional(2), 0), whole(b, w, node.optional(3), 0)
    groups = node.int_("group", 1)
    places = int(np.prod(read_window(node, b.static(weights, "ConvInteger")[2:]).kernel))
    channels = b.static_dim(weights.shape[1], "the channels of an integer convolution")
    most = _EXACT // _LARGEST_PRODUCT // max(places, 1)
    if channels <= most:
        return _summed(b, [convolution(node, b, values, weights, None)])
    if not most or groups > 1:
        raise QuantizationError(f"ConvInteger over {places} places and {channels} channels in {groups} groups has sums "
                                "that float32 does not hold", code="F465",
                                remedy="quantize the model in the QDQ format: QuantFormat.QDQ in onnxruntime")
    sizes = [min(most, channels - at) for at in range(0, channels, most)]
    parts = zip(b.split(values, sizes, 1), split_constant(b, weights, sizes, 1), strict=True)
    return _summed(b, [convolution(node, b, part, kernel, None) for part, kernel in parts])
