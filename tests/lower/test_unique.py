"""Unique elements and unique slices against ONNX Runtime and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.lower.elements import SEEDS, values
from tests.lower.support import Array, check, one_node

TYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def unique(x: Array, axis: int | None, in_order: bool) -> tuple[Array, Array, Array, Array]:
    """numpy's, in the order of first appearance where that is asked for."""
    found, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(-1)
    if not in_order:
        order = np.argsort(first)
        found, first, counts = np.take(found, order, 0 if axis is None else axis), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    return found, first, inverse, counts


@given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), st.sampled_from(TYPES), SEEDS,
       st.sampled_from([0, 1]))
def test_unique(data: st.DataObject, shape: tuple[int, ...], dtype: str, seed: int, in_order: int) -> None:
    """Few values, so that elements and slices come more than once."""
    x = np.round(values(shape, dtype, seed, 0 if dtype.startswith("u") else -1, 1)).astype(dtype)
    x = np.where(x == 0, np.zeros((), dtype), x)  # no -0, which numpy and ONNX Runtime tell apart from 0 in slices
    axis = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    attributes: dict[str, Any] = {"sorted": in_order} | ({} if axis is None else {"axis": axis})
    wanted = unique(x, axis, bool(in_order))
    check(one_node("Unique", {"x": x}, opset=11, outputs=4, **attributes), {"x": x},
          expected={f"y{i}": w if i == 0 else w.astype(np.int64) for i, w in enumerate(wanted)})


def test_large_numbers_stay_apart() -> None:
    """float32 would take them for one."""
    for x in (np.array([2**63 + 1, 2**63, 5, 2**63 + 1], np.uint64), np.array([0.1, 0.1 + 1e-12, 0.1, -7.0])):
        wanted = unique(x, None, True)
        check(one_node("Unique", {"x": x}, opset=11, outputs=4), {"x": x}, rtol=0, atol=0,
              expected={f"y{i}": w if i == 0 else w.astype(np.int64) for i, w in enumerate(wanted)})
