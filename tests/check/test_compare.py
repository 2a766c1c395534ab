"""Figures are what their definitions say, and nothing is measured as 0 that was not measured."""

from __future__ import annotations

import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fidelite.check import compare_arrays
from fidelite.check.compare import combine
from fidelite.errors import InternalError

FLOATS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


@settings(max_examples=50)
@given(FLOATS, st.integers(0, 99))
def test_figures_keep_their_definitions(expected: Any, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=expected.shape)
    actual = (expected + noise).astype(np.float32)
    f = compare_arrays(expected, actual).measured()
    e, a = expected.astype(np.float64), actual.astype(np.float64)
    rms = math.sqrt(np.mean(e * e))
    assert f.max_abs == np.abs(a - e).max()
    assert f.rms == pytest.approx(math.sqrt(np.mean((a - e) ** 2)))
    assert f.scale == np.abs(e).max()
    assert f.differing == np.count_nonzero(expected != actual)
    if rms > 0:
        assert f.max_rel == pytest.approx((np.abs(a - e) / np.maximum(np.abs(e), rms)).max())
        assert f.rms == 0 or f.sqnr_db == pytest.approx(20 * math.log10(rms / f.rms), abs=1e-6)
    if rms > 0 and np.any(a):
        cosine = np.vdot(e, a) / (np.linalg.norm(e) * np.linalg.norm(a))
        assert f.cosine == pytest.approx(cosine, abs=1e-9)


@settings(max_examples=30)
@given(FLOATS)
def test_equal_arrays_have_no_error(values: Any) -> None:
    f = compare_arrays(values, values.copy()).measured()
    assert (f.max_abs, f.max_rel, f.rms, f.differing) == (0, 0, 0, 0)
    assert f.cosine == pytest.approx(1)
    assert f.sqnr_db == math.inf


def test_blocks_and_combination_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(6, 100))
    actual = expected + rng.normal(size=(6, 100)) * 0.1
    whole = compare_arrays(expected, actual).measured()
    monkeypatch.setattr("fidelite.check.compare._BLOCK", 7)
    pieces = compare_arrays(expected, actual).measured()
    joined = combine([compare_arrays(e, a).measured() for e, a in zip(expected, actual, strict=True)])
    for other in (pieces, joined):
        for name in ("elements", "max_abs", "rms", "cosine", "sqnr_db", "scale", "expected_rms", "differing"):
            assert getattr(other, name) == pytest.approx(getattr(whole, name)), name


def test_shape_comes_before_type_and_type_before_values() -> None:
    one = np.zeros((2, 3), np.float32)
    found = compare_arrays(one, np.zeros((3, 2), np.float64))
    assert found.problem == "its shape is [3, 2] instead of [2, 3]"
    assert compare_arrays(one, np.zeros((2, 3))).problem == "its type is float64 instead of float32"
    assert compare_arrays(np.zeros(()), np.zeros((1,))).problem == "its shape is [1] instead of []"
    with pytest.raises(InternalError, match="no figures were measured"):
        found.measured()


@pytest.mark.parametrize(
    ("expected", "actual", "problem"),
    [
        ([1.0, 2.0], [1.0, math.nan], "1 of 2 values are NaN or infinite where a number is expected"),
        ([math.inf, 2.0], [1.0, 2.0], "1 of 2 values are numbers where NaN or infinity is expected"),
        ([math.inf, math.nan], [-math.inf, math.nan], "1 of 2 values are another NaN or infinity"),
        ([math.inf, math.nan, 1.0], [math.inf, math.nan, 1.0], ""),
    ],
)
def test_nan_and_infinity_must_be_in_the_same_places(expected: list[float], actual: list[float], problem: str) -> None:
    found = compare_arrays(np.array(expected), np.array(actual))
    assert found.problem == problem
    if not problem:
        assert found.measured().nonfinite == 2
        assert found.measured().elements == 1
        assert found.measured().differing == 0


def test_nothing_to_measure_gives_no_figures() -> None:
    for nothing in (np.zeros((0, 3), np.float32), np.full(3, math.nan)):
        found = compare_arrays(nothing, nothing.copy())
        assert found.problem == ""
        assert found.figures is None
        with pytest.raises(InternalError):
            found.measured()


def test_integers_and_booleans_count_what_differs() -> None:
    found = compare_arrays(np.array([1, 2, 3]), np.array([1, 5, 3])).measured()
    assert (found.differing, found.max_abs) == (1, 3)
    found = compare_arrays(np.array([True, False]), np.array([True, True])).measured()
    assert (found.differing, found.max_abs) == (1, 1)
    huge = np.array([2**62])
    assert compare_arrays(huge, huge + 1).measured().differing == 1
    assert compare_arrays(huge, huge + 1).measured().max_abs >= 1


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_types_that_numpy_lacks(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    expected, actual = np.array([1, 2, 3]).astype(dtype), np.array([1, 2, 4]).astype(dtype)
    found = compare_arrays(expected, actual).measured()
    assert (found.max_abs, found.differing) == (1, 1)


def test_complex_numbers() -> None:
    one = np.array([1 + 1j, 2], np.complex64)
    assert compare_arrays(one, one + np.complex64(0.5j)).measured().max_abs == 0.5


def test_agreement_of_the_argmax() -> None:
    scores = np.array([[[0.1, 0.9, 0.5], [0.7, 0.2, 0.6]]], np.float32)
    other = np.array([[[0.1, 0.9, 0.65], [0.7, 0.2, 0.6]]], np.float32)
    assert compare_arrays(scores, other, class_axis=1).measured().argmax_agreement == pytest.approx(2 / 3)
    assert compare_arrays(scores, other).measured().argmax_agreement is None


def test_zero_against_something() -> None:
    zero, some = np.zeros(2), np.array([0.0, 1e-3])
    found = compare_arrays(zero, some).measured()
    assert (found.cosine, found.sqnr_db, found.max_rel) == (0.0, -math.inf, math.inf)
    assert json.loads(json.dumps(compare_arrays(zero, some).to_json()))["figures"]["max_rel"] == "inf"
    assert compare_arrays(zero, zero).measured().cosine == 1.0
