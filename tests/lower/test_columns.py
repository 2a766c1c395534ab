"""Col2Im, Det and Unique against ONNX Runtime, and against numpy where it has no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from fidelite.errors import ContradictoryModel, NeedsConstant, UnsupportedAttribute
from tests.lower.drawing import Array, dynamic, ints, refuses, values
from tests.lower.support import check, one_node

_SMALL = st.integers(1, 3)


def _col2im(x: Array, image: list[int], block: list[int], strides: list[int], dilations: list[int], pads: list[int],
            counts: list[int]) -> Array:
    """By the definition. (ONNX Runtime is right for two axes; with others it misplaces what lies in the padding.)"""
    axes = len(image)
    columns = x.reshape(x.shape[0], -1, *block, *counts)
    result = np.zeros((*columns.shape[:2], *(i + pads[a] + pads[a + axes] for a, i in enumerate(image))), x.dtype)
    for element in np.ndindex(*block):
        for place in np.ndindex(*counts):
            at = tuple(e * d + p * s for e, d, p, s in zip(element, dilations, place, strides, strict=True))
            result[(slice(None), slice(None), *at)] += columns[(slice(None), slice(None), *element, *place)]
    return result[(..., *(slice(pads[a], pads[a] + i) for a, i in enumerate(image)))]


@given(st.data(), st.integers(1, 3), st.booleans())
def test_col2im(data: Any, axes: int, is_dynamic: bool) -> None:
    def several(items: st.SearchStrategy[int], count: int = axes) -> list[int]:
        return data.draw(st.lists(items, min_size=count, max_size=count))

    image, block, strides, dilations = several(st.integers(2, 6)), several(_SMALL), several(_SMALL), several(_SMALL)
    pads = several(st.integers(0, 2), 2 * axes)
    counts = [(i + pads[a] + pads[a + axes] - d * (k - 1) - 1) // s + 1 for a, (i, k, s, d) in enumerate(
        zip(image, block, strides, dilations, strict=True))]
    assume(min(counts) > 0)
    x = values((2, 3 * int(np.prod(block)), int(np.prod(counts))))
    model = one_node("Col2Im", {"x": x}, constants={"i": ints(*image), "b": ints(*block)}, opset=18, strides=strides,
                     dilations=dilations, pads=pads)
    if is_dynamic:
        model = dynamic(model, ["x"])
        for axis in (1, 2):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = x.shape[axis]
    want = {"y0": _col2im(x, image, block, strides, dilations, pads, counts)}
    check(model, {"x": x}, expected=None if axes == 2 else want)


def test_col2im_refused() -> None:
    x = {"x": values((1, 4, 5))}
    refuses(ContradictoryModel, "its operand has 5 places", "Col2Im", x, {"i": ints(3, 3), "b": ints(2, 2)})
    refuses(NeedsConstant, "image_shape", "Col2Im", {**x, "i": ints(3, 3), "b": ints(2, 2)})


@given(st.integers(1, 4), st.lists(_SMALL, max_size=2), st.sampled_from([11, 22]), st.booleans(), st.integers(0, 99))
def test_det(size: int, batch: list[int], opset: int, is_dynamic: bool, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((*batch, size, size)).astype(np.float32)
    model = one_node("Det", {"x": x}, opset=opset)
    if is_dynamic:
        model = dynamic(model, ["x"])
        for axis in (-1, -2):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    check(model, {"x": x}, expected={"y0": np.asarray(np.linalg.det(x.astype(np.float64)), np.float32)}, atol=1e-5)


def test_large_matrices_are_refused() -> None:
    refuses(UnsupportedAttribute, "5 x 5", "Det", {"x": values((5, 5))})


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.booleans(), st.sampled_from([None, 0]),
       st.sampled_from([np.float32, np.int64, np.int32, np.int8, np.uint8, np.uint16, np.uint32, np.float16, np.bool_]),
       st.integers(1, 4), st.sampled_from([11, 28]))
def test_unique(given: list[int], in_order: bool, axis: int | None, dtype: Any, outputs: int, opset: int) -> None:
    x = np.asarray(given).astype(dtype)
    found, first, places, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    if not in_order:
        order = np.argsort(first)
        found, first, counts, places = found[order], first[order], counts[order], np.argsort(order)[places]
    results = [found, *(np.asarray(a, np.int64) for a in (first, places, counts))][:outputs]
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    if axis is None and len(x) % 2 == 0:
        x = x.reshape(2, -1)
    model = one_node("Unique", {"x": x}, opset=opset, outputs=outputs, sorted=int(in_order), **attributes)
    check(model, {"x": x}, expected={f"y{i}": r for i, r in enumerate(results)})
