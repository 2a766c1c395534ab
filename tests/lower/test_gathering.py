"""Gather and its kin, OneHot, Compress and NonZero against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import ContradictoryModel
from tests.lower.drawing import TYPES, Case, dtypes, dynamic, ints, refuses, shape, values, ways
from tests.lower.support import check, one_node, run_onnx

_INDEX_TYPES = st.sampled_from([np.int32, np.int64])


def _indices(draw: Any, sizes: list[int], size: int, dtype: Any) -> np.ndarray[Any, Any]:
    """Indices into an axis of `size`, from both ends."""
    count = int(np.prod(sizes, dtype=np.int64))
    drawn = draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count))
    return np.asarray(drawn, dtype).reshape(sizes)


@given(shape(1, 4), shape(0, 3, least=0, most=3), st.data(), dtypes, ways, _INDEX_TYPES)
def test_gather(given: list[int], wanted: list[int], data: Any, dtype: Any, way: str, kind: Any) -> None:
    axis = data.draw(st.integers(0, len(given) - 1))
    indices = _indices(data.draw, wanted, given[axis], kind)
    opset = data.draw(st.sampled_from([11, 13]))
    Case("Gather", {"x": values(given)}, {"i": indices}, opset=opset,
         attributes={"axis": axis - len(given) if data.draw(st.booleans()) else axis}).check(dtype, way)


@given(st.integers(1, 6), st.data(), dtypes, st.booleans())
def test_gather_of_neighbours_is_a_slice(size: int, data: Any, dtype: Any, is_dynamic: bool) -> None:
    first = data.draw(st.integers(0, size - 1))
    row = np.arange(first, data.draw(st.integers(first + 1, size))) - (size if data.draw(st.booleans()) else 0)
    case = Case("Gather", {"x": values([2, size])}, {"i": row if data.draw(st.booleans()) else row[0]}, opset=13,
                attributes={"axis": 1})
    model = case.check(dtype, "dynamic" if is_dynamic else "constant")
    assert "GATHER" not in [o.op for o in model.main.operators]


@given(shape(1, 4), st.data(), dtypes, ways, _INDEX_TYPES, st.sampled_from([11, 13]))
def test_gather_elements(given: list[int], data: Any, dtype: Any, way: str, kind: Any, opset: int) -> None:
    axis = data.draw(st.integers(0, len(given) - 1))
    same = data.draw(st.booleans())
    wanted = [data.draw(st.integers(1, 4)) if a == axis else d if same else data.draw(st.integers(1, d))
              for a, d in enumerate(given)]
    indices = _indices(data.draw, wanted, given[axis], kind)
    Case("GatherElements", {"x": values(given)}, {"i": indices}, opset=opset,
         attributes={"axis": axis - len(given) if data.draw(st.booleans()) else axis}).check(dtype, way)


@given(shape(1, 4), st.data(), dtypes, ways)
def test_gather_nd(given: list[int], data: Any, dtype: Any, way: str) -> None:
    opset = data.draw(st.sampled_from([11, 12, 13]))
    batch = data.draw(st.integers(0, len(given) - 1)) if opset > 11 else 0
    depth = data.draw(st.integers(1, len(given) - batch))
    wanted = given[:batch] + data.draw(shape(0, 2, most=3))
    indices = np.stack([_indices(data.draw, wanted, given[batch + k], np.int64) for k in range(depth)], -1)
    attributes = {"batch_dims": batch} if opset > 11 else {}
    Case("GatherND", {"x": values(given)}, {"i": indices}, opset=opset, attributes=attributes).check(dtype, way)


@given(shape(1, 3, most=3), st.data(), st.sampled_from(TYPES), st.sampled_from([9, 11]), ways)
def test_one_hot(given: list[int], data: Any, dtype: Any, opset: int, way: str) -> None:
    depth = data.draw(st.integers(1, 5))
    axis = data.draw(st.integers(-len(given) - 1, len(given))) if opset == 11 else -1
    indices = _indices(data.draw, given, depth + 2, np.int64)
    # ONNX Runtime has few kernels: the values are looked up in what it says of int64.
    asked = one_node("OneHot", {"i": indices}, constants={"d": np.asarray(depth), "v": ints(0, 1)}, opset=opset,
                     axis=axis)
    hot = run_onnx(asked, {"i": indices})["y0"]
    pair = np.asarray([0, 1] if dtype is np.bool_ else [3, 5]).astype(dtype)
    params = {"d": np.asarray([depth]), "v": pair}
    feeds = {"i": indices} | (params if way == "run time" else {})
    model = one_node("OneHot", feeds, constants={} if way == "run time" else params, operands=["i", "d", "v"],
                     opset=opset, axis=axis)
    check(dynamic(model, ["i"]) if way == "dynamic" else model, feeds, expected={"y0": pair[hot]})


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int16, np.uint16,
                                   np.int32, np.uint32, np.uint64])
def test_one_hot_of_other_index_types(dtype: Any) -> None:
    large = np.asarray([0, 2, 5, 2**64 - 1 if dtype is np.uint64 else 3], dtype)
    want = (np.asarray([0, 2, 5, 3])[:, None] == np.arange(3)).astype(np.float32)
    model = one_node("OneHot", {"i": large}, constants={"d": np.asarray(3), "v": np.asarray([0, 1], np.float32)},
                     opset=11)
    check(model, {"i": large}, expected={"y0": want})


def test_one_hot_truncates_floats() -> None:
    feeds = {"i": np.asarray([0.9, -1.5, 2.2, -3.7], np.float32), "d": np.asarray(3, np.float32),
             "v": np.asarray([0, 1], np.float32)}
    hot = np.asarray([0, 2, 2, 0])
    check(one_node("OneHot", feeds, opset=11), feeds,
          expected={"y0": (hot[:, None] == np.arange(3)).astype(np.float32)})


@given(shape(1, 3), st.data(), dtypes, ways, st.sampled_from([9, 11]))
def test_compress(given: list[int], data: Any, dtype: Any, way: str, opset: int) -> None:
    axis = data.draw(st.none() | st.integers(0, len(given) - 1))
    size = int(np.prod(given)) if axis is None else given[axis]
    chosen = np.asarray(data.draw(st.lists(st.booleans(), min_size=1, max_size=size)))
    Case("Compress", {"x": values(given)}, {"c": chosen}, opset=opset,
         attributes={} if axis is None else {"axis": axis}).check(dtype, way)


@given(shape(1, 4, least=0), dtypes, st.sampled_from([9, 13]), st.booleans())
def test_non_zero(given: list[int], dtype: Any, opset: int, is_dynamic: bool) -> None:
    x = {"x": (values(given) % 3).astype(dtype)}
    model = one_node("NonZero", x, opset=opset)
    want = np.stack(np.nonzero(np.atleast_1d(x["x"]))).astype(np.int64)
    check(dynamic(model, ["x"]) if is_dynamic and 0 not in given else model, x, expected={"y0": want})


def test_a_nan_is_not_zero() -> None:
    x = {"x": np.asarray([0, np.nan, -0.0, 1e-45], np.float32)}
    check(one_node("NonZero", x, opset=13), x)


@pytest.mark.parametrize("op", ["Gather", "GatherElements"])
def test_indices_out_of_range_are_refused(op: str) -> None:
    refuses(ContradictoryModel, "out of range", op, {"x": values([3])}, {"i": ints(0, 3)})
