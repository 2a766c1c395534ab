"""QuantizeLinear, DequantizeLinear, QLinear* and *Integer against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fidelite.errors import FideliteError
from fidelite.pipeline import convert, options_of
from fidelite.tflite.types import ElementType
from tests.lower.support import Array, check, lowered, one_node, run_onnx
from tests.optimize.support import op_list, run

_TYPES: list[type[np.integer[Any]]] = [np.int8, np.uint8, np.int16, np.uint16]


def _scale(rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Array:
    """Powers of two and others: a quotient by the first has ties."""
    return np.asarray(np.exp2(rng.integers(-6, 0, shape)) * rng.choice([1.0, 1.0, 1.1], shape)).astype(np.float32)


def _zero(rng: np.random.Generator, dtype: type[np.integer[Any]], shape: tuple[int, ...] = ()) -> Array:
    span = np.iinfo(dtype)
    return np.asarray(rng.integers(span.min, span.max, shape, endpoint=True)).astype(dtype)


def _values(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Half of them multiples of 1/4, so that they lie between two steps."""
    plain = rng.standard_normal(shape) * 10
    return np.where(rng.random(shape) < 0.5, np.round(plain * 4) / 4, plain).astype(np.float32)


@st.composite
def _parameters(draw: st.DrawFn) -> tuple[str, tuple[int, ...], int, int]:
    """Granularity, shape, axis, block."""
    rank = draw(st.integers(0, 4))
    shape = tuple(draw(st.lists(st.integers(0, 5), min_size=rank, max_size=rank)))
    kind = draw(st.sampled_from(["tensor", "axis", "blocks"] if rank and not {0, 1} & set(shape) else ["tensor"]))
    axis = draw(st.integers(-rank, rank - 1)) if rank else 0
    return kind, shape, axis, draw(st.integers(1, 3)) if kind == "blocks" else 0


def _attributes(kind: str, axis: int, block: int) -> dict[str, Any]:
    return {} if kind == "tensor" else {"axis": axis} | ({"block_size": block} if block else {})


