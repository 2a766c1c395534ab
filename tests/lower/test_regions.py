"""RoiAlign against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import NeedsConstant, UnsupportedAttribute
from tests.lower.drawing import Array, dynamic, ints, refuses, values, ways
from tests.lower.support import check, one_node, run_onnx

_OPERANDS = ["x", "r", "i"]


def _rois(seed: int, count: int) -> Array:
    """Regions inside, across the border, outside, and turned round."""
    return np.random.default_rng(seed).uniform(-4, 12, (count, 4)).astype(np.float32)


@given(st.data(), st.sampled_from([10, 16, 22]), ways, st.sampled_from(["avg", "max"]), st.integers(0, 999))
def test_roi_align(data: Any, opset: int, way: str, mode: str, seed: int) -> None:
    n, count = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 4))
    x = np.random.default_rng(seed).standard_normal((n, 2, 5, 7)).astype(np.float32)
    attributes: dict[str, Any] = {"output_height": data.draw(st.integers(1, 3)), "mode": mode,
                                  "output_width": data.draw(st.integers(1, 3)), "sampling_ratio": data.draw(
                                      st.integers(1, 3)), "spatial_scale": data.draw(st.sampled_from([1.0, 0.5]))}
    if opset > 10:
        attributes["coordinate_transformation_mode"] = data.draw(st.sampled_from(["half_pixel", "output_half_pixel"]))
    params = {"r": _rois(seed, count), "i": np.random.default_rng(seed).integers(0, n, count)}
    feeds = {"x": x} if way == "constant" else {"x": x, **params}
    model = one_node("RoiAlign", feeds, constants=params if way == "constant" else {}, operands=_OPERANDS,
                     opset=opset, **attributes)
    if way == "dynamic":
        model = dynamic(model, ["r", "i"])
        model.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 4
        model.graph.input[2].type.tensor_type.shape.dim[0].dim_param = "r_0"
    if opset == 22:  # as 16; ONNX Runtime has no kernel for it yet
        older = one_node("RoiAlign", feeds, constants=params if way == "constant" else {}, operands=_OPERANDS,
                         opset=16, **attributes)
        check(model, feeds, expected=run_onnx(older, feeds))
    else:
        check(model, feeds)


def test_regions_of_one_size_may_say_how_many_samples() -> None:
    params = {"r": np.asarray([[0, 0, 4, 6], [1, 0, 5, 6]], np.float32), "i": ints(0, 0)}
    model = one_node("RoiAlign", {"x": values((1, 2, 6, 7))}, constants=params, operands=_OPERANDS, opset=16,
                     output_height=2, output_width=2)
    check(model, {"x": values((1, 2, 6, 7))})


def test_refused() -> None:
    x = {"x": values((1, 1, 4, 4))}
    params = {"r": np.asarray([[0, 0, 1, 1], [0, 0, 4, 4]], np.float32), "i": ints(0, 0)}
    refuses(NeedsConstant, "sampling_ratio 0", "RoiAlign", {**x, **params}, opset=16)
    refuses(UnsupportedAttribute, "different numbers", "RoiAlign", x, params, opset=16)


@given(st.data(), st.integers(1, 4), st.integers(1, 3), st.sampled_from([1.0, 0.5, 0.3]), st.integers(0, 99),
       st.booleans())
def test_max_roi_pool(data: Any, count: int, channels: int, scale: float, seed: int, constant: bool) -> None:
    """Regions that stick out, that are turned around, and whose corners lie on halves."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, channels, 6, 5)).astype(np.float32)
    rois = (np.round(rng.uniform(-3, 14, (count, 5)) * 2) / 2).astype(np.float32)
    rois[:, 0] = np.arange(count) % 2
    feeds, constants = ({"x": x}, {"r": rois}) if constant else ({"x": x, "r": rois}, {})
    check(one_node("MaxRoiPool", feeds, constants=constants, opset=18, spatial_scale=scale,
                   pooled_shape=[data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))]), feeds, rtol=0, atol=0)
