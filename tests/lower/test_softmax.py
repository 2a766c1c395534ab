"""Softmax and its kin against ONNX Runtime: along an axis since opset 13, flattening before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lower.elements import SEEDS, Shape, agrees, shapes, values
from tests.lower.support import check, one_node

OPS = ("Softmax", "LogSoftmax", "Hardmax")


@pytest.mark.parametrize("op", OPS)
@given(data=st.data(), shape=shapes().filter(bool), dtype=st.sampled_from(["float32", "float16", "float64"]),
       opset=st.sampled_from([7, 11, 13]), seed=SEEDS)
def test_along_any_axis(op: str, data: st.DataObject, shape: Shape, dtype: str, opset: int, seed: int) -> None:
    rank = len(shape)
    attributes: dict[str, Any] = {}
    axis: int | None = data.draw(st.one_of(st.none(), st.integers(-rank if opset > 7 else 0, rank - 1)))
    if axis is not None:
        attributes["axis"] = axis
    elif opset < 13 and rank < 2:
        attributes["axis"] = 0
    if op == "Hardmax" and dtype != "float32":
        dtype = "float32"
    symbolic = data.draw(st.booleans()) and op != "Hardmax" and 0 not in shape
    agrees(op, {"x": values(shape, dtype, seed, -9, 9)}, opset=opset, symbolic=symbolic, **attributes)


@pytest.mark.parametrize("op", OPS)
def test_special_values(op: str) -> None:
    """Masks of any size, and rows that are all masked."""
    low = np.finfo(np.float32).min
    x = np.array([[-1e9, 1, 2], [-np.inf, 0, 3], [low, low, low], [1e30, 0, 1], [3, 3, 3]], np.float32)
    check(one_node(op, {"x": x}, opset=13), {"x": x})


def test_rows_of_infinities() -> None:
    x = np.full((2, 3), -np.inf, np.float32)
    check(one_node("Softmax", {"x": x}, opset=13), {"x": x}, expected={"y0": np.full((2, 3), np.nan, np.float32)})