def _parameter_shape(kind: str, shape: tuple[int, ...], axis: int, block: int) -> tuple[int, ...]:
    if kind == "tensor":
        return ()
    if kind == "axis":
        return (shape[axis],)
    return tuple(-(-d // block) if i == axis % len(shape) else d for i, d in enumerate(shape))


@given(_parameters(), st.sampled_from(_TYPES), st.booleans(), st.booleans(), st.integers(0, 99))
def test_quantize_and_dequantize(parameters: tuple[str, tuple[int, ...], int, int], dtype: type[np.integer[Any]],
                                 constant: bool, with_zero: bool, seed: int) -> None:
    kind, shape, axis, block = parameters
    rng = np.random.default_rng(seed)
    sizes = _parameter_shape(kind, shape, axis, block)
    scale = {"scale": _scale(rng, sizes)}
    with_zero = with_zero or dtype is not np.uint8
    zero = {"zero": _zero(rng, dtype, sizes)} if with_zero else {}
    given_, known = ({}, {**scale, **zero}) if constant else ({**scale, **zero}, {})
    attributes = _attributes(kind, axis, block)
    names = ["x", *scale, *zero]
    x = _values(rng, shape)
    model = one_node("QuantizeLinear", {"x": x, **given_}, opset=21, constants=known, operands=names, **attributes)
    _check_converted(model, {"x": x, **given_})
    stored = _zero(rng, dtype, shape)
    model = one_node("DequantizeLinear", {"x": stored, **given_}, opset=21, constants=known, operands=names,
                     **attributes)
    check(model, {"x": stored, **given_}, rtol=1e-6, atol=1e-6)


def _check_converted(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> None:
    """The whole conversion gives ONNX Runtime's integers, with and without XNNPACK."""
    want = run_onnx(model, feeds)
    content = convert(model, options_of({"verify": False})).bytes
    for xnnpack in (True, False):
        found = run(content, feeds, xnnpack=xnnpack)
        for name in want:
            assert found[name].dtype == want[name].dtype
            np.testing.assert_array_equal(found[name], want[name])


@given(st.integers(0, 3), st.sampled_from([np.int8, np.uint8, np.int32]), st.sampled_from(["tensor", "axis", "blocks"]),
       st.integers(0, 99))
def test_dequantized_constants(axis: int, dtype: type[np.integer[Any]], kind: str, seed: int) -> None:
    """Stored integers are a deferred constant, whatever their scales, and read as what they mean."""
    rng = np.random.default_rng(seed)
    shape = (3, 4, 5, 6)
    sizes = _parameter_shape(kind, shape, axis, 2)
    zero = np.zeros(sizes, dtype) if dtype is np.int32 else _zero(rng, dtype, sizes)
    constants = {"w": rng.integers(0, 100, shape).astype(dtype), "scale": _scale(rng, sizes), "zero": zero}
    attributes = _attributes(kind, axis, 2 if kind == "blocks" else 0)
    nodes = [helper.make_node("DequantizeLinear", list(constants), ["v"], **attributes),
             helper.make_node("Transpose", ["v"], ["t"], perm=[3, 1, 0, 2]), helper.make_node("Mul", ["x", "t"], ["y"])]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, [6, 4, 3, 5])], [info(
        "y", TensorProto.FLOAT, [6, 4, 3, 5])], [numpy_helper.from_array(a, n) for n, a in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    result = check(model, {"x": rng.standard_normal((6, 4, 3, 5)).astype(np.float32)}, rtol=1e-6, atol=0)
    assert op_list(result) == ["MUL"]


@pytest.mark.parametrize("x_type", [np.int8, np.uint8])
@pytest.mark.parametrize("w_type", [np.int8, np.uint8])
@pytest.mark.parametrize("run_time", [False, True])
def test_integer_products_are_exact(x_type: type[np.integer[Any]], w_type: type[np.integer[Any]],
                                    run_time: bool) -> None:
    """Sums beyond what float32 holds."""
    rng = np.random.default_rng(0)
    operands = {"a": np.full((3, 700), np.iinfo(x_type).max, x_type), "b": _zero(rng, w_type, (700, 4))}
    operands["a"][0] = _zero(rng, x_type, (700,))
    zeros = {"az": _zero(rng, x_type), "bz": _zero(rng, w_type)}
    inputs = operands if run_time else {"a": operands["a"]}
    constants = {k: v for k, v in {**operands, **zeros}.items() if k not in inputs}
    model = one_node("MatMulInteger", inputs, opset=17, constants=constants, operands=["a", "b", "az", "bz"])
    check(model, inputs, expected={"y0": _product(operands, zeros)})


def _product(operands: Mapping[str, Array], zeros: Mapping[str, Array]) -> Array:
    a, b = (operands[k].astype(np.int64) - zeros[k + "z"].astype(np.int64) for k in ("a", "b"))
    return (a @ b).astype(np.int32)


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 2, 0, 1]}, {"strides": [2, 1]}, {"group": 2}])
def test_conv_integer(attributes: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    channels = 8 if "group" in attributes else 64
    x = {"x": _zero(rng, np.uint8, (2, channels, 7, 6))}
    constants = {"w": _zero(rng, np.int8, (6, channels // attributes.get("group", 1), 3, 3)), "xz": np.uint8(200),
                 "wz": np.int8(0)}
    model = one_node("ConvInteger", x, opset=17, constants=constants, **attributes)  # type: ignore[arg-type]
    check(model, x)


@given(st.sampled_from([np.int8, np.uint8]), st.sampled_from([np.int8, np.uint8]), st.booleans(), st.booleans(),
       st.integers(0, 99))
def test_qlinear_conv(x_type: type[np.integer[Any]], w_type: type[np.integer[Any]], per_channel: bool, bias: bool,
                      seed: int) -> None:
    rng = np.random.default_rng(seed)
    w_type = np.int8 if x_type is np.int8 else w_type  # ONNX Runtime has no other
    zero = 128 if w_type is np.uint8 else 0
    count = (6,) if per_channel else ()
    constants: dict[str, Array] = {
        "xs": np.asarray(0.05, np.float32), "xz": _zero(rng, x_type), "w": _zero(rng, w_type, (6, 4, 3, 3)),
        "ws": rng.uniform(0.002, 0.01, count).astype(np.float32) if count else np.asarray(0.01, np.float32),
        "wz": np.full(count, zero, w_type), "ys": np.asarray(0.3, np.float32), "yz": _zero(rng, x_type)}
    if bias:
        constants["b"] = rng.integers(-999, 999, 6).astype(np.int32)
    x = {"x": _zero(rng, x_type, (1, 4, 7, 6))}
    model = one_node("QLinearConv", x, opset=17, constants=constants, pads=[1, 1, 1, 1])
    result = convert(model, options_of({"verify": False}))
    assert "DEQUANTIZE" not in op_list(result.model)
    for xnnpack in (True, False):
        found, want = run(result.bytes, x, xnnpack=xnnpack), run_onnx(model, x)
        assert np.max(np.abs(found["y0"].astype(int) - want["y0"].astype(int))) <= 1


@given(st.sampled_from([np.int8, np.uint8]), st.booleans(), st.booleans(), st.integers(2, 3), st.integers(0, 99))
def test_qlinear_matmul(dtype: type[np.integer[Any]], per_column: bool, run_time: bool, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    run_time = run_time and not per_column  # ONNX Runtime wants those constant
    count = (5,) if per_column else ()
    shape = (7, 5) if rank == 2 or not run_time else (2, 7, 5)
    operands = {"a": _zero(rng, dtype, (3, 7) if rank == 2 else (2, 3, 7)), "b": _zero(rng, dtype, shape)}
    constants: dict[str, Array] = {
        "as": np.asarray(0.05, np.float32), "az": _zero(rng, dtype),
        "bs": rng.uniform(0.002, 0.01, count).astype(np.float32) if count else np.asarray(0.01, np.float32),
        "bz": _zero(rng, dtype, count), "ys": np.asarray(0.3, np.float32), "yz": _zero(rng, dtype)}
    inputs = operands if run_time else {"a": operands["a"]}
    constants |= {k: v for k, v in operands.items() if k not in inputs}
    model = one_node("QLinearMatMul", inputs, opset=17, constants=constants,
                     operands=["a", "as", "az", "b", "bs", "bz", "ys", "yz"])
    content = convert(model, options_of({"verify": False})).bytes
    for xnnpack in (True, False):
        found, want = run(content, inputs, xnnpack=xnnpack), run_onnx(model, inputs)
        assert np.max(np.abs(found["y0"].astype(int) - want["y0"].astype(int))) <= 1


_SMALL = {"INT4": np.int8, "UINT4": np.uint8, "INT2": np.int8, "UINT2": np.uint8}


@pytest.mark.parametrize("name", [*_SMALL, "FLOAT8E4M3FN", "FLOAT8E5M2"])
def test_types_that_are_carried(name: str) -> None:
    """Rounded to what the declared type holds, in the type that carries it."""
    x = np.linspace(-40, 40, 64, dtype=np.float32)
    scale = np.asarray(2.0, np.float32)
    model = one_node("QuantizeLinear", {"x": x}, opset=25 if "INT2" in name else 21, constants={"s": scale},
                     output_dtype=int(TensorProto.DataType.Value(name)))
    found = run(convert(model, options_of({"verify": False})).bytes, {"x": x}, xnnpack=True)["y0"]
    if name in _SMALL:
        bits = int(name[-1])
        low = 0 if name[0] == "U" else -(1 << bits - 1)
        want = np.clip(np.rint(x / 2), low, low + (1 << bits) - 1).astype(_SMALL[name])
    else:
        dtype = ml_dtypes.float8_e4m3fn if "E4" in name else ml_dtypes.float8_e5m2
        want = (x / 2).astype(dtype).astype(np.float32)
    assert found.dtype == want.dtype
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("name", ["INT4", "UINT4"])
def test_weights_of_four_bits_stay_so(name: str) -> None:
    rng = np.random.default_rng(0)
    dtype = ml_dtypes.int4 if name == "INT4" else ml_dtypes.uint4
    w = rng.integers(-8, 7, (7, 6), endpoint=True) + (8 if name == "UINT4" else 0)
    middle = np.asarray(8 if name == "UINT4" else 0).astype(dtype)
    one = np.asarray(0.1, np.float32)
    q = {"xs": np.asarray(0.05, np.float32), "xz": np.asarray(3, np.int8), "w": w.astype(dtype), "ws": one,
         "wz": middle, "ys": one, "yz": np.asarray(0, np.int8)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
             helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
             helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
             helper.make_node("MatMul", ["xd", "wd"], ["y"]),
             helper.make_node("QuantizeLinear", ["y", "ys", "yz"], ["yq"]),
             helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["z"])]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, [3, 7])], [info(
        "z", TensorProto.FLOAT, [3, 6])], [numpy_helper.from_array(a, n) for n, a in q.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    result = convert(model, options_of({"verify": False}))
    product = next(o for o in result.model.main.operators if o.op == "FULLY_CONNECTED")
    assert product.inputs[1] is not None
    assert product.inputs[1].element is ElementType.INT4
    x = {"x": rng.standard_normal((3, 7)).astype(np.float32)}
    want = run_onnx(model, x)["z"]
    for xnnpack in (True, False):
        assert np.max(np.abs(run(result.bytes, x, xnnpack=xnnpack)["z"] - want)) <= 0.1 + 1e-6


def test_sums_beyond_float32_are_refused() -> None:
    x = {"x": np.zeros((1, 1, 20, 20), np.uint8)}
    model = one_node("ConvInteger", x, opset=17, constants={"w": np.ones((1, 1, 17, 17), np.uint8)})
    with pytest.raises(FideliteError) as caught:
        lowered(model)
    assert caught.value.code == "F465"


def test_a_scale_that_is_no_scale_is_refused() -> None:
    model = one_node("QuantizeLinear", {"x": np.zeros(4, np.float32)}, opset=13,
                     constants={"s": np.asarray(0.0, np.float32), "z": np.asarray(0, np.int8)})
    with pytest.raises(FideliteError) as caught:
        lowered(model)
    assert caught.value.code == "F330"


def test_integers_that_only_move_keep_their_scale() -> None:
    """Transpose, Reshape and MaxPool between QuantizeLinear and DequantizeLinear, and a PAD, which is no zero there."""
    info, node = helper.make_tensor_value_info, helper.make_node
    scale, zero = np.asarray(0.05, np.float32), np.asarray(7, np.int8)
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("MaxPool", ["q"], ["m"], kernel_shape=[2, 2]),
             node("Pad", ["m", "p"], ["w"]), node("Transpose", ["w"], ["t"], perm=[0, 2, 3, 1]),
             node("DequantizeLinear", ["t", "s", "z"], ["y"]), node("Cast", ["t"], ["c"], to=int(TensorProto.INT32))]
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, [1, 3, 6, 6])], [
        helper.make_empty_tensor_value_info(n) for n in ("y", "c")],
        [numpy_helper.from_array(a, n) for n, a in (("s", scale), ("z", zero), ("p", pads))])
    model = onnx.shape_inference.infer_shapes(helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    result = convert(model, options_of({"verify": False}))
    x = {"x": _values(np.random.default_rng(0), (1, 3, 6, 6))}
    want = run_onnx(model, x)
    for xnnpack in (True, False):
        found = run(result.bytes, x, xnnpack=xnnpack)
        for name in want:
            np.testing.assert_allclose(found[name], want[name], rtol=1e-6, atol=1e-6)
