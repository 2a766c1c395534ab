"""Numbers that shape arithmetic passes through: dimensions, and dimensions divided by an integer.

Exporters scale sizes in floating point (h * 0.5, rounded down); for sizes below 2**22 and the scales accepted here
float32 rounds nothing that the rounding afterwards could see.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Union

from fidelite.tflite.dims import Dim, SymbolicDim, equal, floor_divide, less, maximum, minimum

_LARGEST_DENOMINATOR = 4096


class Unknown(ValueError):
    """The value depends on more than is known when converting."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """numerator / denominator, in lowest terms, with a denominator above 1."""

    numerator: Dim
    denominator: int


Number = Union[int, SymbolicDim, Ratio]  # noqa: UP007 - used at run time


def ratio(numerator: Dim, denominator: int) -> Number:
    """The quotient in lowest terms. Raises Unknown for a denominator of 0, or one that is too fine."""
    if denominator == 0:
        raise Unknown
    if denominator < 0:
        numerator, denominator = numerator * -1, -denominator
    factors = [numerator] if isinstance(numerator, int) else [factor for _, factor in numerator.terms]
    common = gcd(denominator, *factors)
    denominator //= common
    if denominator > _LARGEST_DENOMINATOR:
        raise Unknown
    return numerator // common if denominator == 1 else Ratio(numerator // common, denominator)


def of_float(value: float) -> Number:
    """The exact value of a float. Raises Unknown where its denominator is large, as that of 0.1."""
    if value != value or abs(value) >= 2**24:
        raise Unknown
    exact = Fraction(value)
    return ratio(exact.numerator, exact.denominator)


def _parts(value: Number) -> tuple[Dim, int]:
    return (value.numerator, value.denominator) if isinstance(value, Ratio) else (value, 1)


def whole(value: Number) -> Dim:
    """The value as a dimension. Raises Unknown for a fraction."""
    if isinstance(value, Ratio):
        raise Unknown
    return value


def add(a: Number, b: Number) -> Number:
    (x, p), (y, q) = _parts(a), _parts(b)
    return ratio(x * q + y * p, p * q)


def sub(a: Number, b: Number) -> Number:
    return add(a, mul(b, -1))


def mul(a: Number, b: Number) -> Number:
    (x, p), (y, q) = _parts(a), _parts(b)
    return ratio(x * y, p * q)


def divide(a: Number, b: Number) -> Number:
    """a / b of real numbers."""
    (x, p), (y, q) = _parts(a), _parts(b)
    if isinstance(y, int):
        return ratio(x * q, p * y)
    quotient = floor_divide(x * q, y)
    if quotient * y != x * q:
        raise Unknown
    return ratio(quotient, p)


def floor(value: Number) -> Dim:
    numerator, denominator = _parts(value)
    return floor_divide(numerator, denominator)


def ceil(value: Number) -> Dim:
    numerator, denominator = _parts(value)
    return floor_divide(numerator * -1, denominator) * -1


def truncate(value: Number) -> Dim:
    """Towards 0, as casts and integer division do: floor(max(v, 0)) - floor(max(-v, 0))."""
    numerator, denominator = _parts(value)
    if denominator == 1:
        return numerator
    return floor_divide(maximum(numerator, 0), denominator) - floor_divide(maximum(numerator * -1, 0), denominator)


def divide_integers(a: Number, b: Number) -> Dim:
    """a / b of integers, rounded towards 0."""
    x, y = whole(a), whole(b)
    if y == 0:
        raise Unknown
    if isinstance(y, int):
        return truncate(ratio(x, y))
    if less(x, 0) is not False or less(0, y) is not True:
        raise Unknown
    return floor_divide(x, y)


def modulo(a: Number, b: Number) -> Dim:
    """a mod b of integers, with the sign of b."""
    x, y = whole(a), whole(b)
    if equal(y, 0) is not False:
        raise Unknown
    return x - floor_divide(x, y) * y


def largest(a: Number, b: Number) -> Dim:
    return maximum(whole(a), whole(b))


def smallest(a: Number, b: Number) -> Dim:
    return minimum(whole(a), whole(b))


def is_equal(a: Number, b: Number) -> bool:
    """Raises Unknown where it depends on the symbols."""
    (x, p), (y, q) = _parts(a), _parts(b)
    return _sure(equal(x * q, y * p))


def is_less(a: Number, b: Number) -> bool:
    """Raises Unknown where it depends on the symbols."""
    (x, p), (y, q) = _parts(a), _parts(b)
    return _sure(less(x * q, y * p))


def _sure(answer: bool | None) -> bool:
    if answer is None:
        raise Unknown
    return answer
