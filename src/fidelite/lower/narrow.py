"""Numbers rounded to element types that other types carry (`lower.carried`): floats of 4 to 8 bits, small integers.

The rules are those of ONNX's Cast: floats go to the nearest value (of two equally near ones, to the one whose last
bit is 0) and beyond the largest one to it, or, without `saturate`, to infinity or NaN; integers lose their upper bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan

import numpy as np
import onnx_ir

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.carried import Carried, carried_type
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_F32, _I32 = ElementType.FLOAT32, ElementType.INT32
_EXPONENT_BITS, _FRACTION_BITS, _HALF_FRACTION, _SIGN_BIT = 0x7F800000, 0x007FFFFF, 0x00400000, 31


@dataclass(frozen=True, slots=True)
class SmallFloat:
    """A float type: bits of the fraction, the exponent of its least normal number, its largest number, and what lies
    beyond it where nothing saturates. `always` saturates: the type has neither infinity nor NaN."""

    fraction: int
    least: int
    largest: float
    beyond: float
    has_negative_zero: bool = True
    always: bool = False


SMALL_FLOATS: Mapping[str, SmallFloat] = {
    "FLOAT8E4M3FN": SmallFloat(3, -6, 448.0, nan),
    "FLOAT8E4M3FNUZ": SmallFloat(3, -7, 240.0, nan, has_negative_zero=False),
    "FLOAT8E5M2": SmallFloat(2, -14, 57344.0, inf),
    "FLOAT8E5M2FNUZ": SmallFloat(2, -15, 57344.0, nan, has_negative_zero=False),
    "FLOAT6E2M3": SmallFloat(3, 0, 7.5, 7.5, always=True),
    "FLOAT6E3M2": SmallFloat(2, -2, 28.0, 28.0, always=True),
    "FLOAT4E2M1": SmallFloat(1, 0, 6.0, 6.0, always=True),
}
"""IEEE 754's layout with the bias and the special values of the OCP 8-bit and microscaling formats, and of ONNX's
FNUZ types."""
_SMALL_INTEGERS = {"INT4": 4, "UINT4": 4, "INT2": 2, "UINT2": 2}


def narrowed(b: Builder, x: Tensor, to: onnx_ir.DataType, *, saturate: bool = True, round_mode: str = "up") -> Tensor:
    """`x` (a float or integer tensor) rounded to values of the carried type `to`, in its carrier."""
    row = carried_type(to)
    assert row is not None
    if to.name in _SMALL_INTEGERS:
        return _wrapped(b, x, row, _SMALL_INTEGERS[to.name])
    y = x if x.element is _F32 else b.cast(b.float32(x), _F32)
    if to.name == "FLOAT8E8M0":
        return _power_of_two(b, y, saturate, round_mode)
    return _rounded(b, y, SMALL_FLOATS[to.name], saturate)


def _wrapped(b: Builder, x: Tensor, row: Carried, bits: int) -> Tensor:
    """The lowest `bits` of `x` without its fraction, as a signed or unsigned number."""
    low = b.binary("FLOOR_MOD", b.cast(x, _I32), b.scalar(1 << bits, _I32))
    if row.element.is_signed_integer:
        half = b.scalar(1 << bits - 1, _I32)
        low = b.sub(b.binary("FLOOR_MOD", b.add(low, half), b.scalar(1 << bits, _I32)), half)
    return b.cast(low, row.element)


def _rounded(b: Builder, x: Tensor, facts: SmallFloat, saturate: bool) -> Tensor:
    """`x` to the nearest multiple of the distance between the type's values there, which is a power of two."""
    limit = b.scalar(facts.largest, _F32)
    size = b.unary("ABS", x)
    cut = b.minimum(limit, b.maximum(b.unary("NEG", limit), x)) if saturate or facts.always else x
    exponent = b.one("STABLEHLO_AND", [b.bitcast(cut, _I32), _everywhere(b, _EXPONENT_BITS, cut)], _I32, cut.shape)
    power = b.maximum(b.scalar(2.0**facts.least, _F32), b.bitcast(exponent, _F32))
    step = b.mul(power, b.scalar(2.0**-facts.fraction, _F32))
    result = b.mul(b.unary("ROUND", b.div(cut, step)), step)
    if not (saturate or facts.always):
        beyond = b.scalar(facts.beyond, _F32)
        if facts.beyond == inf:
            beyond = b.select(b.compare("LESS", x, b.scalar(0.0, _F32)), b.scalar(-inf, _F32), beyond)
        within = b.compare("LESS_EQUAL", b.unary("ABS", result), limit)
        finite = b.compare("LESS", size, b.scalar(inf, _F32))
        result = b.select(b.logical("LOGICAL_AND", within, finite), result, beyond)
    unordered = b.compare("NOT_EQUAL", x, x)
    result = b.select(unordered, b.scalar(0.0 if facts.always else nan, _F32), result)
    if facts.has_negative_zero:
        return result
    zero = b.scalar(0.0, _F32)
    return b.select(b.compare("EQUAL", result, zero), zero, result)


def _everywhere(b: Builder, value: int, like: Tensor) -> Tensor:
    """An int32 tensor of `like`'s shape: STABLEHLO kernels do not broadcast."""
    if like.is_static and int(np.prod(like.static_shape)) <= 256:
        return b.constant(np.full(like.static_shape, value, np.int32))
    return b.fill(b.shape_operand(like.shape), b.scalar(value, _I32), like.shape)


def _power_of_two(b: Builder, x: Tensor, saturate: bool, round_mode: str) -> Tensor:
    """The exponent as the type's only field: 2^-127 to 2^127, and NaN. The sign is lost."""
    bits = b.bitcast(b.unary("ABS", x), _I32)
    exponent = b.binary("RIGHT_SHIFT", bits, b.scalar(23, _I32))
    fraction = b.binary("FLOOR_MOD", bits, b.scalar(_FRACTION_BITS + 1, _I32))
    if round_mode == "up":
        more = b.compare("GREATER", fraction, b.scalar(0, _I32))
    elif round_mode == "nearest":  # of two equally near ones the larger
        more = b.compare("GREATER_EQUAL", fraction, b.scalar(_HALF_FRACTION, _I32))
    elif round_mode == "down":
        more = None
    else:
        raise UnsupportedAttribute(f"there is no rounding mode '{round_mode}'", remedy="use up, down or nearest")
    if more is not None:
        exponent = b.add(exponent, b.cast(more, _I32))
    most = 254 if saturate else 255
    exponent = b.minimum(b.scalar(most, _I32), exponent)
    table = np.array([2.0**power for power in range(-127, 128)] + [np.nan], np.float32)
    result = b.gather(b.constant(table), exponent, 0)
    return b.select(b.compare("NOT_EQUAL", x, x), b.scalar(nan, _F32), result)
