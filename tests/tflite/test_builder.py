"""What the Builder makes, run in LiteRT: shapes as operands, and movement of every element type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fidelite.errors import NeedsStaticShape, UnsupportedType
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim, SymbolicDim, evaluate
from fidelite.tflite.graph import Graph, Tensor
from fidelite.tflite.placeholders import placeholders
from fidelite.tflite.types import ElementType
from tests.tflite.graphs import build, ops, run
from tests.tflite.test_dims import EXPRESSIONS, both

TYPES = [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64,
         np.uint64, np.bool_]
n, h, w = (SymbolicDim.symbol(s) for s in "nhw")


@settings(max_examples=6)
@given(st.lists(EXPRESSIONS, min_size=1, max_size=12), st.integers(2, 9), st.integers(2, 9))
def test_dimensions_are_computed_at_run_time(expressions: list[Any], height: int, width: int) -> None:
    sizes = [{"n": 1, "h": 1, "w": 1, "count": 1}, {"n": 3, "h": height, "w": width, "count": height}]
    dims: list[Dim] = []
    for expression in expressions:
        try:
            dim = both(expression, sizes[0])[0]
            small = all(abs(evaluate(dim, s)) < 2**31 for s in sizes)
        except ZeroDivisionError:
            continue
        if small:
            dims.append(dim)
    dims.append(n * h - w)
    model = build(lambda b, x: b.shape_operand(dims), (np.float32, ["n", "h", "w", "count"]))
    feeds = [[np.zeros([s[k] for k in ("n", "h", "w", "count")], np.float32)] for s in sizes]
    for (found,), values in zip(run(model, *feeds), sizes, strict=True):
        assert found.tolist() == [evaluate(d, values) for d in dims]


def test_neighbours_in_a_shape_are_read_at_once() -> None:
    model = build(lambda b, x: b.shape_operand([n, 7, 9, h, w, h * w]), (np.float32, ["n", 4, "h", "w"]))
    assert ops(model) == ["SHAPE", "SLICE", "SLICE", "SLICE", "SLICE", "MUL", "CONCATENATION"]
    assert run(model, [np.zeros((2, 4, 5, 3), np.float32)])[0][0].tolist() == [2, 7, 9, 5, 3, 15]


def test_a_whole_shape_is_one_operator() -> None:
    assert ops(build(lambda b, x: b.shape_operand(x.shape), (np.float32, ["n", "h"]))) == ["SHAPE"]


def test_two_dynamic_dimensions_of_a_reshape_need_one_computed() -> None:
    model = build(lambda b, x: b.reshape(x, (n, h * w, 4)), (np.float32, ["n", "h", "w", 4]))
    assert ops(model) == ["SHAPE", "SLICE", "CONCATENATION", "RESHAPE"]
    x = np.arange(120, dtype=np.float32).reshape(2, 3, 5, 4)
    np.testing.assert_array_equal(run(model, [x])[0][0], x.reshape(2, 15, 4))


def test_a_symbol_without_a_source_is_refused() -> None:
    with pytest.raises(NeedsStaticShape, match="cannot be read"):
        Builder(Graph()).shape_operand([SymbolicDim.symbol("elsewhere")])


def test_new_symbols_do_not_take_the_names_of_the_models_own() -> None:
    b = Builder(Graph())
    x = Tensor("x", ElementType.FLOAT32, (SymbolicDim.symbol("d1"), SymbolicDim.symbol("d2")))
    b.symbol_sources |= {"d1": (x, 0), "d2": (x, 1)}
    assert b.new_symbol(x, 0) not in x.shape


@pytest.mark.parametrize("dtype", TYPES)
def test_movement_keeps_every_type(dtype: Any) -> None:
    x = (np.arange(12).reshape(3, 4) * 37 % 251 - (100 if np.dtype(dtype).kind in "if" else 0)).astype(dtype)
    model = build(lambda b, t: [
        b.concat([t, t], 0), b.gather(t, b.int32([2, 0]), 1), b.pad(t, (1, 0), (0, 2), 1), b.reverse(t, [1]),
        *b.split(t, [1, 2], 0), b.slice(t, [1, 0], [2, 3]), b.transpose(t, (1, 0))], (dtype, [3, 4]))
    want = [np.concatenate([x, x]), x[:, [2, 0]], np.pad(x, [(1, 0), (0, 2)], constant_values=dtype(1)),
            x[:, ::-1], x[:1], x[1:3], x[1:3, :3], x.T]
    for found, wanted in zip(run(model, [x])[0], want, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_ranks_beyond_the_kernels_are_seen_as_three(dtype: Any) -> None:
    shape = [2, 1, 2, 1, 2, 1, 2]
    x = np.arange(16).astype(dtype).reshape(shape)
    model = build(lambda b, t: [b.concat([t, t], 2), b.pad(t, [0, 1] + [0] * 5, [0] * 6 + [2], 5)], (dtype, shape))
    joined, padded = run(model, [x])[0]
    np.testing.assert_array_equal(joined, np.concatenate([x, x], 2))
    np.testing.assert_array_equal(padded, np.pad(x, [(0, 0), (1, 0)] + [(0, 0)] * 4 + [(0, 2)], constant_values=5))


def test_a_slice_of_a_dynamic_axis_stops_where_it_should() -> None:
    model = build(lambda b, x: [b.slice(x, [1, 0], [n - 1, 2]), b.slice(x, [0, 0], [n - 1, 2])], (np.int32, ["n", 2]))
    x = np.arange(10, dtype=np.int32).reshape(5, 2)
    rest, first = run(model, [x])[0]
    np.testing.assert_array_equal(rest, x[1:])
    np.testing.assert_array_equal(first, x[:-1])


def test_types_that_nothing_carries_are_refused() -> None:
    b = Builder(Graph())
    with pytest.raises(UnsupportedType, match="no kernel"):
        b.carrier("CONCATENATION", ElementType.STRING)
    with pytest.raises(UnsupportedType, match="no kernel"):
        b.carrier("CONCATENATION", ElementType.COMPLEX128)


def test_placeholders_suit_windows_and_strides() -> None:
    after = (((h - 2) // 2 - 2) // 2)
    values = placeholders([(n, h, w), (n, after), (n, w - 5)])
    assert values["n"] == 1
    assert values["h"] >= 64
    assert evaluate(after, values) > 0
    assert values["w"] == 8
    assert placeholders([(n, 3 * h)], [(n * 4, 8), (3 * h, 15), (n * h, 7)]) == {"n": 2, "h": 5}
    assert placeholders([(n, h)], [(n * h * 3, 12)]) == {"n": 1, "h": 4}


def test_a_network_of_dynamic_height_loads_and_runs() -> None:
    def make(b: Builder, x: Tensor) -> Tensor:
        kernel = b.constant(np.ones((2, 3, 3, 2), np.float32))
        for _ in range(2):
            x = b.conv_2d(x, kernel, None, strides=(2, 2), dilations=(1, 1), padding=1)
        return x

    model = build(make, (np.float32, [1, "h", "w", 2]))
    for (found,), size in zip(run(model, [np.ones((1, 7, 9, 2), np.float32)], [np.ones((1, 33, 40, 2), np.float32)]),
                              ((1, 1), (7, 9)), strict=True):
        assert found.shape == (1, *size, 2)
