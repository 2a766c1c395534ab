"""Pools against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fidelite.errors import FideliteError, NeedsStaticShape, UnsupportedAttribute, UnsupportedType
from tests.lower.dynamic import with_symbols
from tests.lower.support import Array, check, lowered, one_node, run_onnx


def values(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    if dtype in ("int8", "uint8"):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def _starts_inside(size: int, reach: int, stride: int, before: int, after: int) -> bool:
    """ONNX leaves out a last window that starts in the padding, and its own shape inference does not."""
    return -(-(size + before + after - reach) // stride) * stride < size + before


@st.composite
def pools(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    """An input shape, and attributes of a window that ONNX Runtime takes."""
    rank = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    auto_pad: str = draw(st.sampled_from(["", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if draw(st.booleans()):  # ONNX Runtime refuses SAME where the stride is larger than the kernel
        attributes["strides"] = [draw(st.integers(1, k if auto_pad.startswith("SAME") else 3)) for k in kernel]
    if not auto_pad.startswith("SAME") and draw(st.booleans()):
        attributes["dilations"] = [draw(st.integers(1, 2)) for _ in kernel]
    if auto_pad:
        attributes["auto_pad"] = auto_pad
    elif draw(st.booleans()):
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    if draw(st.booleans()):
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    attributes.setdefault("strides", [1] * rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, attributes.get("dilations", [1] * rank), strict=True)]
    sizes = [r + draw(st.integers(0, 6)) for r in reach]
    if attributes.get("ceil_mode"):
        pads = attributes.get("pads", [0] * 2 * rank)
        assume(all(_starts_inside(*window) for window in zip(
            sizes, reach, attributes["strides"], pads[:rank], pads[rank:], strict=True)))
    return (draw(st.sampled_from([0, 1, 2])), draw(st.integers(1, 3)), *sizes), attributes


@given(pools(), st.sampled_from(["float32", "float16", "int8", "uint8"]),
       st.sampled_from([10, 11, 12, 22]), st.integers(0, 9))
def test_max_pool(pool: tuple[tuple[int, ...], dict[str, Any]], dtype: str, opset: int, seed: int) -> None:
    shape, attributes = pool
    assume(opset >= 12 or not dtype.endswith("int8"))
    x = values(shape, dtype, seed)
    check(one_node("MaxPool", {"x": x}, opset=opset, **attributes), {"x": x})


@given(pools(), st.integers(0, 1), st.sampled_from(["float32", "float16", "int8", "uint8"]),
       st.integers(0, 9))
def test_max_pool_indices(pool: tuple[tuple[int, ...], dict[str, Any]], storage_order: int, dtype: str,
                          seed: int) -> None:
    shape, attributes = pool
    x = values(shape, dtype, seed)
    if dtype == "float32":
        x = np.round(x)  # ties
    model = one_node("MaxPool", {"x": x}, opset=12, outputs=2, storage_order=storage_order, **attributes)
    check(model, {"x": x})


@given(pools(), st.integers(0, 1), st.sampled_from(["float32", "float16"]),
       st.sampled_from([7, 10, 11, 19, 22]), st.integers(0, 9))
def test_average_pool(pool: tuple[tuple[int, ...], dict[str, Any]], include: int, dtype: str, opset: int,
                      seed: int) -> None:
    shape, attributes = pool
    if opset < 19:
        attributes.pop("dilations", None)
    if opset < 10:
        attributes.pop("ceil_mode", None)
    x = values(shape, dtype, seed)
    check(one_node("AveragePool", {"x": x}, opset=opset, count_include_pad=include, **attributes), {"x": x},
          rtol=2e-3 if dtype == "float16" else 1e-5)


@given(pools(), st.integers(1, 4), st.sampled_from([2, 11, 18, 22]), st.integers(0, 9))
def test_lp_pool(pool: tuple[tuple[int, ...], dict[str, Any]], p: int, opset: int, seed: int) -> None:
    shape, attributes = pool
    if opset < 18:
        attributes.pop("dilations", None)
        attributes.pop("ceil_mode", None)
    x = values(shape, "float32", seed)
    check(one_node("LpPool", {"x": x}, opset=max(opset, 7), p=p, **attributes), {"x": x}, rtol=1e-4)


@given(st.sampled_from(["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]), st.integers(1, 3),
       st.lists(st.integers(1, 4), min_size=1, max_size=3), st.sampled_from([7, 22]), st.integers(0, 2))
def test_global_pool(op: str, p: int, sizes: list[int], opset: int, batch: int) -> None:
    assume(op != "GlobalLpPool" or opset < 22)  # ONNX Runtime has no kernel for it
    x = values((batch, 3, *sizes), "float32", 1)
    extra: dict[str, Any] = {"p": p} if op == "GlobalLpPool" else {}
    check(one_node(op, {"x": x}, opset=opset, **extra), {"x": x})


@given(st.sampled_from(["MaxPool", "AveragePool", "LpPool"]), pools(),
       st.sets(st.integers(0, 4)), st.integers(0, 1))
def test_sizes_that_only_the_run_time_knows(op: str, pool: tuple[tuple[int, ...], dict[str, Any]], axes: set[int],
                                            include: int) -> None:
    shape, attributes = pool
    assume(shape[0])
    x = values(shape, "float32", 1)
    extra: dict[str, Any] = {"count_include_pad": include} if op == "AveragePool" else {}
    model = with_symbols(one_node(op, {"x": x}, opset=22, **attributes, **extra),
                         {"x": sorted(a for a in axes if a < x.ndim)})
    try:
        lowered(model)
    except NeedsStaticShape:
        assume(False)
    check(model, {"x": x}, rtol=1e-4)


def test_dynamic_pools_that_need_no_static_shape() -> None:
    x = values((2, 3, 7, 9), "float32", 1)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("MaxPool", {"pads": [1, 1, 1, 1]}), ("MaxPool", {"auto_pad": "SAME_UPPER"}), ("MaxPool", {"ceil_mode": 1}),
        ("AveragePool", {"pads": [1, 1, 1, 1]}), ("AveragePool", {"auto_pad": "SAME_UPPER"}),
        ("AveragePool", {"pads": [1, 0, 1, 1], "count_include_pad": 1, "ceil_mode": 1})]
    for op, attributes in cases:
        model = one_node(op, {"x": x}, opset=22, kernel_shape=[3, 3], strides=[2, 2], **attributes)
        check(with_symbols(model, {"x": [0, 2, 3]}), {"x": x})


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_the_whole_map_is_a_reduction(op: str) -> None:
    x = values((1, 2, 3, 4), "float32", 0)
    result = check(one_node(op, {"x": x}, opset=22, kernel_shape=[3, 4]), {"x": x})
    if op != "LpPool":
        assert [o.op for o in result.main.operators] == ["MEAN" if op == "AveragePool" else "REDUCE_MAX"]


def test_padding_that_litert_knows_costs_no_operator() -> None:
    x = values((1, 2, 7, 7), "float32", 0)
    for op in ("MaxPool", "AveragePool"):
        result = check(one_node(op, {"x": x}, opset=22, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
                       {"x": x})
        assert [o.op for o in result.main.operators].count("TRANSPOSE") == 2
        assert len(result.main.operators) == 3


def test_float64_is_narrowed() -> None:
    x = values((1, 2, 7, 7), "float64", 0)
    check(one_node("MaxPool", {"x": x}, opset=12, kernel_shape=[2, 2]), {"x": x})
    with pytest.raises(UnsupportedType):
        lowered(one_node("MaxPool", {"x": x}, opset=12, outputs=2, kernel_shape=[2, 2]))


@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.sampled_from([9, 11, 22]))
def test_max_unpool(rank: int, kernel: int, stride: int, pad: int, opset: int) -> None:
    assume(pad < kernel)
    x = values((2, 3, *[6] * rank), "float32", 0)
    window: dict[str, Any] = {"kernel_shape": [kernel] * rank, "strides": [stride] * rank, "pads": [pad] * 2 * rank}
    pooled = run_onnx(one_node("MaxPool", {"x": x}, opset=12, outputs=2, **window), {"x": x})
    feeds = {"x": pooled["y0"], "i": pooled["y1"]}
    sizes = [(n - 1) * stride + kernel - 2 * pad for n in feeds["x"].shape[2:]]
    assume(sizes == [6] * rank)  # else the indices mean another shape
    check(one_node("MaxUnpool", feeds, opset=opset, **window), feeds)
    with_shape = one_node("MaxUnpool", feeds, opset=opset, constants={"s": np.asarray([2, 3, *[7] * rank])}, **window)
    with pytest.raises(UnsupportedAttribute):
        lowered(with_shape)


@pytest.mark.parametrize(("op", "attributes", "error"), [
    ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "dilations": [2, 1]}, UnsupportedAttribute),
    ("AveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER", "dilations": [2, 1]}, UnsupportedAttribute),
    ("LpPool", {"kernel_shape": [2, 2], "p": 0}, UnsupportedAttribute),
    ("MaxPool", {"kernel_shape": [9, 9]}, FideliteError),
])
def test_refused(op: str, attributes: dict[str, Any], error: type[FideliteError]) -> None:
    with pytest.raises(error):
        lowered(one_node(op, {"x": values((1, 2, 5, 5), "float32", 0)}, opset=22, **attributes))


def test_more_than_three_axes() -> None:
    with pytest.raises(UnsupportedAttribute):
        lowered(one_node("MaxPool", {"x": values((1, 1, 2, 2, 2, 2), "float32", 0)}, opset=22,
                         kernel_shape=[1, 1, 1, 2]))
