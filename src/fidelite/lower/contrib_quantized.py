"""ONNX Runtime's own quantized operators (com.microsoft), as its quantizer's QOperator format has them.

Those on integers are the float operator between DEQUANTIZE and QUANTIZE, as in the QDQ format: `quantize.integer` makes
them native. Source: ONNX Runtime, ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.activation import leaky_relu
from fidelite.lower.contrib_activation import DOMAIN
from fidelite.lower.functions import times
from fidelite.lower.matmul import linear, matrices, multiplied
from fidelite.lower.node import Node
from fidelite.lower.pooling import average_pool, global_average_pool
from fidelite.lower.quantized import values_of
from fidelite.lower.quantized_products import integer_product, rounded_to, whole
from fidelite.lower.registry import lowers
from fidelite.lower.softmax import softmax, softmax_flattening
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Apply, Constant
from fidelite.tflite.graph import Quantization, Tensor
from fidelite.tflite.grid import Grid, Shift, dequantized
from fidelite.tflite.types import ElementType

_F32, _I8, _U8, _I32 = ElementType.FLOAT32, ElementType.INT8, ElementType.UINT8, ElementType.INT32
Build = Callable[[Node, Builder], Tensor]


def _value(node: Node, b: Builder, position: int, axis: int = 0) -> Tensor:
    """The operand at `position`, whose scale and zero point follow it, as float32."""
    return values_of(b, node.input(position), node.input(position + 1), node.optional(position + 2), axis)


def _rounded(node: Node, b: Builder, y: Tensor, position: int) -> Tensor:
    """`y` on the grid whose scale and zero point are the operands at `position`, in the first operand's type."""
    zero_point = node.optional(position + 1)
    element = zero_point.element if zero_point is not None else node.input(0).element
    return rounded_to(b, y, node.input(position), zero_point, element)


def _channels(node: Node, b: Builder, x: Tensor, build: Callable[[Tensor], Tensor]) -> Tensor:
    """`build` on channels-first `x`, which comes and goes channels-last where the attribute says so."""
    if not node.int_("channels_last", 0):
        return build(x)
    return b.channels_last(build(b.channels_first(x)))


@lowers("QLinearAdd", "QLinearMul", domain=DOMAIN)
def qlinear_binary(node: Node, b: Builder) -> Tensor:
    op = "ADD" if node.op == "QLinearAdd" else "MUL"
    return _rounded(node, b, b.binary(op, _value(node, b, 0), _value(node, b, 3)), 6)


def _as_standard(build: Build, version: int) -> Build:
    def lowered(node: Node, b: Builder) -> Tensor:
        x = _value(node, b, 0)
        y = _channels(node, b, x, lambda first: build(node.standing_for([first], version), b))
        return _rounded(node, b, y, 3)
    return lowered


def _sigmoid(node: Node, b: Builder) -> Tensor:
    return b.logistic(node.input(0))


qlinear_average_pool = lowers("QLinearAveragePool", domain=DOMAIN)(_as_standard(average_pool, 19))
qlinear_global_average_pool = lowers("QLinearGlobalAveragePool", domain=DOMAIN)(_as_standard(global_average_pool, 1))
qlinear_leaky_relu = lowers("QLinearLeakyRelu", domain=DOMAIN)(_as_standard(leaky_relu, 16))
qlinear_sigmoid = lowers("QLinearSigmoid", domain=DOMAIN)(_as_standard(_sigmoid, 13))


@lowers("QLinearSoftmax", domain=DOMAIN)
def qlinear_softmax(node: Node, b: Builder) -> Tensor:
    """Along one axis, or, as Softmax was before opset 13, over everything from the axis on."""
    version = node.int_("opset", 13)
    stand_in = node.standing_for([_value(node, b, 0)], version)
    y = softmax(stand_in, b) if version >= 13 else softmax_flattening(stand_in, b)
    return _rounded(node, b, y, 3)


