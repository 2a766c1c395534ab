"""Scatter and its kin against ONNX Runtime, and against numpy where it has no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import ContradictoryModel, InvalidModel, UnsupportedAttribute
from tests.lower.drawing import Array, dtypes, dynamic, ints, refuses, shape, values, ways
from tests.lower.support import check, one_node

_REDUCTIONS = {"none": lambda a, b: b, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _reduced(x: Array, places: Array, updates: Array, reduction: str) -> Array:
    """`updates` put at `places` (one row each) in order, with numpy's arithmetic."""
    result = x.copy()
    with np.errstate(over="ignore"):
        for place, update in zip(places, updates, strict=True):
            result[tuple(place)] = _REDUCTIONS[reduction](result[tuple(place)], update)
    return result


def _run(op: str, x: Array, indices: Array, updates: Array, want: Array, way: str, opset: int,
         **attributes: Any) -> None:
    params = {"i": indices, "u": updates}
    feeds = {"x": x} | (params if way == "run time" else {})
    model = one_node(op, feeds, constants={} if way == "run time" else params, operands=["x", "i", "u"], opset=opset,
                     **attributes)
    check(dynamic(model, ["x"]) if way == "dynamic" else model, feeds,
          expected=None if x.dtype == np.float32 else {"y0": want})


def _reduction(draw: Any, opset: int) -> dict[str, str]:
    known = {16: ["none", "add", "mul"], 18: list(_REDUCTIONS)}.get(opset)
    return {} if known is None else {"reduction": draw(st.sampled_from(known))}


@given(shape(1, 3), st.data(), dtypes, ways, st.sampled_from([10, 11, 13, 16, 18]))
def test_scatter_elements(given: list[int], data: Any, dtype: Any, way: str, opset: int) -> None:
    axis = data.draw(st.integers(0, len(given) - 1))
    attributes = _reduction(data.draw, opset)
    wanted = [data.draw(st.integers(1, d)) for d in given]
    if attributes.get("reduction", "none") == "none":  # twice the same place is undefined
        lines = [data.draw(st.permutations(range(given[axis]))) for _ in range(int(np.prod(wanted)) // wanted[axis])]
        moved = [d for a, d in enumerate(wanted) if a != axis]
        rows = np.asarray([line[:wanted[axis]] for line in lines], np.int64).reshape(*moved, wanted[axis])
        indices = np.moveaxis(rows, -1, axis)
    else:
        count = int(np.prod(wanted))
        drawn = data.draw(st.lists(st.integers(0, given[axis] - 1), min_size=count, max_size=count))
        indices = np.asarray(drawn, np.int64).reshape(wanted)
    x, updates = values(given, dtype), values(wanted, dtype)
    places = np.moveaxis(np.indices(wanted), 0, -1).copy()
    places[..., axis] = indices
    want = _reduced(x, places.reshape(-1, len(given)), updates.reshape(-1), attributes.get("reduction", "none"))
    indices = np.where(data.draw(st.booleans()) and opset > 10, indices - given[axis], indices)
    op = "Scatter" if opset == 10 else "ScatterElements"
    _run(op, x, indices, updates, want, way, opset, axis=axis, **attributes)


@given(shape(1, 4), st.data(), dtypes, ways, st.sampled_from([11, 13, 16, 18]))
def test_scatter_nd(given: list[int], data: Any, dtype: Any, way: str, opset: int) -> None:
    depth = data.draw(st.integers(1, len(given)))
    attributes = _reduction(data.draw, opset)
    every = list(np.ndindex(*given[:depth]))
    if attributes.get("reduction", "none") == "none":
        rows = data.draw(st.permutations(every))[:data.draw(st.integers(1, len(every)))]
    else:
        rows = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=5))
    places = np.asarray(rows, np.int64).reshape(len(rows), depth)
    x, updates = values(given, dtype), values([len(rows), *given[depth:]], dtype)
    want = _reduced(x, places, updates, attributes.get("reduction", "none"))
    if data.draw(st.booleans()):
        places = np.where(places % 2 == 0, places - np.asarray(given[:depth]), places)
    if data.draw(st.booleans()):
        places, updates = places[None], updates[None]
    _run("ScatterND", x, places, updates, want, way, opset, **attributes)


def test_a_box_of_places_is_one_update() -> None:
    x = values([3, 4, 2])
    places = np.moveaxis(np.indices((2, 2)), 0, -1) + np.asarray([1, 1])
    updates = values([2, 2, 2]) + 50
    model = one_node("ScatterND", {"x": x}, constants={"i": places, "u": updates}, opset=18)
    assert [o.op for o in check(model, {"x": x}).main.operators][-1] == "DYNAMIC_UPDATE_SLICE"


def test_nothing_to_scatter_leaves_the_data() -> None:
    x = values([3, 2])
    for op, indices, updates in (("ScatterND", np.zeros((0, 1), np.int64), np.zeros((0, 2), np.float32)),
                                 ("ScatterElements", np.zeros((0, 2), np.int64), np.zeros((0, 2), np.float32))):
        check(one_node(op, {"x": x}, constants={"i": indices, "u": updates}, opset=18), {"x": x})


@pytest.mark.parametrize("op", ["ScatterND", "ScatterElements"])
def test_what_is_unknown_is_refused(op: str) -> None:
    places = ints(0, 1)[:, None] if op == "ScatterND" else ints(0, 1)
    params = {"i": places, "u": values([2])}
    refuses(UnsupportedAttribute, "reduction", op, {"x": values([3])}, params, reduction="mean")
    refuses(ContradictoryModel, "out of range", op, {"x": values([1])}, params)


@given(st.data(), st.integers(2, 4), st.integers(1, 3), ways, st.booleans(),
       st.sampled_from([np.float32, np.int8, np.uint16, np.int64, np.float16]))
def test_tensor_scatter(data: Any, rank: int, batch: int, way: str, circular: bool, dtype: Any) -> None:
    given = [batch, *data.draw(st.lists(st.integers(1, 5), min_size=rank - 1, max_size=rank - 1))]
    axis = data.draw(st.integers(1, rank - 1))
    count = data.draw(st.integers(1, given[axis]))
    cache, update = values(given, dtype), values([count if a == axis else d for a, d in enumerate(given)], dtype) + 1
    first = data.draw(st.one_of(st.none(), st.lists(st.integers(
        0, given[axis] + 3 if circular else given[axis] - count), min_size=batch, max_size=batch)))
    want = cache.copy()
    for i in range(batch):
        places = (np.arange(count) + (first[i] if first else 0)) % given[axis]
        np.moveaxis(want[i], axis - 1, 0)[places] = np.moveaxis(update[i], axis - 1, 0)
    params = {} if first is None else {"i": ints(*first)}
    feeds = {"x": cache, "u": update} | ({} if way == "constant" else params)
    model = one_node("TensorScatter", feeds, constants=params if way == "constant" else {}, opset=24,
                     operands=["x", "u", *params], axis=axis - rank, mode="circular" if circular else "linear")
    check(model, feeds, expected={"y0": want})


def test_the_batch_is_no_sequence() -> None:
    refuses(InvalidModel, "that of the batch", "TensorScatter", {"x": values((2, 2)), "u": values((2, 2))}, opset=24,
            axis=0)
