"""GridSample and AffineGrid against ONNX Runtime, and against numpy where it has no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import NeedsConstant, UnsupportedAttribute, UnsupportedType
from tests.lower.drawing import Array, dynamic, ints, refuses, values, ways
from tests.lower.support import check, one_node, run_onnx

_NAMES = ["linear", "nearest", "cubic"]
_MODES = {16: ["bilinear", "nearest", "bicubic"], 20: _NAMES, 22: _NAMES}


def _grid(seed: int, shape: tuple[int, ...]) -> Array:
    """Places inside and far outside, at corners, and at ties."""
    rng = np.random.default_rng(seed)
    grid = rng.uniform(-2.5, 2.5, shape).astype(np.float32)
    special = rng.choice(np.asarray([-1, 1, 0, 0.5, -0.25, 7, -30], np.float32), shape)
    return np.where(rng.random(shape) < 0.2, special, grid).astype(np.float32)


@given(st.data(), st.sampled_from([16, 20, 22]), ways, st.sampled_from(["zeros", "border", "reflection"]),
       st.booleans(), st.integers(0, 99))
def test_grid_sample(data: Any, opset: int, way: str, padding: str, aligned: bool, seed: int) -> None:
    mode = data.draw(st.sampled_from(_MODES[opset]))
    axes = 2 if opset == 16 or mode == "cubic" else data.draw(st.integers(2, 3))
    least = 2 if padding == "reflection" and aligned else 1  # ONNX Runtime reads outside of the image for 1
    sizes = data.draw(st.lists(st.integers(least, 6), min_size=axes, max_size=axes))
    out = data.draw(st.lists(st.integers(1, 4), min_size=axes, max_size=axes))
    n, channels = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    x = np.random.default_rng(seed).standard_normal((n, channels, *sizes)).astype(np.float32)
    grid = _grid(seed, (n, *out, axes))
    feeds, constants = ({"x": x, "g": grid}, {}) if way != "constant" else ({"x": x}, {"g": grid})
    model = one_node("GridSample", feeds, constants=constants, operands=["x", "g"], opset=opset, mode=mode,
                     padding_mode=padding, align_corners=int(aligned))
    if way == "dynamic":
        model = dynamic(model, ["g"])
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "g_0"
    check(model, feeds)


@given(st.sampled_from([np.int8, np.uint8, np.int32, np.int64, np.uint16, np.float16, np.float64, np.bool_]),
       st.sampled_from(["zeros", "border", "reflection"]))
def test_nearest_moves_any_type(dtype: Any, padding: str) -> None:
    x, grid = values((1, 2, 3, 4)), _grid(1, (1, 5, 5, 2))
    plain = one_node("GridSample", {"x": x, "g": grid}, opset=20, mode="nearest", padding_mode=padding)
    want = run_onnx(plain, {"x": x, "g": grid})["y0"]
    if dtype is np.bool_:
        x, want = np.sign(x), np.sign(want)
    typed = {"x": x.astype(dtype), "g": grid}
    check(one_node("GridSample", typed, opset=20, mode="nearest", padding_mode=padding), typed,
          expected={"y0": want.astype(dtype)})


def test_an_infinite_element_stays_out_of_what_does_not_reach_it() -> None:
    x, grid = values((1, 1, 4, 4)), np.asarray([[[[-3, -3], [3, 3], [0.2, 0.1]]]], np.float32)
    x[0, 0, 0, 0] = x[0, 0, 3, 3] = np.inf
    for mode in ("linear", "cubic"):
        feeds = {"x": x, "g": grid}
        check(one_node("GridSample", feeds, opset=20, mode=mode), feeds)


def test_float16_is_computed_in_float32() -> None:
    feeds = {"x": values((1, 2, 3, 3), np.float16), "g": _grid(3, (1, 2, 2, 2))}
    wide = {"x": feeds["x"].astype(np.float32), "g": feeds["g"]}
    want = run_onnx(one_node("GridSample", wide, opset=20), wide)["y0"]
    check(one_node("GridSample", feeds, opset=20), feeds, expected={"y0": want.astype(np.float16)})


@pytest.mark.parametrize(("x", "mode", "error", "text"), [
    (values((1, 1, 2, 2, 2)), "cubic", UnsupportedAttribute, "cubic sampling of a volume"),
    (values((1, 1, 2, 2)), "area", UnsupportedAttribute, "unknown"),
    (values((1, 1, 2, 2), np.int32), "linear", UnsupportedType, "no defined rounding"),
])
def test_refused(x: Array, mode: str, error: Any, text: str) -> None:
    axes = x.ndim - 2
    refuses(error, text, "GridSample", {"x": x, "g": _grid(0, (1, *[2] * axes, axes))}, opset=20, mode=mode)


@given(st.integers(2, 3), st.integers(1, 3), st.booleans(), st.sampled_from([np.float32, np.float16]), st.data())
def test_affine_grid(axes: int, n: int, aligned: bool, dtype: Any, data: Any) -> None:
    sizes = data.draw(st.lists(st.integers(2, 5), min_size=axes, max_size=axes))
    theta = np.random.default_rng(n).standard_normal((n, axes, axes + 1)).astype(dtype)
    spread = [np.linspace(-1, 1, s) if aligned else (np.arange(s) * 2 + 1) / s - 1 for s in sizes]
    places = np.stack([*np.meshgrid(*spread, indexing="ij")[::-1], np.ones(sizes)], -1)
    want = np.einsum("...k,nak->n...a", places, theta.astype(np.float64)).astype(dtype)
    model = one_node("AffineGrid", {"t": theta}, constants={"s": ints(n, 1, *sizes)}, opset=20,
                     align_corners=int(aligned))
    check(model, {"t": theta}, expected={"y0": want}, rtol=1e-5 if dtype is np.float32 else 2e-3)
    feeds = {"t": theta, "s": ints(n, 1, *sizes)}  # known to the run time, but declared
    model = one_node("AffineGrid", feeds, opset=20, align_corners=int(aligned))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(
        "y0", onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), want.shape))
    check(model, feeds, expected={"y0": want}, rtol=1e-5 if dtype is np.float32 else 2e-3)


def test_the_size_of_a_grid_must_be_known() -> None:
    refuses(NeedsConstant, "operand 1", "AffineGrid", {"t": values((1, 2, 3)), "s": ints(1, 1, 2, 2)}, opset=20)
