"""Resize and Upsample against ONNX Runtime, and LiteRT's resize kernels against what is believed of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fidelite.errors import FideliteError, NeedsConstant, NeedsStaticShape, UnsupportedAttribute, UnsupportedType
from fidelite.lower.resampling import Kernel, Rule, kernels_for, kernels_for_growth, taps_of
from tests.lower.dynamic import with_symbols
from tests.lower.support import Array, check, lowered, one_node

MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric",
         "tf_crop_and_resize"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def values(shape: tuple[int, ...], dtype: str = "float32") -> Array:
    rng = np.random.default_rng(len(shape))
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def model_of(x: Array, opset: int, *, scales: list[float] | None = None, sizes: list[int] | None = None,
             roi: list[float] | None = None, **attributes: Any) -> Any:
    given = {"roi": None if roi is None else np.asarray(roi, np.float32),
             "scales": None if scales is None else np.asarray(scales, np.float32),
             "sizes": None if sizes is None else np.asarray(sizes, np.int64)}
    if opset < 13:  # there all operands must be given
        given |= {k: np.zeros(0, np.float32) for k in ("roi", "scales") if given[k] is None}
    constants = {k: v for k, v in given.items() if v is not None}
    operands = ["x", *(k if k in constants else "" for k in given)]
    return one_node("Resize", {"x": x}, opset=opset, constants=constants, operands=operands, **attributes)


def operators(model: Any) -> list[str]:
    return [o.op for o in model.main.operators]


def check_unless_unclear(model: Any, x: Array) -> None:
    try:
        lowered(model)
    except UnsupportedAttribute as error:
        assume("differs from runtime to runtime" not in error.reason)
        assume("and the model declares" not in error.reason)  # ONNX's shape inference rounds otherwise than its runtime
    check(model, {"x": x}, rtol=1e-4)


@st.composite
def targets(draw: st.DrawFn, shape: tuple[int, ...]) -> dict[str, Any]:
    """Sizes or scales for the last two axes of four."""
    if draw(st.booleans()):
        return {"sizes": [*shape[:2], draw(st.integers(1, 9)), draw(st.integers(1, 9))]}
    factor = st.sampled_from([0.5, 0.6, 0.75, 1.0, 1.3, 1.5, 2.0, 3.0])
    return {"scales": [1.0, 1.0, draw(factor), draw(factor)]}


@given(st.data(), st.sampled_from(["nearest", "linear", "cubic"]), st.sampled_from(MODES),
       st.sampled_from(ROUNDINGS), st.integers(0, 1), st.sampled_from([11, 13, 18, 19]))
def test_resize(data: st.DataObject, mode: str, coordinate: str, rounding: str, exclude: int, opset: int) -> None:
    shape = (data.draw(st.integers(1, 2)), 3, data.draw(st.integers(2, 7)), data.draw(st.integers(2, 7)))
    extra: dict[str, Any] = {"coordinate_transformation_mode": coordinate, "mode": mode}
    target = data.draw(targets(shape))
    if coordinate == "tf_crop_and_resize":
        a, c = (data.draw(st.sampled_from([-0.25, 0.0, 0.25])) for _ in range(2))
        b, d = (data.draw(st.sampled_from([0.75, 1.0, 1.25])) for _ in range(2))
        target = {"sizes": [*shape[:2], shape[2] + 1, 2 * shape[3]]}
        extra |= {"roi": [0, 0, a, c, 1, 1, b, d], "extrapolation_value": 7.5}
    if coordinate == "half_pixel_symmetric":
        opset = 19
    if mode == "nearest":
        extra["nearest_mode"] = rounding
    if mode == "cubic":
        extra |= {"exclude_outside": exclude, "cubic_coeff_a": data.draw(st.sampled_from([-0.75, -0.5]))}
    check_unless_unclear(model_of(values(shape), opset, **target, **extra), values(shape))


@given(st.data(), st.sampled_from(["linear", "cubic"]), st.sampled_from(MODES[:-1]), st.integers(0, 1))
def test_antialias(data: st.DataObject, mode: str, coordinate: str, exclude: int) -> None:
    shape = (1, 2, data.draw(st.integers(2, 12)), data.draw(st.integers(2, 12)))
    model = model_of(values(shape), 19, mode=mode, antialias=1, coordinate_transformation_mode=coordinate,
                     exclude_outside=exclude, **data.draw(targets(shape)))
    check_unless_unclear(model, values(shape))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 7)), min_size=1, max_size=5),
       st.sampled_from(MODES[:-1]), st.sampled_from(ROUNDINGS), st.sampled_from(["float32", "int8", "uint8", "int32"]))
def test_nearest_of_any_rank(pairs: list[tuple[int, int]], coordinate: str, rounding: str, dtype: str) -> None:
    x = values(tuple(p[0] for p in pairs), dtype)
    check(model_of(x, 19, sizes=[p[1] for p in pairs], mode="nearest", nearest_mode=rounding,
                   coordinate_transformation_mode=coordinate), {"x": x})


@given(st.lists(st.tuples(st.integers(2, 4), st.integers(1, 7)), min_size=2, max_size=3), st.sampled_from(MODES[:-1]),
       st.booleans())
def test_linear_of_two_and_three_axes(pairs: list[tuple[int, int]], coordinate: str, lead: bool) -> None:
    """ONNX Runtime interpolates the last two or three axes."""
    x = values(((2, 3) if lead else ()) + tuple(p[0] for p in pairs))
    check(model_of(x, 19, sizes=[*([2, 3] if lead else []), *(p[1] for p in pairs)], mode="linear",
                   coordinate_transformation_mode=coordinate), {"x": x}, rtol=1e-4)


@given(st.sampled_from(["nearest", "linear"]), st.sampled_from([7, 8, 9, 10]), st.sampled_from([1.0, 1.5, 2.0, 2.7]),
       st.integers(1, 6))
def test_older_schemas(mode: str, opset: int, scale: float, size: int) -> None:
    x = values((1, 2, size, 5))
    scales = [1.0, 1.0, scale, 2.0]
    if opset < 9:
        model = one_node("Upsample", {"x": x}, opset=opset, mode=mode, scales=scales)
    else:
        model = one_node("Upsample" if opset == 9 else "Resize", {"x": x}, opset=opset, mode=mode,
                         constants={"s": np.asarray(scales, np.float32)})
    check(model, {"x": x})


@given(st.sampled_from([0.3, 0.5, 0.6, 0.9]), st.integers(4, 9))
def test_nearest_shrinks_upward_in_opset_10(scale: float, size: int) -> None:
    x = values((1, 1, 4, size))
    check(one_node("Resize", {"x": x}, opset=10, mode="nearest",
                   constants={"s": np.asarray([1, 1, 1, scale], np.float32)}), {"x": x})


@given(st.sampled_from(["not_larger", "not_smaller"]), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_aspect_ratio(policy: str, height: int, width: int, linear: bool) -> None:
    x = values((1, 2, 4, 6))
    check(model_of(x, 19, sizes=[height, width], axes=[2, 3], keep_aspect_ratio_policy=policy,
                   mode="linear" if linear else "nearest"), {"x": x})


@pytest.mark.parametrize("dtype", ["bool", "float64", "int64", "uint64", "uint16"])
def test_nearest_of_types_that_onnx_runtime_lacks(dtype: str) -> None:
    x = values((1, 2, 3, 2), "int32").astype(dtype)
    check(model_of(x, 19, scales=[1, 1, 2, 3], mode="nearest", coordinate_transformation_mode="asymmetric",
                   nearest_mode="floor"), {"x": x}, expected={"y0": x.repeat(2, 2).repeat(3, 3)})


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("scale", [2.0, 4.0, 0.5])
def test_linear_of_small_integers_truncates(dtype: str, scale: float) -> None:
    x = np.random.default_rng(0).integers(-128, 255, (1, 3, 6, 8)).astype(dtype)
    check(model_of(x, 19, scales=[1, 1, scale, scale], mode="linear"), {"x": x})


@pytest.mark.parametrize("coordinate", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"])
def test_bilinear_is_one_kernel(coordinate: str) -> None:
    x = values((1, 3, 4, 5))
    result = check(model_of(x, 19, sizes=[1, 3, 7, 12], mode="linear", coordinate_transformation_mode=coordinate),
                   {"x": x})
    assert operators(result) == ["TRANSPOSE", "RESIZE_BILINEAR", "TRANSPOSE"]


def test_channels_last_input_needs_no_transpose() -> None:
    x = values((1, 4, 5, 3))
    assert operators(check(model_of(x, 19, scales=[1, 2, 2, 1], mode="linear"), {"x": x})) == ["RESIZE_BILINEAR"]


def test_a_single_pixel_is_broadcast() -> None:
    x = values((1, 3, 1, 1))
    for mode in ("nearest", "linear", "cubic"):
        result = check(model_of(x, 19, sizes=[1, 3, 7, 12], mode=mode), {"x": x})
        assert operators(result) == ["BROADCAST_TO"]


def test_sizes_that_only_the_run_time_knows() -> None:
    x = values((2, 3, 4, 5))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"mode": "linear", "scales": [1, 1, 2, 3]}, "half_pixel"),
        ({"mode": "linear", "scales": [1, 1, 2, 2]}, "pytorch_half_pixel"),
        ({"mode": "linear", "scales": [1, 1, 2, 2]}, "align_corners"),
        ({"mode": "nearest", "nearest_mode": "floor", "scales": [1, 1, 2, 2]}, "asymmetric"),
        ({"mode": "nearest", "scales": [1, 1, 2, 3]}, "half_pixel"),
        ({"mode": "linear", "sizes": [7, 9], "axes": [2, 3]}, "half_pixel"),
        ({"mode": "linear", "sizes": [7, 9], "axes": [2, 3]}, "pytorch_half_pixel")]
    for target, coordinate in cases:
        model = model_of(x, 19, coordinate_transformation_mode=coordinate, **target)
        check(with_symbols(model, {"x": [0, 2, 3]}), {"x": x})
    refused: list[dict[str, Any]] = [
        {"mode": "cubic", "scales": [1, 1, 2, 2]}, {"mode": "nearest", "sizes": [7, 9], "axes": [2, 3]},
        {"mode": "linear", "scales": [1, 1, 0.5, 0.5]}]
    for target in refused:
        with pytest.raises(NeedsStaticShape):
            lowered(with_symbols(model_of(x, 19, **target), {"x": [2, 3]}))


@pytest.mark.parametrize(("dtype", "attributes", "error"), [
    ("int32", {"mode": "linear", "scales": [1, 1, 2, 2]}, UnsupportedType),
    ("uint8", {"mode": "linear", "scales": [1, 1, 3, 3]}, UnsupportedType),
    ("uint8", {"mode": "cubic", "scales": [1, 1, 2, 2]}, UnsupportedType),
    ("float32", {"mode": "nearest", "antialias": 1, "scales": [1, 1, 2, 2]}, UnsupportedAttribute),
    ("float32", {"mode": "linear", "coordinate_transformation_mode": "align_corners", "scales": [1, 1, 0.6, 1]},
     UnsupportedAttribute),
    ("float32", {"mode": "linear", "coordinate_transformation_mode": "other", "scales": [1, 1, 2, 2]},
     UnsupportedAttribute),
    ("float32", {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "scales": [1, 1, 1, 2],
                 "roi": [0, 0, 0, 0, 1, 1, 0.5, 1]}, UnsupportedAttribute),
    ("float32", {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "scales": [1, 1, 2, 2],
                 "roi": [0, 0, 0, 0, 1, 1, 0.5, 1]}, UnsupportedAttribute),
])
def test_refused(dtype: str, attributes: dict[str, Any], error: type[FideliteError]) -> None:
    with pytest.raises(error):
        lowered(model_of(values((1, 2, 4, 4), dtype), 19, **attributes))


@given(st.sampled_from(["nearest", "linear", "cubic"]), st.integers(1, 9), st.integers(1, 9))
def test_sizes_of_the_run_time(mode: str, height: int, width: int) -> None:
    """Only where the model declares what comes of them."""
    x, sizes = values((1, 2, 4, 5)), np.asarray([1, 2, height, width])
    model = one_node("Resize", {"x": x, "sizes": sizes}, opset=19, operands=["x", "", "", "sizes"], mode=mode)
    with pytest.raises(NeedsConstant):
        lowered(model)
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, sizes.tolist()))
    if (height, width) != (4, 5):
        check(model, {"x": x, "sizes": sizes}, rtol=1e-4)


# LiteRT's kernels: what `kernels_for` says of them holds.


@given(st.sampled_from(["nearest", "linear"]), st.sampled_from(MODES[:4]), st.sampled_from(ROUNDINGS),
       st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_any_pair_of_sizes(mode: str, coordinate: str, rounding: str, h: int, w: int, to_h: int, to_w: int,
                           small: bool) -> None:
    x = values((1, 2, h, w), "uint8" if small and mode == "nearest" else "float32")
    check(model_of(x, 19, sizes=[1, 2, to_h, to_w], mode=mode, nearest_mode=rounding,
                   coordinate_transformation_mode=coordinate), {"x": x}, rtol=1e-4)


@pytest.mark.parametrize(("size", "out", "exact", "fixed"), [
    (2, 1000, True, False), (129, 2940, True, False), (2, 82, False, True), (6, 74, False, True)])
def test_plain_nearest_of_one_byte_counts_in_fixed_point(size: int, out: int, exact: bool, fixed: bool) -> None:
    """For wider types it computes in float32, and is off by one at other sizes."""
    rule = Rule("nearest", "asymmetric", "floor")
    taps = taps_of(rule, size, out, np.float32(out) / np.float32(size))
    assert (Kernel.PLAIN in kernels_for(rule, taps)) == exact
    assert (Kernel.PLAIN in kernels_for(replace(rule, fixed_point=True), taps)) == fixed
    for dtype in ("uint8", "int8", "int32", "float32"):
        x = np.arange(size).astype(dtype).reshape(1, 1, 1, -1)
        check(model_of(x, 19, sizes=[1, 1, 1, out], mode="nearest", nearest_mode="floor",
                       coordinate_transformation_mode="asymmetric"), {"x": x})


def test_half_pixel_nearest_at_ties() -> None:
    """LiteRT rounds ties up, ONNX's default down; they differ only where a coordinate is a tie."""
    up, down = Rule("nearest", "half_pixel", "round_prefer_ceil"), Rule("nearest", "half_pixel")
    half = np.float32(0.5)
    assert Kernel.HALF_PIXEL in kernels_for(up, taps_of(up, 6, 3, half))
    assert Kernel.HALF_PIXEL not in kernels_for(down, taps_of(down, 6, 3, half))
    assert all(kernels_for_growth(down, factor) for factor in range(1, 17))