@lowers("QLinearConcat", domain=DOMAIN)
def qlinear_concat(node: Node, b: Builder) -> Tensor:
    parts = [_value(node, b, i) for i in range(2, len(node.operands), 3)]
    joint = b.concat(parts, node.axis(parts[0].rank))
    return rounded_to(b, joint, node.input(0), node.input(1), node.input(1).element)


@lowers("QLinearWhere", domain=DOMAIN)
def qlinear_where(node: Node, b: Builder) -> Tensor:
    y = b.select(node.input(0), _value(node, b, 1), _value(node, b, 4))
    return rounded_to(b, y, node.input(7), node.input(8), node.input(8).element)


@lowers("QGemm", domain=DOMAIN)
def qgemm(node: Node, b: Builder) -> Tensor:
    """alpha A' B' + C in steps of the product of the scales, quantized where a scale for that is given."""
    alpha, adj_x, adj_y = node.float_("alpha", 1.0), bool(node.int_("transA", 0)), bool(node.int_("transB", 0))
    a = _value(node, b, 0)
    other = _value(node, b, 3, axis=0 if adj_y else 1)
    bias = _product_bias(node, b, alpha)
    if other.constant is not None and (bias is None or bias.constant is not None) and not adj_x and alpha == 1.0 and \
            (bias is None or bias.shape == (other.shape[0 if adj_y else 1],)):
        y = linear(b, a, other if adj_y else b.transpose(other, (1, 0)), bias)
    else:
        y = times(b, matrices(b, a, other, adj_x=adj_x, adj_y=adj_y), alpha)
        y = y if bias is None else b.add(y, bias)
    return y if node.optional(7) is None else rounded_to(
        b, y, node.input(7), node.optional(8), node.input(0).element if (z := node.optional(8)) is None else z.element)


def _product_bias(node: Node, b: Builder, alpha: float) -> Tensor | None:
    """The int32 operand C, whose steps are alpha times the scales of A and B."""
    bias = node.optional(6)
    if bias is None:
        return None
    a_scale, b_scale = node.input(1), node.input(4)
    if bias.constant is not None and a_scale.constant is not None and b_scale.constant is not None:
        bias = b.reshape(bias, bias.shape[-1:]) if bias.rank == 2 and bias.shape[0] == 1 else bias
        scale = np.float32(alpha) * a_scale.constant.numpy().reshape(-1) * b_scale.constant.numpy().reshape(-1)
        axis = max(bias.rank - 1, 0)
        facts = Quantization(tuple(float(s) for s in scale.astype(np.float32)), (0,) * len(scale), axis)
        return b.dequantize(bias, Grid(_I32, facts))
    return b.mul(b.cast(bias, _F32), times(b, b.mul(b.cast(a_scale, _F32), b.cast(b_scale, _F32)), alpha))


