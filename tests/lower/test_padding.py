"""Pad against ONNX Runtime: modes, cropping, axes, dynamic shapes and pads that the model computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import ContradictoryModel, UnsupportedAttribute
from tests.lower.drawing import Case, dtypes, dynamic, ints, refuses, shape, values, ways
from tests.lower.support import check, one_node


@st.composite
def _pads(draw: st.DrawFn, given: list[int], mode: str) -> tuple[list[int], list[int]]:
    """Pads before and after each axis that ONNX Runtime takes in `mode`."""
    before, after = [], []
    for size in given:
        crop = draw(st.integers(0, 2)) if draw(st.booleans()) else 0
        crop = min(crop, size - (2 if mode == "reflect" else 1))
        left = size - max(crop, 0)
        most = 3 if mode != "reflect" else left - 1
        pair = [-crop if crop > 0 else draw(st.integers(0, max(most, 0))), draw(st.integers(0, max(most, 0)))]
        if draw(st.booleans()):
            pair.reverse()
        before.append(pair[0])
        after.append(pair[1])
    return before, after


@given(shape(1, 4), st.data(), dtypes, ways, st.sampled_from(["constant", "reflect", "edge", "wrap"]))
def test_pad(given: list[int], data: Any, dtype: Any, way: str, mode: str) -> None:
    before, after = data.draw(_pads(given, mode))
    opset = data.draw(st.sampled_from([19, 21] if mode == "wrap" else [11, 13, 18, 19, 21]))
    params = {"p": ints(*before, *after)}
    operands = ["x", "p"]
    if mode == "constant" and data.draw(st.booleans()):
        # The value takes the type of the data, and so is part of it.
        Case("Pad", {"x": values(given), "v": np.asarray(5, np.float32)}, params, ["x", "p", "v"], opset).check(
            dtype, "constant" if way == "dynamic" else way)
        return
    if opset >= 18 and data.draw(st.booleans()):
        chosen = data.draw(st.lists(st.integers(0, len(given) - 1), unique=True, min_size=1))
        params = {"p": ints(*(before[a] for a in chosen), *(after[a] for a in chosen)),
                  "a": ints(*(a - len(given) if data.draw(st.booleans()) else a for a in chosen))}
        operands = ["x", "p", "", "a"]
    Case("Pad", {"x": values(given)}, params, operands, opset, attributes={"mode": mode}).check(dtype, way)


@given(shape(1, 4), st.data(), dtypes, st.sampled_from(["constant", "reflect", "edge"]), st.booleans())
def test_pad_by_attributes(given: list[int], data: Any, dtype: Any, mode: str, is_dynamic: bool) -> None:
    before, after = data.draw(_pads(given, mode))
    attributes = {"pads": before + after, "mode": mode, "value": 1.0}
    Case("Pad", {"x": values(given)}, opset=data.draw(st.sampled_from([7, 10])), attributes=attributes).check(
        dtype, "dynamic" if is_dynamic else "constant")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0])
def test_values_that_are_not_ordinary(value: float) -> None:
    x = {"x": values([2, 2])}
    model = one_node("Pad", x, constants={"p": ints(0, 1, 1, 0), "v": np.asarray(value, np.float32)}, opset=13)
    check(model, x)


@pytest.mark.parametrize("dtype", [np.float32, np.uint64])
def test_pad_of_more_dimensions_than_the_kernel_takes(dtype: Any) -> None:
    Case("Pad", {"x": values([2, 1, 2, 1, 2, 2, 1])}, {"p": ints(1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0)},
         opset=13).check(dtype)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_an_empty_axis_beside_the_padded_one(mode: str) -> None:
    Case("Pad", {"x": values([0, 3])}, {"p": ints(0, 1, 0, 1)}, opset=13, attributes={"mode": mode}).check()


def test_reflecting_a_picture_is_one_operator() -> None:
    model = Case("Pad", {"x": values([1, 2, 4, 5])}, {"p": ints(0, 0, 1, 2, 0, 0, 1, 2)}, opset=13,
                 attributes={"mode": "reflect"}).check()
    assert [o.op for o in model.main.operators] == ["MIRROR_PAD"]


def test_reflecting_a_dynamic_picture() -> None:
    x = {"x": values([1, 2, 4, 5])}
    model = one_node("Pad", x, constants={"p": ints(0, 0, 1, 2, 0, 0, 1, 2)}, opset=13, mode="reflect")
    check(dynamic(model, ["x"]), x)


def test_what_cannot_be_padded_is_refused() -> None:
    x = {"x": values([2, 3])}
    refuses(ContradictoryModel, "pads for", "Pad", x, {"p": ints(1, 1)})
    refuses(ContradictoryModel, "take away", "Pad", x, {"p": ints(-2, 0, -2, 0)})
    refuses(ContradictoryModel, "has none", "Pad", {"x": values([0, 3])}, {"p": ints(1, 0, 0, 0)}, mode="edge")
    refuses(UnsupportedAttribute, "unknown mode", "Pad", x, {"p": ints(0, 0, 0, 1)}, mode="mirror")
