"""Cast between all pairs of element types."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from fidelite.errors import InvalidModel, UnsupportedType
from tests.lower.elements import FLOATS, INTEGERS, SEEDS, Shape, agrees, full_range, shapes, values, versions
from tests.lower.support import Array, check, lowered, one_node

TYPES = (*FLOATS, *INTEGERS, "bool")


@pytest.mark.parametrize("source", TYPES)
@pytest.mark.parametrize("target", TYPES)
@settings(max_examples=max(settings().max_examples // 4, 3))
@given(shape=shapes(), seed=SEEDS)
def test_cast(source: str, target: str, shape: Shape, seed: int) -> None:
    """Every number that the target has; integers with all bits random."""
    if source in INTEGERS and target in INTEGERS:
        x = full_range(shape, source, seed)
    else:
        x = values(shape, source, seed, 0 if "u" in target else -9, 99)
    agrees("Cast", {"x": x}, opset=versions("Cast", 9)[seed % len(versions("Cast", 9))],
           to=helper.np_dtype_to_tensor_dtype(np.dtype(target)), rtol=0, atol=0,
           reference=lambda x: x.astype(target))


@pytest.mark.parametrize("target", [np.float32, np.float64, np.float16])
def test_large_uint64_to_floats(target: type) -> None:
    """Rounded once, from 64 bits."""
    x = np.array([2**64 - 1, 2**63, 2**63 + 1, 2**63 + 2**39, 2**63 + 2**39 + 1, 2**63 + 2**40 + 2**39, 2**53 + 1, 7],
                 np.uint64)
    with np.errstate(over="ignore"):
        wanted = x.astype(target)
    check(one_node("Cast", {"x": x}, opset=13, to=helper.np_dtype_to_tensor_dtype(np.dtype(target))), {"x": x}, rtol=0,
          atol=0, expected={"y0": wanted})


def test_large_floats_to_uint64() -> None:
    x = np.array([2.0**63, 1.5 * 2.0**63, 2.0**62, 0.9, 3.7], np.float32)
    check(one_node("Cast", {"x": x}, opset=13, to=TensorProto.UINT64), {"x": x}, expected={"y0": x.astype(np.uint64)})


def test_bfloat16() -> None:
    """There and back: LiteRT's Python binding cannot show it."""
    x = values((3, 4), "float32", 0, -99, 99)
    model = one_node("Cast", {"x": x}, opset=13, to=TensorProto.BFLOAT16)
    model.graph.node[0].output[0] = "half"
    model.graph.node.append(helper.make_node("Cast", ["half"], ["y0"], to=TensorProto.FLOAT))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y0", TensorProto.FLOAT, [3, 4]))
    check(model, {"x": x}, rtol=0, atol=0, expected={"y0": x.astype(ml_dtypes.bfloat16).astype(np.float32)})


@given(shapes(), st.sampled_from(TYPES), st.sampled_from(TYPES), SEEDS, st.sampled_from([15, 19, 21]))
def test_cast_like(shape: Shape, source: str, target: str, seed: int, opset: int) -> None:
    feeds = {"x": values(shape, source, seed, 0, 9), "like": values((2,), target, seed)}
    check(one_node("CastLike", feeds, opset=opset), feeds, expected={"y0": feeds["x"].astype(target)})


def test_strings_are_refused() -> None:
    with pytest.raises(UnsupportedType):
        lowered(one_node("Cast", {"x": np.ones(3, np.float32)}, opset=21, to=TensorProto.STRING))


SMALL_FLOATS = ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ")
SMALL_INTEGERS = ("INT4", "UINT4", "INT2", "UINT2")
_FLOAT8_VALUES = [2.0**e * (1 + f / 16) for e in range(-19, 18) for f in range(16)]


def _all_values(dtype: str) -> Array:
    """Every bit pattern of float8's values and the points halfway between, beyond the largest ones, and no numbers."""
    found = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, 3e38, *_FLOAT8_VALUES], np.float32)
    return np.concatenate([found, -found]).astype(dtype)


