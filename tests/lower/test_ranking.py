"""ArgMax, ArgMin, TopK and cumulative sums and products against numpy, with many equal elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import InvalidModel
from tests.lower.elements import FLOATS, INTEGERS, SEEDS, Shape, shapes, values, versions
from tests.lower.support import Array, check, lowered, one_node

NUMBERS = (*FLOATS, *INTEGERS)


def few(shape: Shape, dtype: str, seed: int) -> Array:
    """Whole numbers with many equal ones; of 64 bits, some that float32 cannot tell apart."""
    x = np.round(values(shape, dtype, seed, -2, 3)).astype(dtype)
    return np.asarray(x + np.array(2**60, dtype)) if dtype in ("int64", "uint64") else x


def order(x: Array, axis: int, largest: bool) -> Array:
    """Indices that sort along `axis`, lower indices first among equals."""
    keys = np.vectorize(lambda v: v if not largest else -v, otypes=[object])(x.astype(object))
    ranks = np.unique(keys.astype(np.float64) if keys.size == 0 else keys, return_inverse=True)[1].reshape(x.shape)
    return np.argsort(ranks, axis=axis, kind="stable")


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@given(data=st.data(), shape=shapes().filter(lambda s: len(s) > 0 and 0 not in s), dtype=st.sampled_from(NUMBERS),
       seed=SEEDS)
def test_arg(op: str, data: st.DataObject, shape: Shape, dtype: str, seed: int) -> None:
    x = few(shape, dtype, seed)
    opset = data.draw(st.sampled_from(versions(op)))
    axis, keep = data.draw(st.integers(-len(shape) if opset >= 11 else 0, len(shape) - 1)), data.draw(st.integers(0, 1))
    last = data.draw(st.integers(0, 1)) if opset >= 12 else 0
    attributes: dict[str, Any] = {"axis": axis, "keepdims": keep} | ({"select_last_index": 1} if last else {})
    first = np.take(order(np.flip(x, axis) if last else x, axis, op == "ArgMax"), 0, axis=axis)
    wanted = np.asarray(x.shape[axis] - 1 - first if last else first, np.int64)
    check(one_node(op, {"x": x}, opset=opset, **attributes), {"x": x},
          expected={"y0": np.expand_dims(wanted, axis) if keep else wanted})


@given(st.data(), shapes().filter(lambda s: len(s) > 0 and 0 not in s), st.sampled_from(NUMBERS), SEEDS,
       st.booleans())
def test_top_k(data: st.DataObject, shape: Shape, dtype: str, seed: int, constant: bool) -> None:
    opset = data.draw(st.sampled_from(versions("TopK")))
    if opset < 11 and dtype not in FLOATS:
        dtype = "float32"
    x = few(shape, dtype, seed)
    axis, largest = data.draw(st.integers(-len(shape), len(shape) - 1)), True
    k = data.draw(st.integers(0 if constant else 1, shape[axis]))
    attributes: dict[str, Any] = {"axis": axis % len(shape)}
    if opset >= 11:
        largest = data.draw(st.booleans())
        attributes |= {"axis": axis, "largest": int(largest), "sorted": data.draw(st.integers(0, 1))}
    feeds, constants = {"x": x}, {"k": np.array([k])}
    if opset < 10:
        attributes["k"], constants = k, {}
    elif not constant:
        feeds, constants = feeds | constants, {}
    indices = np.take(order(x, axis, largest), range(k), axis=axis)
    check(one_node("TopK", feeds, constants=constants, opset=opset, outputs=2, **attributes), feeds,
          expected={"y0": np.take_along_axis(x, indices, axis), "y1": indices.astype(np.int64)})


def test_more_than_there_are() -> None:
    with pytest.raises(InvalidModel, match="7 of 3"):
        lowered(_without_inference(7))


def _without_inference(k: int) -> Any:
    model = one_node("TopK", {"x": np.ones((2, 3), np.float32), "k": np.array([1])}, opset=11, outputs=2)
    import onnx

    del model.graph.input[1]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([k]), "k"))
    return model


@pytest.mark.parametrize("op", ["CumSum", "CumProd"])
@given(data=st.data(), shape=shapes().filter(bool),
       dtype=st.sampled_from(["float32", "float64", "int32", "int64", "uint32", "uint64"]),
       exclusive=st.integers(0, 1), reverse=st.integers(0, 1), seed=SEEDS, constant=st.booleans())
def test_cumulative(op: str, data: st.DataObject, shape: Shape, dtype: str, exclusive: int, reverse: int, seed: int,
                    constant: bool) -> None:
    x = values(shape, dtype, seed)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    turned = np.flip(x, axis) if reverse else x
    wanted = np.asarray((np.cumsum if op == "CumSum" else np.cumprod)(turned, axis, dtype=dtype))
    if exclusive:
        first = np.full_like(np.take(wanted, [0] if wanted.shape[axis] else [], axis), int(op == "CumProd"))
        wanted = np.concatenate([first, np.take(wanted, range(max(wanted.shape[axis] - 1, 0)), axis)], axis)
    wanted = np.flip(wanted, axis) if reverse else wanted
    opset = data.draw(st.sampled_from([11, 14])) if op == "CumSum" else 26
    operand = {"axis": np.array(axis, np.int32 if seed % 2 else np.int64)}
    feeds, constants = ({"x": x}, operand) if constant else ({"x": x} | operand, {})
    check(one_node(op, feeds, constants=constants, opset=opset, exclusive=exclusive, reverse=reverse), feeds,
          rtol=1e-4, expected={"y0": wanted})
