"""Integer arithmetic that LiteRT's kernels lack, made of those it has, exact for every element type.

LiteRT divides int32 only. 64-bit quotients are estimated in float32 and corrected; uint64 goes through int64's bits.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

I64, U64, F32 = ElementType.INT64, ElementType.UINT64, ElementType.FLOAT32
_WIDE = (ElementType.UINT32, I64)
_E = Decimal("2.718281828459045235360287471352662498")


def quotient(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x / y without its fraction (towards zero). y must not be zero."""
    if x.element is U64:
        return _quotient_u64(b, x, y)
    if x.element in _WIDE:
        return b.cast(_quotient_i64(b, b.cast(x, I64), b.cast(y, I64)), x.element)
    return b.div(x, y)


def remainder(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x - y * quotient(x, y): the sign is x's (C's operator)."""
    if x.element is I64:
        return _remainder_i64(b, x, y)
    if x.element is ElementType.UINT32:
        return b.binary("FLOOR_MOD", x, y)
    return b.sub(x, b.mul(quotient(b, x, y), y))


def modulo(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x - y * floor(x / y): the sign is y's (Python's operator)."""
    return remainder(b, x, y) if x.element is U64 else b.binary("FLOOR_MOD", x, y)


def _remainder_i64(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """FLOOR_MOD, less y where that took y's sign and x has the other."""
    zero = b.scalar(0, I64)
    modulo = b.binary("FLOOR_MOD", x, y)
    opposite = b.compare("NOT_EQUAL", b.compare("LESS", x, zero), b.compare("LESS", y, zero))
    moved = b.logical("LOGICAL_AND", opposite, b.compare("NOT_EQUAL", modulo, zero))
    return b.sub(modulo, b.select(moved, y, zero))


def _quotient_i64(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The quotient of the exact multiple x - remainder, by three float32 estimates.

    Each is right to 2^-22.4 of itself, so 2^63 leaves 2^42.6 (the first is shortened, for it must not overflow),
    then 2^20.2, whose estimate is off by less than a half: rounded, it is exact.
    """
    rest = b.sub(x, _remainder_i64(b, x, y))
    divisor = b.cast(y, F32)
    step = b.cast(b.mul(b.div(b.cast(rest, F32), divisor), b.scalar(1.0 - 2.0**-21, F32)), I64)
    total = step
    for _ in range(2):
        rest = b.sub(rest, b.mul(step, y))
        step = b.cast(b.unary("ROUND", b.div(b.cast(rest, F32), divisor)), I64)
        total = b.add(total, step)
    return total


def _quotient_u64(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """With y < 2^63: 2 ((x / 2) / y), and one more where the rest allows it. Else 1 where x >= y, or 0."""
    one, zero = b.scalar(1, U64), b.scalar(0, U64)
    huge = b.compare("LESS", b.bitcast(y, I64), b.scalar(0, I64))
    divisor = b.select(huge, one, y)
    half = b.bitcast(shift_right(b, x, one), I64)
    twice = b.mul(b.bitcast(_quotient_i64(b, half, b.bitcast(divisor, I64)), U64), b.scalar(2, U64))
    more = b.compare("GREATER_EQUAL", b.sub(x, b.mul(twice, divisor)), divisor)
    small = b.add(twice, b.select(more, one, zero))
    return b.select(huge, b.select(b.compare("GREATER_EQUAL", x, y), one, zero), small)


def _powers_of_two(b: Builder, exponents: Tensor) -> Tensor:
    """2^e as int64 for 0 <= e <= 64 (2^63 is the sign bit, 2^64 wraps to 0)."""
    table = np.array([pow(2, e, 1 << 64) for e in range(65)], np.uint64).view(np.int64)
    return b.gather(b.constant(table), exponents, 0)


def _shift_counts(b: Builder, y: Tensor, bits: int) -> Tensor:
    """The shift counts as int32; those that are negative or at least `bits` become `bits`."""
    whole = b.scalar(bits, y)
    counts = b.minimum(whole, y)
    if y.element.is_signed_integer:
        counts = b.select(b.compare("LESS", y, b.scalar(0, y)), whole, counts)
    return b.cast(b.bitcast(counts, I64) if y.element is U64 else counts, ElementType.INT32)


def shift_left(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x * 2^y modulo the type's range; 0 where y is negative or at least the number of bits."""
    factor = _powers_of_two(b, _shift_counts(b, y, x.element.bits))
    if x.element is U64:
        return b.bitcast(b.mul(b.bitcast(x, I64), factor), U64)
    return b.cast(b.mul(b.cast(x, I64), factor), x.element)


def shift_right(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """floor(x / 2^y): signs are extended. Counts that are negative or too large leave the sign alone (0 or -1)."""
    bits = x.element.bits
    if bits == 64:
        return _shift_right_64(b, x, y)
    wide = ElementType.INT32 if x.element is not ElementType.UINT32 else I64
    counts = _shift_counts(b, y, bits)
    if wide is I64:  # the counts reach 32, which RIGHT_SHIFT would not shift by
        return b.cast(_shift_right_64(b, b.cast(x, I64), b.cast(counts, I64)), x.element)
    counts = b.minimum(b.scalar(31, counts), counts)
    return b.cast(b.binary("RIGHT_SHIFT", b.cast(x, wide), counts), x.element)


def _shift_right_64(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """(x - x mod 2^y) / 2^y in int64, with the missing top bits put back for uint64 (x = signed + 2^64)."""
    counts = _shift_counts(b, y, 64)
    limited = b.minimum(b.scalar(62, counts), counts)  # 2^63 is negative: shift by 62 and then by the rest
    more = b.sub(b.minimum(b.scalar(64, counts), counts), limited)
    signed = b.bitcast(x, I64) if x.element is U64 else x
    result = signed
    for part in (limited, more):
        power = _powers_of_two(b, part)
        result = _quotient_i64(b, b.sub(result, b.binary("FLOOR_MOD", result, power)), power)
    if x.element is not U64:
        return result
    missing = _powers_of_two(b, b.sub(b.scalar(64, counts), counts))
    negative = b.compare("LESS", signed, b.scalar(0, I64))
    return b.bitcast(b.add(result, b.select(negative, missing, b.scalar(0, I64))), U64)


def power(b: Builder, x: Tensor, exponent: int) -> Tensor:
    """x^exponent for a known exponent of at least 1, by squaring."""
    result: Tensor | None = None
    square = x
    while True:
        if exponent & 1:
            result = square if result is None else b.mul(result, square)
        exponent >>= 1
        if not exponent:
            assert result is not None
            return result
        square = b.mul(square, square)


def root(b: Builder, x: Tensor) -> Tensor:
    """The square root without its fraction, for x >= 0: float32's, after one step of Newton's method off by at most
    one for any int64, then corrected."""
    wide = b.bitcast(x, I64) if x.element is U64 else b.cast(x, I64)
    one = b.scalar(1, I64)
    r = b.cast(b.unary("SQRT", b.cast(wide, F32)), I64)
    twice = b.maximum(b.scalar(2, I64), b.add(r, r))
    r = b.add(r, b.cast(b.div(b.cast(b.sub(wide, b.mul(r, r)), F32), b.cast(twice, F32)), I64))
    for _ in range(2):
        r = b.sub(r, b.cast(b.compare("GREATER", b.mul(r, r), wide), I64))
    for _ in range(2):
        following = b.add(r, one)
        r = b.add(r, b.cast(b.compare("LESS_EQUAL", b.mul(following, following), wide), I64))
    return b.bitcast(r, U64) if x.element is U64 else b.cast(r, x.element)


def logarithm(b: Builder, x: Tensor) -> Tensor:
    """The natural logarithm without its fraction, for x >= 1: how many powers of e (from e^1) are not larger."""
    wide = b.bitcast(x, I64) if x.element is U64 else b.cast(x, I64)
    powers = b.constant(np.array([int(_E**k) + 1 for k in range(1, 44)], np.int64))
    reached = b.compare("GREATER_EQUAL", b.unsqueeze(wide, [wide.rank]), powers)
    count = b.reduce("SUM", b.cast(reached, ElementType.INT32), [wide.rank], keep_dims=False)
    return b.bitcast(b.cast(count, I64), U64) if x.element is U64 else b.cast(count, x.element)
