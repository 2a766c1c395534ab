"""Mathematical functions that LiteRT has no kernel for, made of operators that XNNPACK takes, in float32.

Each states its error. That of the kernels below it (XNNPACK on x86-64, measured): TANH and LOGISTIC 4 units in the
last place, ELU 1, EXP 2 + |x| of them, SQRT and the four operations half a unit; in absolute terms LOG 1.5e-7 near 1,
SIN and COS 4e-7 and GELU 8e-7. They hold for |x| <= 1e5 (SIN and COS: beyond 1e9 they are no sines any more), up to
1e26 (LOGISTIC, NaN beyond) and up to 8e37 (SQRT, half as large again beyond). EXP makes 0 of NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor

# 2 atanh(s) / s as a polynomial in s^2, minimax of the relative error on 0 <= s^2 <= 0.1725 (7e-11).
_ATANH = (2.0, 0.66666659, 0.40000703, 0.28547573, 0.22603906, 0.15113415, 0.26963094)
# atanh(erf(x)) / x as a polynomial in x^2, minimax of erf's relative error on |x| <= 4 (1e-7); beyond, tanh is 1.
_ERF = (1.1283792742970586, 0.10276905586857761, -0.00019183096051497963, -0.0006197845331795882,
        8.76372836669249e-05, -5.668468997580589e-06, 1.4185187242847493e-07)
# tan(r) / r in r^2 for |r| <= pi/4, as 1 + r^2 P(r^2) (Cephes, tanf.c); pi/2 in three parts of few bits (Cody, Waite).
_TAN = (3.33331568548e-1, 1.33387994085e-1, 5.34112807005e-2, 2.44301354525e-2, 3.11992232697e-3, 9.38540185543e-3)
_HALF_PI = (1.5703125, 4.837512969970703125e-4, 7.549789954891e-8)


def in_float32(x: Tensor, b: Builder, build: Callable[[Tensor], Tensor]) -> Tensor:
    """`build` on `x` in float32, cast back to `x`'s type."""
    return b.cast(build(b.float32(x)), x.element)


def times(b: Builder, x: Tensor, factor: float) -> Tensor:
    return x if factor == 1.0 else b.mul(x, b.scalar(factor, x))


def plus(b: Builder, x: Tensor, term: float) -> Tensor:
    return x if term == 0.0 else b.add(x, b.scalar(term, x))


def polynomial(b: Builder, x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """c0 + c1 x + c2 x^2 + ... by Horner's rule."""
    result = times(b, x, coefficients[-1])
    for coefficient in reversed(coefficients[1:-1]):
        result = b.mul(plus(b, result, coefficient), x)
    return plus(b, result, coefficients[0])


def exp(b: Builder, x: Tensor) -> Tensor:
    """e^x. XNNPACK's EXP makes 0 of NaN; the maximum with x, which e^x always exceeds, keeps NaN (its second operand
    is returned where either is NaN)."""
    return b.maximum(b.unary("EXP", x), x)


def log1p(b: Builder, u: Tensor) -> Tensor:
    """ln(1 + u) = 2 atanh(u / (2 + u)) for 0 <= u <= 1.42, within 3 units in the last place."""
    s = b.div(u, plus(b, u, 2.0))
    return b.mul(polynomial(b, b.unary("SQUARE", s), _ATANH), s)


def erf(b: Builder, x: Tensor) -> Tensor:
    """erf(x) = tanh(x P(x^2)), within 6 units in the last place for all x."""
    return b.unary("TANH", b.mul(polynomial(b, b.unary("SQUARE", x), _ERF), x))


def softplus(b: Builder, x: Tensor) -> Tensor:
    """ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|), within 4 + |x| units in the last place."""
    small = b.unary("EXP", b.unary("NEG", b.unary("ABS", x)))
    return b.add(log1p(b, small), b.relu(x))


def asinh(b: Builder, x: Tensor) -> Tensor:
    """ln(|x| + sqrt(x^2 + 1)) with x's sign, within 6 units in the last place, without overflow.

    With M = max(|x|, 1), s = |x| / M and r = min(|x|, 1) / M it is ln M + ln(1 + u), u = s + r^2 / (1 + sqrt(1 + r^2)).
    """
    size = b.unary("ABS", x)
    one = b.scalar(1.0, x)
    small, large = b.minimum(one, size), b.maximum(one, size)
    squared = b.unary("SQUARE", b.div(small, large))
    root = b.unary("SQRT", plus(b, squared, 1.0))
    u = b.add(small, b.div(squared, plus(b, root, 1.0)))
    return b.mul(b.add(b.unary("LOG", large), log1p(b, u)), b.unary("SIGN", x))


def cosh(b: Builder, x: Tensor) -> Tensor:
    """(e^|x| + e^-|x|) / 2 with e^|x| squared from its root, so that it overflows where cosh does; 4 + |x| units."""
    root = b.unary("EXP", times(b, b.unary("ABS", x), 0.5))
    half = b.mul(times(b, root, 0.5), root)
    return b.maximum(b.add(half, b.div(b.scalar(0.25, x), half)), x)


def sinh(b: Builder, x: Tensor) -> Tensor:
    """tanh(x) cosh(x), within 8 + |x| units in the last place."""
    return b.mul(b.unary("TANH", x), cosh(b, x))


def tan(b: Builder, x: Tensor) -> Tensor:
    """tan(x) within 4 units in the last place for |x| <= 8192 (beyond, its reduction modulo pi/2 loses digits).

    With k = round(2 x / pi), r = x - k pi/2 and t = tan(r), it is t for even k and -1/t for odd k:
    ((1 - p) t - p) / ((1 - p) + p t), where p = k mod 2.
    """
    k = b.unary("ROUND", times(b, x, 2.0 / math.pi))
    r = x
    for part in _HALF_PI:
        r = b.sub(r, times(b, k, part))
    z = b.unary("SQUARE", r)
    t = b.mul(polynomial(b, z, (1.0, *_TAN)), r)
    p = b.sub(k, times(b, b.unary("FLOOR", times(b, k, 0.5)), 2.0))
    q = b.sub(b.scalar(1.0, x), p)
    return b.div(b.sub(b.mul(q, t), p), b.add(q, b.mul(p, t)))


def cosine_of_angle(b: Builder, x: Tensor) -> Tensor:
    """sqrt(1 - x^2) = sqrt((1 - x) (1 + x)), which does not cancel near 1."""
    one = b.scalar(1.0, x)
    return b.unary("SQRT", b.mul(b.sub(one, x), b.add(one, x)))


def atan2(b: Builder, y: Tensor, x: Tensor) -> Tensor:
    """The angle of (x, y), whose shapes must be equal: ATAN2 does not broadcast. Half a unit in the last place."""
    return b.one("ATAN2", [y, x], x.element, x.shape)
