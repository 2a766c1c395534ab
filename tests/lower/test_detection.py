"""NonMaxSuppression against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import NeedsStaticShape, UnsupportedAttribute
from tests.lower.drawing import Array, dynamic, ints, refuses
from tests.lower.support import check, lowered, one_node

_OPERANDS = ["b", "s", "m", "i", "t"]


def _boxes(seed: int, images: int, count: int, centered: bool) -> Array:
    """Corners on a coarse grid in any order, so that overlaps are often equal to a threshold; some are empty."""
    rng = np.random.default_rng(seed)
    boxes = rng.integers(0, 6, (images, count, 4)).astype(np.float32)
    if centered:
        boxes[..., 2:] = rng.integers(-1, 5, (images, count, 2))
    return boxes


@given(st.data(), st.integers(0, 999), st.booleans(), st.sampled_from([10, 11]), st.booleans())
def test_non_max_suppression(data: Any, seed: int, centered: bool, opset: int, at_run_time: bool) -> None:
    images, classes = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    count = data.draw(st.integers(1, 12))
    boxes = _boxes(seed, images, count, centered)
    scores = np.random.default_rng(seed).integers(0, 8, (images, classes, count)).astype(np.float32) / 8  # ties
    if data.draw(st.booleans()):
        scores[..., 0] = -np.inf
    params = {"m": ints(data.draw(st.sampled_from([0, 1, 2, 5, 100, 2**60])))}
    if data.draw(st.booleans()):
        params["i"] = np.asarray([data.draw(st.sampled_from([0, 0.25, 0.5, 0.3, 1]))], np.float32)
    if data.draw(st.booleans()):
        params["t"] = np.asarray([data.draw(st.sampled_from([0, 0.25, 0.6, -1]))], np.float32)
    operands = [n if n in ("b", "s") or n in params else "" for n in _OPERANDS]
    inputs = {"b": boxes, "s": scores} | (params if at_run_time else {})
    model = one_node("NonMaxSuppression", inputs, constants={} if at_run_time else params, operands=operands,
                     opset=opset, center_point_box=int(centered))
    check(model, inputs)


def test_many_boxes_with_equal_scores() -> None:
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 20, (1, 300, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 6, (1, 300, 2))], 2).astype(np.float32)
    inputs = {"b": boxes, "s": np.round(rng.random((1, 4, 300)), 1).astype(np.float32)}
    params = {"m": ints(20), "i": np.asarray([0.45], np.float32), "t": np.asarray([0.25], np.float32)}
    check(one_node("NonMaxSuppression", inputs, constants=params, operands=_OPERANDS, opset=11), inputs)


@pytest.mark.parametrize("count", [0, 1, 2, 40])
@pytest.mark.parametrize("most", [3, 2**60])
def test_a_number_of_boxes_that_only_the_run_time_knows(count: int, most: int) -> None:
    inputs = {"b": _boxes(count, 2, count, False),
              "s": np.random.default_rng(count).integers(0, 8, (2, 3, count)).astype(np.float32) / 8}
    params = {"m": ints(most), "i": np.asarray([0.25], np.float32), "t": np.asarray([0.1], np.float32)}
    model = one_node("NonMaxSuppression", inputs, constants=params, operands=_OPERANDS, opset=11)
    for name, axis in (("b", 1), ("s", 2)):
        port = next(v for v in model.graph.input if v.name == name)
        port.type.tensor_type.shape.dim[axis].dim_param = f"n_{name}"
    check(model, inputs)


def test_none_are_asked_for() -> None:
    inputs = {"b": _boxes(0, 1, 4, False), "s": np.ones((1, 1, 4), np.float32)}
    assert len(lowered(one_node("NonMaxSuppression", inputs, opset=11)).main.outputs) == 1


def test_refused() -> None:
    many = {"b": np.zeros((1, 2, 4), np.float32), "s": np.zeros((1, 1001, 2), np.float32)}
    refuses(UnsupportedAttribute, "1001 classes", "NonMaxSuppression", many, {"m": ints(1)}, opset=11)
    model = one_node("NonMaxSuppression", many, constants={"m": ints(1)}, opset=11)
    with pytest.raises(NeedsStaticShape, match="the number of classes"):
        lowered(dynamic(model, ["s"]))
