"""Arithmetic on elements: sums, products, quotients, powers, limits, roundings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fidelite.errors import UnsupportedAttribute, UnsupportedType
from fidelite.lower import functions, integers
from fidelite.lower.broadcasting import pair
from fidelite.lower.cast import converted
from fidelite.lower.functions import in_float32
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType


@lowers("Add")
def add(node: Node, b: Builder) -> Tensor:
    return b.add(*pair(node, b))


@lowers("Sub")
def sub(node: Node, b: Builder) -> Tensor:
    return b.sub(*pair(node, b))


@lowers("Mul")
def mul(node: Node, b: Builder) -> Tensor:
    return b.mul(*pair(node, b))


@lowers("Div")
def div(node: Node, b: Builder) -> Tensor:
    """Integers are divided towards zero."""
    x, y = pair(node, b)
    return b.div(x, y) if x.element.is_float else integers.quotient(b, x, y)


@lowers("Mod")
def mod(node: Node, b: Builder) -> Tensor:
    """x - y * trunc(x / y) with fmod, else x - y * floor(x / y)."""
    x, y = node.input(0), node.input(1)
    if not node.int_("fmod", 0):
        return integers.modulo(b, x, y)
    if not x.element.is_float:
        return integers.remainder(b, x, y)
    size = b.binary("FLOOR_MOD", b.unary("ABS", x), b.unary("ABS", y))  # of C's fmod for positive operands
    return b.select(b.compare("LESS", x, b.scalar(0.0, x)), b.unary("NEG", size), size)


# -- powers


@lowers("Pow", partial="integers to a power that is a float known only at run time")
def pow_(node: Node, b: Builder) -> Tensor:
    """x to the power y, in x's type. Integral powers of float bases are exact up to |y| <= 2^24."""
    x, y = pair(node, b)
    known = _uniform(y)
    if x.element.is_float:
        return in_float32(x, b, lambda base: _float_power(b, base, y, known))
    if known is not None and known.is_integer() and known >= 0:
        exponent = int(known)
        ones = b.scalar(1, x)
        result = integers.power(b, x, exponent) if exponent else b.add(b.mul(x, b.scalar(0, x)), ones)
        return result if y.rank == 0 else b.mul(result, b.constant(np.ones(y.constant.shape, x.element.dtype)))  # type: ignore[union-attr]
    if y.element.is_float:
        raise UnsupportedType("integers to the power of a float are computed in float64, which LiteRT lacks",
                              remedy="use an integer exponent, or a float base")
    return _integer_power(b, x, y)


def _uniform(y: Tensor) -> float | None:
    """The one value of a constant's elements, if there is one."""
    if y.constant is None or y.constant.size == 0:
        return None
    values = y.constant.numpy().reshape(-1)
    return float(values[0]) if y.constant.size == 1 or bool(np.all(values == values[0])) else None


def _float_power(b: Builder, x: Tensor, y: Tensor, known: float | None) -> Tensor:
    """POW, or the same by operators that XNNPACK takes where the power is known."""
    if y.constant is not None and y.constant.size == 1 and y.rank <= x.rank:
        if known == 1.0:
            return x
        if known == 2.0:
            return b.unary("SQUARE", x)
        if known == 3.0:
            return b.mul(b.unary("SQUARE", x), x)
        if known == 0.5:  # differs at -infinity only, whose root is not a number
            return b.unary("SQRT", x)
        if known == -1.0:
            return b.div(b.scalar(1.0, x), x)
    return b.binary("POW", x, converted(b, y, ElementType.FLOAT32))


