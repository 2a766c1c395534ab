"""Shapes computed from dynamic shapes, as exporters write them: converted once, run at several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import NeedsConstant
from fidelite.lower.ratios import (
    Number,
    Ratio,
    Unknown,
    add,
    ceil,
    divide,
    divide_integers,
    floor,
    mul,
    of_float,
    truncate,
)
from fidelite.runtime.litert import LiteRtSession
from fidelite.tflite.dims import SymbolicDim, evaluate
from fidelite.tflite.graph import Model
from tests.lower.support import lowered, run_onnx, shared_worker, tflite_bytes

Array = np.ndarray[Any, Any]


def parsed(inputs: str, body: str, outputs: str = "y", opset: int = 18) -> onnx.ModelProto:
    """A model from ONNX's text: `inputs` as "float[N,3] x", `body` one statement a line."""
    results = ", ".join(f"float {name.strip()}" if " " not in name.strip() else name for name in outputs.split(","))
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\ng ({inputs}) => ({results}) {{\n{body}\n}}')
    for output in model.graph.output:
        output.type.Clear()
    return onnx.shape_inference.infer_shapes(model)


def check_sizes(model: onnx.ModelProto, *feeds: dict[str, Array]) -> Model:
    """Lower once, and compare with ONNX Runtime for each of `feeds`, and for the first again."""
    result = lowered(model)
    with LiteRtSession(tflite_bytes(result), worker=shared_worker()) as session:
        for feed in (*feeds, feeds[0]):
            found = session.run(feed)
            for name, want in run_onnx(model, feed).items():
                assert found[name].shape == want.shape
                assert found[name].dtype == want.dtype
                np.testing.assert_allclose(found[name], want, rtol=1e-6, atol=1e-6)
    return result


def data(*shape: int, dtype: Any = np.float32) -> Array:
    return (np.arange(np.prod(shape), dtype=np.int64) * 7 % 23 - 9).astype(dtype).reshape(shape)


def shapes(*sizes: Sequence[int]) -> list[dict[str, Array]]:
    return [{"x": data(*size)} for size in sizes]


def dims(model: Model) -> tuple[str, ...]:
    return tuple(str(d) for d in model.main.outputs[0].shape)


def test_flattening_keeps_the_batch() -> None:
    model = check_sizes(parsed("float[N,4,5] x", """
        s = Shape(x)
        zero = Constant<value_int = 0>()
        n = Gather<axis = 0>(s, zero)
        axes = Constant<value_ints = [0]>()
        m = Unsqueeze(n, axes)
        rest = Constant<value_ints = [-1]>()
        t = Concat<axis = 0>(m, rest)
        y = Reshape(x, t)"""), *shapes((1, 4, 5), (3, 4, 5)))
    assert dims(model) == ("N", "20")


def test_attention_heads_and_back() -> None:
    model = check_sizes(parsed("float[N,S,12] x", """
        s = Shape<start = 0, end = 2>(x)
        heads = Constant<value_ints = [3]>()
        width = Shape<start = 2, end = 3>(x)
        each = Div(width, heads)
        t = Concat<axis = 0>(s, heads, each)
        r = Reshape(x, t)
        p = Transpose<perm = [0, 2, 1, 3]>(r)
        q = Transpose<perm = [0, 2, 1, 3]>(p)
        b = Concat<axis = 0>(s, width)
        y = Reshape(q, b)"""), *shapes((1, 2, 12), (3, 5, 12)))
    assert dims(model) == ("N", "S", "12")


def test_expand_keeps_what_is_minus_one() -> None:
    check_sizes(parsed("float[N,1,4] x", """
        s = Shape(x)
        wanted = Constant<value_ints = [-1, 6, -1]>()
        minus = Constant<value_ints = [-1]>()
        keep = Equal(wanted, minus)
        t = Where(keep, s, wanted)
        y = Expand(x, t)"""), *shapes((1, 1, 4), (3, 1, 4)))