@lowers("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_integer_to_float(node: Node, b: Builder) -> Tensor:
    """The int32 product of integers less their zero points, times both scales, plus the bias."""
    return _scaled_product(node, b, node.input(0), node.input(2), node.optional(4), (1, 3, 5, 6))


@lowers("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_quantize_matmul(node: Node, b: Builder) -> Tensor:
    """A is quantized to uint8 by its own smallest and largest value (DynamicQuantizeLinear), then as above."""
    x = node.input(0)
    zero = b.scalar(0.0, _F32)
    axes = list(range(x.rank))
    low = b.minimum(b.reduce("REDUCE_MIN", x, axes, keep_dims=False), zero)
    high = b.maximum(b.reduce("REDUCE_MAX", x, axes, keep_dims=False), zero)
    spread = b.div(b.sub(high, low), b.scalar(255.0, _F32))
    scale = b.select(b.compare("EQUAL", spread, zero), b.scalar(1.0, _F32), spread)
    middle = b.grid_steps(b.div(b.sub(zero, low), scale), None, 0, 255)
    stored = b.quantize_exactly(x, scale, middle, _U8)
    return _scaled_product(node, b, stored, scale, middle, (1, 2, 3, 4))


def _scaled_product(node: Node, b: Builder, a: Tensor, a_scale: Tensor, a_zero: Tensor | None,
                    places: Sequence[int]) -> Tensor:
    """`places`: of B, its scale, its zero point and the bias among the operands."""
    other = node.input(places[0])
    right = whole(b, other, node.optional(places[2]), max(other.rank - 1, 0))
    total = integer_product(b, whole(b, a, a_zero, max(a.rank - 2, 0)), right)
    y = b.mul(b.cast(total, _F32), b.mul(b.cast(a_scale, _F32), b.cast(node.input(places[1]), _F32)))
    bias = node.optional(places[3])
    return y if bias is None else b.add(y, bias)


# -- weights of few bits

@lowers("MatMulNBits", domain=DOMAIN, partial="weights that are no constants; g_idx")
def matmul_nbits(node: Node, b: Builder) -> Tensor:
    """x [..., K] times weights of 2, 4 or 8 bits, packed low bits first, with a scale for each block of K."""
    x, packed, scales = node.input(0), node.input(1), node.input(2)
    zeros, order, bias = (node.optional(i) for i in (3, 4, 5))
    if order is not None or packed.constant is None or scales.constant is None or (
            zeros is not None and zeros.constant is None):
        raise UnsupportedAttribute("MatMulNBits with weights that are known only at run time, or with g_idx",
                                   remedy="quantize the model without reordering: act_order=False")
    weights = _unpacked(node, b, packed, scales, zeros)
    y = multiplied(b, b.float32(x), b.transpose(weights, (1, 0)))
    y = y if bias is None else b.add(y, b.float32(bias))
    return b.cast(y, x.element)


def _unpacked(node: Node, b: Builder, packed: Tensor, scales: Tensor, zeros: Tensor | None) -> Tensor:
    """The float32 weights [N, K]; with one block a row they lie on a grid per row."""
    columns, rows, bits = node.int_("K"), node.int_("N"), node.int_("bits", 4)
    block = node.int_("block_size")
    blocks = -(-columns // block)
    assert packed.constant is not None
    assert scales.constant is not None

    def unpack(array: np.ndarray) -> np.ndarray:
        return _numbers(array.reshape(rows, -1), bits)[:, :columns]

    stored = packed.constant.then(Apply(("unpack", bits, rows, columns), unpack, _U8, (rows, columns)))
    middle = np.full((rows, blocks), 1 << bits - 1, np.float32)
    if zeros is not None and zeros.constant is not None:
        raw = zeros.constant.numpy()
        middle = (_numbers(raw.reshape(rows, -1), bits)[:, :blocks] if raw.dtype == np.uint8 else
                  raw.reshape(rows, blocks)).astype(np.float32)
    scale = scales.constant.numpy().astype(np.float32).reshape(rows, blocks)
    if blocks == 1 and np.all(middle == 1 << bits - 1) and np.all(scale > 0):
        return b.constant(dequantized(*_by_row(stored, scale, bits)))

    def values(array: np.ndarray) -> np.ndarray:
        spread = [np.repeat(part, block, axis=1)[:, :columns] for part in (middle, scale)]
        return ((array.astype(np.float32) - spread[0]) * spread[1]).astype(np.float32)

    key = ("blocks", scale.tobytes(), middle.tobytes(), block)
    return b.constant(stored.then(Apply(key, values, _F32)))


def _by_row(stored: Constant, scale: np.ndarray, bits: int) -> tuple[Constant, Grid]:
    """Signed integers of `bits`, and their grid with a scale for each row."""
    element = {4: ElementType.INT4, 8: _I8}.get(bits, _I8)
    signed = stored.then(Shift(-(1 << bits - 1), element))
    return signed, Grid(element, Quantization(tuple(float(s) for s in scale.reshape(-1)), (0,) * len(scale), 0))


def _numbers(packed: np.ndarray, bits: int) -> np.ndarray:
    """uint8 numbers of `bits` each, from bytes that hold them low bits first."""
    count = 8 // bits
    parts = [packed >> i * bits & (1 << bits) - 1 for i in range(count)]
    return np.stack(parts, axis=-1).reshape(len(packed), -1).astype(np.uint8)