def _integer_power(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """By squaring, modulo the type's range. Powers beyond 63 matter for 0, 1 and -1 only: 62 or 63 serve as well.
    Negative powers are 0, but for 1 and -1, whose powers are their own inverses."""
    wide = ElementType.INT64
    base = b.bitcast(x, wide) if x.element is ElementType.UINT64 else b.cast(x, wide)
    power = b.bitcast(y, wide) if y.element is ElementType.UINT64 else b.cast(y, wide)
    one, two, zero = b.scalar(1, wide), b.scalar(2, wide), b.scalar(0, wide)
    negative = b.compare("LESS", power, zero)
    unit = b.logical("LOGICAL_OR", b.compare("EQUAL", base, one), b.compare("EQUAL", base, b.scalar(-1, wide)))
    size = b.select(negative, b.unary("NEG", power), power)
    parity = b.binary("FLOOR_MOD", size, two)
    large = b.compare("GREATER", size, b.scalar(63, wide))
    size = b.cast(b.select(large, b.add(b.scalar(62, wide), parity), size), ElementType.INT32)
    result = one
    for bit in range(6):
        shifted = b.binary("RIGHT_SHIFT", size, b.scalar(bit, size))
        odd = b.compare("NOT_EQUAL", b.binary("FLOOR_MOD", shifted, b.scalar(2, size)), b.scalar(0, size))
        result = b.mul(result, b.select(odd, base, one))
        base = b.mul(base, base)
    if y.element.is_signed_integer:
        result = b.select(b.logical("LOGICAL_AND", negative, b.logical_not(unit)), zero, result)
    return b.bitcast(result, x.element) if x.element is ElementType.UINT64 else b.cast(result, x.element)


# -- one operand


@lowers("Neg")
def neg(node: Node, b: Builder) -> Tensor:
    return b.unary("NEG", node.input(0))


@lowers("Abs")
def abs_(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    if x.element.is_integer and not x.element.is_signed_integer:
        return x
    return b.maximum(x, b.unary("NEG", x)) if x.element is ElementType.INT64 else b.unary("ABS", x)


@lowers("Sign")
def sign(node: Node, b: Builder) -> Tensor:
    """-1, 0 or 1."""
    x = node.input(0)
    if x.element.is_float:
        return b.unary("SIGN", x)
    least = b.minimum(b.scalar(1, x), x)
    return b.maximum(b.scalar(-1, x), least) if x.element.is_signed_integer else least


@lowers("Sqrt")
def sqrt(node: Node, b: Builder) -> Tensor:
    return b.unary("SQRT", node.input(0))


@lowers("Reciprocal")
def reciprocal(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    return b.div(b.scalar(1.0, x), x)


@lowers("Exp")
def exp(node: Node, b: Builder) -> Tensor:
    return in_float32(node.input(0), b, lambda x: functions.exp(b, x))


@lowers("Log")
def log(node: Node, b: Builder) -> Tensor:
    return b.unary("LOG", node.input(0))


@lowers("Floor")
def floor(node: Node, b: Builder) -> Tensor:
    return b.unary("FLOOR", node.input(0))


@lowers("Ceil")
def ceil(node: Node, b: Builder) -> Tensor:
    return b.unary("CEIL", node.input(0))


@lowers("Round")
def round_(node: Node, b: Builder) -> Tensor:
    """Halves go to the even neighbour, as in LiteRT."""
    return b.unary("ROUND", node.input(0))


# -- any number of operands


@lowers("Sum")
def sum_(node: Node, b: Builder) -> Tensor:
    """Half-precision floats are added in float32, and rounded once."""
    parts = node.inputs()
    return in_float32(parts[0], b, lambda first: _chain([first, *(b.float32(x) for x in parts[1:])], b.add))


@lowers("Mean")
def mean(node: Node, b: Builder) -> Tensor:
    parts = node.inputs()

    def build(first: Tensor) -> Tensor:
        total = _chain([first, *(b.float32(x) for x in parts[1:])], b.add)
        return total if len(parts) == 1 else b.div(total, b.scalar(float(len(parts)), total))

    return in_float32(parts[0], b, build)


@lowers("Max")
def max_(node: Node, b: Builder) -> Tensor:
    return _chain(node.inputs(), lambda x, y: _extreme(b, "MAXIMUM", x, y))


@lowers("Min")
def min_(node: Node, b: Builder) -> Tensor:
    return _chain(node.inputs(), lambda x, y: _extreme(b, "MINIMUM", x, y))


def _chain(parts: list[Tensor], join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    result = parts[0]
    for part in parts[1:]:
        result = join(result, part)
    return result


def _extreme(b: Builder, op: str, x: Tensor, y: Tensor) -> Tensor:
    """The larger or smaller of two, NaN if either is.

    LiteRT returns the second operand where either is NaN, so a constant goes first, and of two computed ones the mean
    of both orders is taken. XNNPACK does so only while neither is stretched along inner axes: then NaN is put back.
    """
    if y.constant is not None:
        x, y = y, x
    if not y.element.is_float:
        return b.binary(op, x, y)
    if x.constant is not None and (x.constant.size == 1 or _is_trailing(x, y)):
        return b.binary(op, x, y)
    if x.shape == y.shape and x.constant is None:
        one, other = b.binary(op, x, y), b.binary(op, y, x)
        half = b.scalar(0.5, one)
        return b.add(b.mul(one, half), b.mul(other, half))
    result = b.binary(op, x, y)
    for operand in (y,) if x.constant is not None else (y, x):
        result = b.select(b.compare("EQUAL", operand, operand), result, operand)
    return result


def _is_trailing(x: Tensor, y: Tensor) -> bool:
    """Whether `x` repeats along leading axes of `y` only."""
    dims = list(x.shape)
    while dims and dims[0] == 1:
        del dims[0]
    return not dims or tuple(dims) == y.shape[-len(dims):]


# -- Clip


@lowers("Clip", until=10)
def clip_attributes(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    low, high = node.float_("min", None), node.float_("max", None)
    limits = [None if v is None or abs(v) >= 3.4028234e38 else b.scalar(v, x) for v in (low, high)]
    return _clip(b, x, limits[0], limits[1])


@lowers("Clip", since=11)
def clip(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    limits = [limit if limit is None or limit.rank == 0 else b.reshape(limit, ())
              for limit in (node.optional(1), node.optional(2))]
    return _clip(b, x, limits[0], limits[1])


_RELUS = {(0.0, float("inf")): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


def _clip(b: Builder, x: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    """min(max(x, low), high), so `high` where the limits cross. A missing limit does not touch infinities."""
    if x.element.is_float and (low is None or low.constant) and (high is None or high.constant):
        limits = (-float("inf") if low is None else float(low.constant.numpy().item()),  # type: ignore[union-attr]
                  float("inf") if high is None else float(high.constant.numpy().item()))  # type: ignore[union-attr]
        if limits in _RELUS:
            return b.unary(_RELUS[limits], x)
    if x.element is ElementType.BOOL:
        raise UnsupportedAttribute("Clip of booleans has no meaning", remedy="use a numeric type")
    if low is not None:
        x = _extreme(b, "MAXIMUM", x, low)
    return x if high is None else _extreme(b, "MINIMUM", x, high)
