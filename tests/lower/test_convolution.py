"""Conv and ConvTranspose against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fidelite.errors import NeedsStaticShape
from tests.lower.dynamic import with_symbols
from tests.lower.support import Array, check, lowered, one_node, run_onnx

RNG = np.random.default_rng(0)


def values(*shape: int, dtype: str = "float32") -> Array:
    return RNG.normal(size=shape).astype(dtype)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    kernel = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if draw(st.booleans()):
        attributes["strides"] = [draw(st.integers(1, 3)) for _ in kernel]
    if draw(st.booleans()):
        attributes["dilations"] = [draw(st.integers(1, 2)) for _ in kernel]
    padding = draw(st.sampled_from(["", "pads", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if padding == "pads":
        attributes["pads"] = [draw(st.integers(0, 2)) for _ in kernel * 2]
    elif padding:
        attributes["auto_pad"] = padding
    if padding.startswith("SAME"):  # ONNX Runtime takes no dilations with it
        attributes.pop("dilations", None)
    return attributes


def reaches(window: dict[str, Any]) -> list[int]:
    kernel = window["kernel_shape"]
    return [(k - 1) * d + 1 for k, d in zip(kernel, window.get("dilations", [1] * len(kernel)), strict=True)]


@given(windows(), st.data(), st.sampled_from([1, 2, 3]), st.integers(1, 2), st.sampled_from([1, 2]),
       st.sampled_from(["", "constant", "run time"]), st.booleans(), st.sampled_from([7, 11, 22]))
def test_conv(window: dict[str, Any], data: st.DataObject, groups: int, inner: int, outer: int, bias: str,
              computed: bool, opset: int) -> None:
    sizes = [r + data.draw(st.integers(0, 4)) for r in reaches(window)]
    x, w = values(2, groups * inner, *sizes), values(groups * outer, inner, *window["kernel_shape"])
    feeds, constants = {"x": x} | ({"w": w} if computed else {}), {} if computed else {"w": w}
    if bias:
        (constants if bias == "constant" else feeds)["b"] = values(groups * outer)
    check(one_node("Conv", feeds, opset=opset, constants=constants, operands=["x", "w", *(["b"] if bias else [])],
                   group=groups, **window), feeds, rtol=1e-4)


@given(windows(), st.data(), st.sampled_from([1, 2, 4]), st.integers(1, 2), st.sampled_from([1, 2]),
       st.sampled_from(["", "constant", "run time"]), st.booleans(), st.sampled_from([7, 11, 22]))
def test_conv_transpose(window: dict[str, Any], data: st.DataObject, groups: int, inner: int, outer: int, bias: str,
                        computed: bool, opset: int) -> None:
    kernel = window["kernel_shape"]
    strides = window.get("strides", [1] * len(kernel))
    if data.draw(st.booleans()):
        window["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in strides]
    sizes = [data.draw(st.integers(2, 5)) for _ in kernel]
    full = [(n - 1) * s + r for n, s, r in zip(sizes, strides, reaches(window), strict=True)]
    if "pads" in window:
        pads = window["pads"]
        assume(all(f > a + c for f, a, c in zip(full, pads[:len(kernel)], pads[len(kernel):], strict=True)))
    if window.get("auto_pad", "").startswith("SAME"):
        assume(all(r >= s for r, s in zip(reaches(window), strides, strict=True)))
        window.pop("output_padding", None)
    elif "pads" not in window and data.draw(st.booleans()):
        window.pop("auto_pad", None)
        # ONNX's shape inference fails, and leaves half a shape, where the result is smaller than the input.
        window["output_shape"] = [f - data.draw(st.integers(0, max(min(2, f - n), 0)))
                                  for f, n in zip(full, sizes, strict=True)]
        window.pop("output_padding", None)
    x, w = values(2, groups * inner, *sizes), values(groups * inner, outer, *kernel)
    feeds, constants = {"x": x} | ({"w": w} if computed else {}), {} if computed else {"w": w}
    if bias:
        (constants if bias == "constant" else feeds)["b"] = values(groups * outer)
    check(one_node("ConvTranspose", feeds, opset=opset, constants=constants,
                   operands=["x", "w", *(["b"] if bias else [])], group=groups, **window), feeds, rtol=1e-4)


@pytest.mark.parametrize(("kernel", "pads", "more", "operators"), [
    ([4, 4], [1, 1, 1, 1], [0, 0], ["TRANSPOSE", "TRANSPOSE_CONV", "TRANSPOSE"]),
    ([2, 2], [0, 0, 0, 0], [0, 0], ["TRANSPOSE", "TRANSPOSE_CONV", "TRANSPOSE"]),
    ([3, 3], [1, 1, 1, 1], [1, 1], ["TRANSPOSE", "TRANSPOSE_CONV", "SLICE", "TRANSPOSE"]),
])
def test_common_upsamplings(kernel: list[int], pads: list[int], more: list[int], operators: list[str]) -> None:
    x = values(1, 3, 5, 4)
    model = one_node("ConvTranspose", {"x": x}, opset=18, constants={"w": values(3, 2, *kernel), "b": values(2)},
                     kernel_shape=kernel, strides=[2, 2], pads=pads, output_padding=more)
    assert [o.op for o in check(model, {"x": x}).main.operators] == operators


@given(st.sampled_from(["Conv", "ConvTranspose"]), st.sampled_from([1, 2]), st.integers(0, 1), st.integers(1, 2),
       st.sets(st.sampled_from([0, 2, 3]), min_size=1))
def test_sizes_that_only_the_run_time_knows(op: str, stride: int, pad: int, dilation: int, axes: set[int]) -> None:
    x = values(2, 4, 7, 6)
    model = one_node(op, {"x": x}, opset=18, constants={"w": values(4, 4, 3, 3)}, strides=[stride] * 2,
                     pads=[pad] * 4, dilations=[dilation] * 2)
    check(with_symbols(model, {"x": sorted(axes)}), {"x": x}, rtol=1e-4)


def test_four_spatial_dimensions() -> None:
    """ONNX Runtime has no kernel for them: the trailing axis, of size 1, changes nothing."""
    x, w = values(1, 2, 3, 4, 3), values(2, 2, 2, 2, 2)
    for op in ("Conv", "ConvTranspose"):
        want = run_onnx(one_node(op, {"x": x}, opset=18, constants={"w": w}), {"x": x})["y0"]
        more = {"x": x[..., None]}
        check(one_node(op, more, opset=18, constants={"w": w[..., None]}), more, expected={"y0": want[..., None]},
              rtol=1e-4)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_float16(op: str) -> None:
    x, w = values(1, 2, 5, 5, dtype="float16"), values(2, 2, 3, 3, dtype="float16")
    check(one_node(op, {"x": x}, opset=18, constants={"w": w}), {"x": x}, rtol=1e-2)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_an_empty_batch(op: str) -> None:
    x = values(0, 2, 5, 5)
    check(one_node(op, {"x": x}, opset=18, constants={"w": values(2, 2, 3, 3)}), {"x": x})


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_refused(op: str) -> None:
    x, w = values(1, 2, 5, 5), values(2, 2, 3, 3)
    with pytest.raises(NeedsStaticShape):
        lowered(with_symbols(one_node(op, {"x": x, "w": w}, opset=18), {"x": [2]}))
    model = one_node(op, {"x": x}, opset=18, constants={"w": w}, auto_pad="SAME_LOWER", strides=[2, 2])
    if op == "Conv":
        with pytest.raises(NeedsStaticShape):
            lowered(with_symbols(model, {"x": [2]}))