def test_where_a_symbol_is_compared_with_what_it_cannot_be() -> None:
    model = check_sizes(parsed("float[N,H] x", """
        s = Shape(x)
        minus = Constant<value_ints = [-1]>()
        one = Constant<value_ints = [1]>()
        bad = Equal(s, minus)
        t = Where(bad, one, s)
        y = Expand(x, t)"""), *shapes((1, 1), (3, 2)))
    assert dims(model) == ("N", "H")


def test_positions_are_counted_and_looked_up() -> None:
    model = check_sizes(parsed("int64[N,S] x", """
        axis = Constant<value_int = 1>()
        s = Shape(x)
        n = Gather<axis = 0>(s, axis)
        zero = Constant<value_int = 0>()
        one = Constant<value_int = 1>()
        p = Range(zero, n, one)
        table = Constant<value = float[8,2] {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}>()
        y = Gather(table, p)"""), {"x": data(1, 3, dtype=np.int64)}, {"x": data(2, 7, dtype=np.int64)})
    assert dims(model) == ("S", "2")


def test_a_causal_mask_grows_with_the_sequence() -> None:
    check_sizes(parsed("float[N,S] x", """
        s = Shape<start = 1, end = 2>(x)
        t = Concat<axis = 0>(s, s)
        ones = ConstantOfShape<value = float[1] {1}>(t)
        y = Trilu<upper = 0>(ones)"""), *shapes((1, 1), (2, 4)))


def test_padding_to_a_multiple() -> None:
    check_sizes(parsed("float[1,H,W] x", """
        four = Constant<value_ints = [4]>()
        hw = Shape<start = 1, end = 3>(x)
        m = Mod(hw, four)
        d = Sub(four, m)
        after = Mod(d, four)
        before = Constant<value_ints = [0, 0, 0, 0]>()
        pads = Concat<axis = 0>(before, after)
        y = Pad(x, pads)"""), *shapes((1, 4, 5), (1, 7, 2)))


def test_windows_and_back() -> None:
    model = check_sizes(parsed("float[N,H,W,2] x", """
        zero = Constant<value_ints = [0]>()
        one = Constant<value_ints = [1]>()
        two = Constant<value_ints = [2]>()
        s = Shape(x)
        n = Gather(s, zero)
        h = Gather(s, one)
        w = Gather(s, two)
        hh = Div(h, two)
        ww = Div(w, two)
        t = Concat<axis = 0>(n, hh, two, ww, two, two)
        r = Reshape(x, t)
        p = Transpose<perm = [0, 1, 3, 2, 4, 5]>(r)
        u = Constant<value_ints = [-1, 4, 2]>()
        v = Reshape(p, u)
        e = Constant<value_float = 1.0>()
        f = Add(v, e)
        t2 = Concat<axis = 0>(n, hh, ww, two, two, two)
        g = Reshape(f, t2)
        q = Transpose<perm = [0, 1, 3, 2, 4, 5]>(g)
        y = Reshape(q, s)"""), *shapes((1, 2, 2, 2), (2, 4, 6, 2)))
    assert dims(model) == ("N", "H", "W", "2")


@pytest.mark.parametrize("rounding", ["Floor", "Ceil", "Identity"])
def test_sizes_scaled_as_floats(rounding: str) -> None:
    check_sizes(parsed("float[N,H] x", f"""
        s = Shape<start = 1, end = 2>(x)
        f = Cast<to = 1>(s)
        half = Constant<value_floats = [0.75]>()
        m = Mul(f, half)
        r = {rounding}(m)
        end = Cast<to = 7>(r)
        zero = Constant<value_ints = [0]>()
        one = Constant<value_ints = [1]>()
        y = Slice(x, zero, end, one)"""), *shapes((1, 4), (2, 7)))