@pytest.mark.parametrize("target", SMALL_FLOATS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("saturate", [0, 1])
def test_to_float8(target: str, dtype: str, saturate: int) -> None:
    """As ONNX Runtime casts there and back. Without `saturate` as ml_dtypes does, which is what the standard says:
    ONNX Runtime gives 448 for 480 in E4M3FN, and NaN for 61440, the first number beyond E5M2's largest."""
    with np.errstate(over="ignore"):
        x = _all_values(dtype)
    to = TensorProto.DataType.Value(target)
    wanted = None if saturate else {"y0": x.astype(helper.tensor_dtype_to_np_dtype(to)).astype(np.float32)}
    check(_there_and_back(x, to, saturate), {"x": x}, rtol=0, atol=0, expected=wanted)


def _there_and_back(x: Array, to: int, saturate: int = 1) -> onnx.ModelProto:
    model = one_node("Cast", {"x": x}, opset=23, to=to, saturate=saturate)
    model.graph.node[0].output[0] = "small"
    model.graph.node.append(helper.make_node("Cast", ["small"], ["y0"], to=TensorProto.FLOAT))
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.append(helper.make_tensor_value_info("y0", TensorProto.FLOAT, x.shape))
    return model


@given(shapes(4), st.sampled_from(SMALL_INTEGERS), st.sampled_from([*INTEGERS, "float32", "bool"]), SEEDS)
def test_to_small_integers(shape: Shape, target: str, source: str, seed: int) -> None:
    """The lower bits, whatever is above them; a fraction is cut off."""
    x = full_range(shape, source, seed) if source in INTEGERS else values(shape, source, seed, -40, 40)
    to = TensorProto.DataType.Value(target)
    bits, signed = int(target[-1]), not target.startswith("U")
    low = x.astype(np.int64) & ((1 << bits) - 1)
    wanted = low - ((low >> bits - 1) << bits) if signed else low
    check(_there_and_back(x, to), {"x": x}, expected={"y0": wanted.astype(np.float32)})


@pytest.mark.parametrize(("mode", "saturate"), [("up", 1), ("down", 1), ("nearest", 0), ("nearest", 1), ("up", 0)])
def test_to_a_power_of_two(mode: str, saturate: int) -> None:
    x = np.array([0.0, 1.0, 1.4, 1.5, 1.6, 3.0, 1e-38, 1e38, 2.0**127, 3.3e38, np.nan], np.float32)
    model = one_node("Cast", {"x": x}, opset=25, to=TensorProto.FLOAT8E8M0, round_mode=mode, saturate=saturate)
    wanted = onnx.numpy_helper.to_float8e8m0(x, bool(saturate), mode).astype(np.float32)
    check(model, {"x": x}, rtol=0, atol=0, expected={"y0": wanted})


@pytest.mark.parametrize("target", ["FLOAT4E2M1", "FLOAT6E2M3", "FLOAT6E3M2"])
def test_to_floats_without_infinity(target: str) -> None:
    """Their largest number stands for all beyond, and 0 for what is no number."""
    x = _all_values("float32")
    to = TensorProto.DataType.Value(target)
    wanted = x.astype(helper.tensor_dtype_to_np_dtype(to)).astype(np.float32)
    check(_there_and_back(x, to), {"x": x}, rtol=0, atol=0, expected={"y0": wanted})


@pytest.mark.parametrize("constant", [False, True])
def test_cast_like_a_carried_type(constant: bool) -> None:
    """The type is the operand's own, not the one that carries it; also where all is known when converting."""
    x = np.array([0.3, 1000.0, -7.1], np.float32)
    like = helper.make_tensor("like", TensorProto.FLOAT8E4M3FN, [1], [1.0])
    nodes = [helper.make_node("Identity", ["like"], ["same"]), helper.make_node("CastLike", ["x", "same"], ["small"]),
             helper.make_node("Cast", ["small"], ["y0"], to=TensorProto.FLOAT)]
    inputs = [] if constant else [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])]
    weights = [like, onnx.numpy_helper.from_array(x, "x")] if constant else [like]
    results = [helper.make_tensor_value_info("y0", TensorProto.FLOAT, [3])]
    graph = helper.make_graph(nodes, "g", inputs, results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    check(model, {} if constant else {"x": x}, rtol=0, atol=0,
          expected={"y0": np.array([0.3125, 448.0, -7.0], np.float32)})


def test_by_name() -> None:
    """Before opset 6 the type is a string."""
    x = np.array([1.7, -2.2], np.float32)
    check(one_node("Cast", {"x": x}, opset=1, to="INT32"), {"x": x}, expected={"y0": np.array([1, -2], np.int32)})


_PAIRS = [(a, b) for a in (*FLOATS, *INTEGERS) for b in (*FLOATS, *INTEGERS)
          if np.dtype(a).itemsize == np.dtype(b).itemsize]


@given(shapes(), st.sampled_from(_PAIRS), SEEDS)
def test_bit_cast(shape: Shape, pair: tuple[str, str], seed: int) -> None:
    source, target = pair
    x = values(shape, source, seed) if source in FLOATS else full_range(shape, source, seed)
    if target in FLOATS:  # numbers only: the comparison of NaNs is not about their bits
        x = np.asarray(values(shape, target, seed)).view(source)
    model = one_node("BitCast", {"x": x}, opset=26, to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))
    check(model, {"x": x}, rtol=0, atol=0, expected={"y0": x.view(target)})


def test_bit_cast_refusals() -> None:
    with pytest.raises(UnsupportedType, match="bits"):
        lowered(one_node("BitCast", {"x": np.ones(3, np.uint8)}, opset=26, to=TensorProto.FLOAT8E5M2))
    model = one_node("BitCast", {"x": np.ones(3, np.int32)}, opset=26, to=TensorProto.FLOAT)
    model.graph.node[0].attribute[0].i = TensorProto.INT64
    del model.graph.output[:]
    model.graph.output.append(helper.make_empty_tensor_value_info("y0"))
    with pytest.raises(InvalidModel, match="wide"):
        lowered(model)
