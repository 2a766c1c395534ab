"""Comparisons, logic and choices against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lower.elements import (
    FLOATS,
    INTEGERS,
    SEEDS,
    Shape,
    agrees,
    broadcasting,
    full_range,
    shapes,
    values,
    versions,
)
from tests.lower.support import Array, check, one_node

COMPARISONS = {"Equal": np.equal, "Greater": np.greater, "Less": np.less, "GreaterOrEqual": np.greater_equal,
               "LessOrEqual": np.less_equal}
LOGIC = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}


@pytest.mark.parametrize("op", COMPARISONS)
@given(data=st.data(), both=broadcasting(2), dtype=st.sampled_from((*FLOATS, *INTEGERS, "bool")), seed=SEEDS,
       symbolic=st.booleans())
def test_comparison(op: str, data: st.DataObject, both: tuple[Shape, Shape], dtype: str, seed: int,
                    symbolic: bool) -> None:
    if dtype == "bool" and op != "Equal":
        dtype = "float64"
    x, y = values(both[0], dtype, seed, 0, 2), values(both[1], dtype, seed + 1, 0, 2)
    if dtype in FLOATS:
        x, y = np.round(x).astype(dtype), np.round(y).astype(dtype)  # many equal ones
    old = dtype == "float32" or (op == "Equal" and dtype in ("int32", "int64", "bool"))
    opset = data.draw(st.sampled_from([v for v in versions(op) if old or v >= 11]))
    agrees(op, {"x": x, "y": y}, opset=opset, reference=COMPARISONS[op], symbolic=symbolic)


@pytest.mark.parametrize("op", COMPARISONS)
@pytest.mark.parametrize("dtype", ["uint64", "int64", "uint32", "float64"])
def test_comparison_of_all_bits(op: str, dtype: str) -> None:
    if dtype == "float64":
        x = np.array([1, 1 + 1e-12, np.nan, -0.0, 0, np.inf, -np.inf, -1, 1e300])
        y = np.array([1, 1, np.nan, 0, -0.0, np.inf, np.inf, -1 - 1e-15, 1e301])
    else:
        x, y = full_range((40,), dtype, 0), full_range((40,), dtype, 1)
    check(one_node(op, {"x": x, "y": y}, opset=13), {"x": x, "y": y}, expected={"y0": COMPARISONS[op](x, y)})


@pytest.mark.parametrize("op", LOGIC)
@given(both=broadcasting(2), seed=SEEDS, symbolic=st.booleans())
def test_logic(op: str, both: tuple[Shape, Shape], seed: int, symbolic: bool) -> None:
    agrees(op, {"x": values(both[0], "bool", seed), "y": values(both[1], "bool", seed + 1)}, opset=7,
           symbolic=symbolic)


@given(shapes(), SEEDS, st.booleans())
def test_not(shape: Shape, seed: int, symbolic: bool) -> None:
    agrees("Not", {"x": values(shape, "bool", seed)}, opset=7, symbolic=symbolic)


@given(broadcasting(3), st.sampled_from((*FLOATS, *INTEGERS, "bool")), SEEDS, st.booleans(), st.sampled_from([9, 16]))
def test_where(three: tuple[Shape, ...], dtype: str, seed: int, symbolic: bool, opset: int) -> None:
    feeds: dict[str, Array] = {"c": values(three[0], "bool", seed), "x": values(three[1], dtype, seed + 1),
                               "y": values(three[2], dtype, seed + 2)}
    agrees("Where", feeds, opset=opset, reference=np.where, symbolic=symbolic)


def _strange(shape: Shape, dtype: str, seed: int) -> Array:
    """Numbers among infinities and NaNs, large ones too."""
    rng = np.random.default_rng(seed)
    some = np.array([0, -1, np.inf, -np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).tiny], dtype)
    return np.asarray(rng.choice(some, shape))


@given(shapes(), st.sampled_from(FLOATS), SEEDS, st.booleans())
def test_is_nan(shape: Shape, dtype: str, seed: int, symbolic: bool) -> None:
    agrees("IsNaN", {"x": _strange(shape, dtype, seed)}, opset=13, reference=np.isnan, symbolic=symbolic)


@given(shapes(), st.sampled_from(FLOATS), SEEDS, st.sampled_from([0, 1]), st.sampled_from([0, 1]))
def test_is_inf(shape: Shape, dtype: str, seed: int, positive: int, negative: int) -> None:
    agrees("IsInf", {"x": _strange(shape, dtype, seed)}, opset=20, detect_positive=positive, detect_negative=negative)