def test_halves_are_joined_to_the_whole() -> None:
    model = check_sizes(parsed("float[N,H,3] x", """
        two = Constant<value_ints = [2]>()
        zero = Constant<value_ints = [0]>()
        one = Constant<value_ints = [1]>()
        far = Constant<value_ints = [9223372036854775807]>()
        h = Shape<start = 1, end = 2>(x)
        m = Div(h, two)
        a = Slice(x, zero, m, one)
        b = Slice(x, m, far, one)
        y = Concat<axis = 1>(b, a)"""), *shapes((1, 4, 3), (2, 7, 3)))
    assert dims(model) == ("N", "H", "3")


def test_split_by_sizes_that_depend_on_the_shape() -> None:
    check_sizes(parsed("float[N,H] x", """
        two = Constant<value_ints = [2]>()
        h = Shape<start = 1, end = 2>(x)
        m = Div(h, two)
        rest = Sub(h, m)
        t = Concat<axis = 0>(m, rest)
        a, b = Split<axis = 1>(x, t)
        y = Neg(a)
        z = Neg(b)""", "y, z"), *shapes((1, 4), (3, 7)))


def test_a_split_shape_tiles() -> None:
    check_sizes(parsed("float[N,H] x", """
        s = Shape(x)
        n, h = Split<num_outputs = 2>(s)
        two = Constant<value_ints = [2]>()
        t = Concat<axis = 0>(two, n)
        y = Tile(x, t)"""), *shapes((1, 4), (3, 2)))


def test_sizes_as_results() -> None:
    check_sizes(parsed("float[N,H,5] x", """
        s = Shape(x)
        n = Size(x)
        p = ReduceProd<keepdims = 0>(s)
        small = ReduceMin<keepdims = 0>(s)
        one = Constant<value_int = 1>()
        t = Sub(s, one)
        i = Cast<to = 6>(s)
        f = Cast<to = 1>(s)
        b = Greater(s, one)""", "s, n, p, small, t, i, f, b"), *shapes((1, 4, 5), (3, 2, 5)))


def test_a_size_that_is_known_after_all_is_a_constant() -> None:
    model = lowered(parsed("float[N,H,5] x", """
        s = Shape(x)
        two = Constant<value_int = 2>()
        y = Gather(s, two)"""))
    assert model.main.outputs[0].producer is not None
    assert all(t is None or t.is_constant for t in model.main.outputs[0].producer.inputs)


def test_a_rank_that_only_the_run_time_knows_is_refused() -> None:
    with pytest.raises(NeedsConstant, match="number of dimensions"):
        lowered(parsed("float[N] x, int64[K] t", "y = Reshape(x, t)"))


_N = SymbolicDim.symbol("n")
_NUMBERS = st.sampled_from([-3, 0, 1, 2, 5, 0.5, 0.75, -1.25, "n", "n/2", "n-3"])


def _number(value: Any) -> Number:
    if isinstance(value, str):
        return {"n": _N, "n/2": divide(_N, 2), "n-3": _N - 3}[value]
    return of_float(float(value))


def _evaluated(value: Number, n: int) -> float:
    if isinstance(value, Ratio):
        return evaluate(value.numerator, {"n": n}) / value.denominator
    return evaluate(value, {"n": n})


@given(_NUMBERS, _NUMBERS, st.integers(1, 20))
def test_ratios_are_exact(left: Any, right: Any, n: int) -> None:
    a, b = _number(left), _number(right)
    x, y = _evaluated(a, n), _evaluated(b, n)
    assert _evaluated(add(a, b), n) == x + y
    assert _evaluated(mul(a, b), n) == x * y
    for function, plain in ((floor, np.floor), (ceil, np.ceil), (truncate, np.trunc)):
        assert evaluate(function(a), {"n": n}) == plain(x)
    try:
        assert _evaluated(divide(a, b), n) == pytest.approx(x / y)
        if not isinstance(a, Ratio) and not isinstance(b, Ratio):
            assert evaluate(divide_integers(a, b), {"n": n}) == int(x / y)
    except (Unknown, ZeroDivisionError):
        pass


def test_floats_that_are_no_small_fractions_stay_unknown() -> None:
    for value in (0.1, float("nan"), 1e30):
        with pytest.raises(Unknown):
            of_float(value)
