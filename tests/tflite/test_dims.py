"""Dimensions against plain integers: whatever is simplified must have the value of what was written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.tflite.dims import (
    Counted,
    Dim,
    SymbolicDim,
    bounds,
    equal,
    evaluate,
    floor_divide,
    is_static,
    less,
    maximum,
    minimum,
    product,
    symbols,
)

n, h, w = (SymbolicDim.symbol(s) for s in "nhw")
count = SymbolicDim.symbol(Counted("count"))
_VALUES = st.fixed_dictionaries({"n": st.integers(1, 9), "h": st.integers(1, 50), "w": st.integers(1, 50),
                                 "count": st.integers(0, 9)})

# An expression is a leaf, or an operator over two; `both` evaluates it in dimensions and in integers.
_LEAVES = st.sampled_from([n, h, w, count]) | st.integers(-3, 7)
EXPRESSIONS = st.recursive(_LEAVES, lambda inner: st.tuples(
    st.sampled_from(["+", "-", "*", "//", "%", "min", "max"]), inner, inner), max_leaves=6)


def both(expression: Any, values: dict[str, int]) -> tuple[Dim, int]:
    """The simplified dimension, and the number. Raises ZeroDivisionError where the expression has none."""
    if not isinstance(expression, tuple):
        return expression, evaluate(expression, values)
    operator, (a, x), (b, y) = expression[0], both(expression[1], values), both(expression[2], values)
    if operator == "+":
        return a + b, x + y
    if operator == "-":
        return a - b, x - y
    if operator == "*":
        return a * b, x * y
    if operator == "//":
        return a // b, x // y
    if operator == "%":
        return a % b, x % y
    return (minimum(a, b), min(x, y)) if operator == "min" else (maximum(a, b), max(x, y))


@given(EXPRESSIONS, _VALUES)
def test_a_simplified_form_has_the_value_of_what_was_written(expression: Any, values: dict[str, int]) -> None:
    try:
        dim, number = both(expression, values)
    except ZeroDivisionError:
        return
    try:
        found = evaluate(dim, values)
    except ZeroDivisionError:
        return
    assert found == number
    low, high = bounds(dim)
    assert low is None or low <= number
    assert high is None or number <= high


@given(EXPRESSIONS, EXPRESSIONS, _VALUES)
def test_comparisons_hold_for_all_values(one: Any, other: Any, values: dict[str, int]) -> None:
    try:
        (a, x), (b, y) = both(one, values), both(other, values)
        evaluate(a - b, values)
    except ZeroDivisionError:
        return
    assert equal(a, b) in (None, x == y)
    assert less(a, b) in (None, x < y)


@given(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS, _VALUES)
def test_the_ring_laws_give_equal_forms(one: Any, two: Any, three: Any, values: dict[str, int]) -> None:
    try:
        a, b, c = (both(e, values)[0] for e in (one, two, three))
    except ZeroDivisionError:
        return
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a * b == b * a
    assert (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0
    assert minimum(a, b) + maximum(a, b) == a + b


@pytest.mark.parametrize(("left", "right"), [
    ((2 * n * h) // 2, n * h),
    ((2 * n + 1) // 2, n),
    ((n * (h * w + 1) * 768) // (h * w + 1), n * 768),
    ((n * h * w * 64) // (n * 64), h * w),
    ((h // 2) // 2, h // 4),
    ((h - 1) // 2 + 1, (h + 1) // 2),
    (((h + 1) // 2 + 1) // 2, (h + 3) // 4),
    (h % 1, 0),
    ((6 * h + 4) % 2, 0),
    (minimum(h, 2) + maximum(h - 2, 0), h),
    (minimum(h, w), minimum(w, h)),
    (maximum(h, 1), h),
    (minimum(1, n), 1),
    (minimum(-1, h - 1), -1),
    (minimum(0, maximum(h - 2, 0)), 0),
    (minimum(2 - h + minimum(h - 2, 0), 0), 2 - h + minimum(h - 2, 0)),
    (maximum(count, 0), count),
    (maximum(maximum(h - 2, 0), 0), maximum(h - 2, 0)),
    (-((0 - h) // 1), h),
    (n // n, 1),
    (7 // SymbolicDim.symbol("n") * 0, 0),
])
def test_forms_that_must_be_equal(left: Dim, right: Dim) -> None:
    assert left == right
    assert hash(left) == hash(right)


def test_what_is_not_known_stays_open() -> None:
    assert equal(n, 1) is None
    assert equal(n, 0) is False
    assert equal(count, 0) is None
    assert equal(n + h, h + n) is True
    assert less(0, n) is True
    assert less(0, count) is None
    assert less(h, w) is None
    assert less(h // 2, h) is True
    assert less(h - h // 2, 0) is False
    assert isinstance(maximum(count, 1), SymbolicDim)


def test_symbols_are_found_inside_quotients() -> None:
    dims: list[Dim] = [3, n * h, floor_divide(w + 1, count + 2)]
    assert symbols(dims) == {"n", "h", "w", "count"}
    assert not is_static(dims)
    assert product([2, n, 3]) == 6 * n
    assert str(2 * n - h) in ("2*n - h", "-1*h + 2*n")
