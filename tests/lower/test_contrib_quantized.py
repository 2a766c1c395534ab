"""ONNX Runtime's own quantized operators, against ONNX Runtime: to within one step of the result's scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from fidelite.errors import UnsupportedAttribute
from fidelite.pipeline import convert, options_of
from fidelite.tflite.types import ElementType
from tests.lower.support import Array, lowered, one_node, run_onnx
from tests.optimize.support import op_list, run

_DOMAIN = "com.microsoft"
_INT8: list[type[np.integer[Any]]] = [np.int8, np.uint8]


def _one(value: float) -> Array:
    return np.asarray(value, np.float32)


def _stored(rng: np.random.Generator, dtype: type[np.integer[Any]], shape: Sequence[int]) -> Array:
    span = np.iinfo(dtype)
    return rng.integers(span.min, span.max, shape, endpoint=True).astype(dtype)


def _check(op: str, inputs: Mapping[str, Array], constants: Mapping[str, Array], *,
           operands: Sequence[str] | None = None, native: str = "", **attributes: Any) -> None:
    """`native`: the operator that computes in integers."""
    version = attributes.pop("opset", None)  # of Softmax, not of the model
    model = one_node(op, inputs, opset=17, constants=constants, operands=operands, domain=_DOMAIN, **attributes)
    if version is not None:
        model.graph.node[0].attribute.append(helper.make_attribute("opset", version))
    result = convert(model, options_of({"verify": False}))
    if native:
        made = [o for o in result.model.main.operators if o.op == native]
        assert made, op_list(result.model)
        assert all(o.outputs[0].element is not ElementType.FLOAT32 for o in made), op_list(result.model)
    want = run_onnx(model, inputs)["y0"]
    for xnnpack in (True, False):
        found = run(result.bytes, inputs, xnnpack=xnnpack)["y0"]
        assert found.dtype == want.dtype
        assert found.shape == want.shape
        if want.dtype.kind == "f":
            np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5 * float(np.max(np.abs(want))))
        else:
            assert np.max(np.abs(found.astype(int) - want.astype(int))) <= 1


@pytest.mark.parametrize("dtype", _INT8)
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@given(second=st.sampled_from([(2, 3, 4, 5), (5,), (3, 1, 1), ()]), seed=st.integers(0, 99))
def test_binary(op: str, dtype: type[np.integer[Any]], second: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = {"a": _stored(rng, dtype, (2, 3, 4, 5)), "b": _stored(rng, dtype, second)}
    zeros = {name: _stored(rng, dtype, ()) for name in ("az", "bz", "cz")}
    scales = {"as": _one(0.05), "bs": _one(0.03), "cs": _one(0.1 if op == "QLinearAdd" else 0.2)}
    _check(op, inputs, {**scales, **zeros}, operands=["a", "as", "az", "b", "bs", "bz", "cs", "cz"],
           native="ADD" if op == "QLinearAdd" else "MUL")


UNARY: list[tuple[str, str, dict[str, Any], float, int]] = [
    ("QLinearSigmoid", "LOGISTIC", {}, 1 / 256, -128),
    ("QLinearLeakyRelu", "LEAKY_RELU", {"alpha": 0.2}, 0.04, -90),
    ("QLinearGlobalAveragePool", "MEAN", {"channels_last": 0}, 0.02, -10),
    ("QLinearGlobalAveragePool", "MEAN", {"channels_last": 1}, 0.02, -10),
    ("QLinearAveragePool", "AVERAGE_POOL_2D", {"kernel_shape": [2, 2], "strides": [2, 2]}, 0.05, -20),
    ("QLinearAveragePool", "", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 0}, 0.05, -20),
    ("QLinearAveragePool", "", {"kernel_shape": [2, 3], "channels_last": 1}, 0.05, -20),
    ("QLinearSoftmax", "SOFTMAX", {"axis": -1, "opset": 13}, 1 / 256, -128),
    ("QLinearSoftmax", "SOFTMAX", {"axis": 2, "opset": 12}, 1 / 256, -128),
]


@pytest.mark.parametrize("dtype", _INT8)
@pytest.mark.parametrize(("op", "native", "attributes", "scale", "zero"), UNARY)
def test_unary(op: str, native: str, attributes: dict[str, Any], scale: float, zero: int,
               dtype: type[np.integer[Any]]) -> None:
    rng = np.random.default_rng(0)
    middle = 128 if dtype is np.uint8 else 0
    constants = {"xs": _one(0.05), "xz": np.asarray(middle - 20, dtype), "ys": _one(scale),
                 "yz": np.asarray(zero + middle, dtype)}
    _check(op, {"x": _stored(rng, dtype, (2, 3, 6, 4))}, constants, native=native, **attributes)


@pytest.mark.parametrize("dtype", _INT8)
def test_concat(dtype: type[np.integer[Any]]) -> None:
    rng = np.random.default_rng(0)
    inputs = {"a": _stored(rng, dtype, (2, 3, 4)), "b": _stored(rng, dtype, (2, 5, 4))}
    zero = np.asarray(128 if dtype is np.uint8 else 0, dtype)
    constants = {"ys": _one(0.05), "yz": zero, "as": _one(0.05), "az": zero, "bs": _one(0.03), "bz": zero}
    _check("QLinearConcat", inputs, constants, operands=["ys", "yz", "a", "as", "az", "b", "bs", "bz"], axis=1,
           native="CONCATENATION")


@pytest.mark.parametrize("dtype", _INT8)
def test_where(dtype: type[np.integer[Any]]) -> None:
    rng = np.random.default_rng(0)
    shape = (2, 3, 4)
    inputs = {"c": rng.random(shape) < 0.5, "a": _stored(rng, dtype, shape), "b": _stored(rng, dtype, shape)}
    zero = np.asarray(128 if dtype is np.uint8 else 0, dtype)
    constants = {"as": _one(0.05), "az": zero, "bs": _one(0.03), "bz": zero, "ys": _one(0.05), "yz": zero}
    _check("QLinearWhere", inputs, constants, operands=["c", "a", "as", "az", "b", "bs", "bz", "ys", "yz"],
           native="SELECT_V2")


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("per_column", [True, False])
@pytest.mark.parametrize(("trans_a", "trans_b", "alpha"), [(0, 0, 1.0), (0, 1, 1.0), (1, 1, 0.5)])
def test_gemm(quantized: bool, per_column: bool, trans_a: int, trans_b: int, alpha: float) -> None:
    rng = np.random.default_rng(0)
    count = (4,) if per_column else ()
    constants = {
        "as": _one(0.05), "az": np.asarray(120, np.uint8), "b": _stored(rng, np.int8, (4, 7) if trans_b else (7, 4)),
        "bs": rng.uniform(0.005, 0.01, count).astype(np.float32), "bz": np.zeros(count, np.int8),
        "c": rng.integers(-900, 900, 4).astype(np.int32)}
    operands = ["a", *constants]
    if quantized:
        constants |= {"ys": _one(0.2), "yz": np.asarray(100, np.uint8)}
        operands += ["ys", "yz"]
    a = _stored(rng, np.uint8, (7, 3) if trans_a else (3, 7))
    _check("QGemm", {"a": a}, constants, operands=operands, transA=trans_a, transB=trans_b, alpha=alpha,
           native="FULLY_CONNECTED" if quantized and not trans_a else "")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("per_column", [True, False])
def test_products_with_float_results(bias: bool, per_column: bool) -> None:
    rng = np.random.default_rng(0)
    count = (4,) if per_column else (1,)
    b = {"b": _stored(rng, np.uint8, (300, 4))}
    scale = {"bs": rng.uniform(0.005, 0.01, count).astype(np.float32)}
    zero = {"bz": _stored(rng, np.uint8, count)}
    last = {"c": rng.standard_normal(4).astype(np.float32)} if bias else {}
    x = {"x": rng.standard_normal((5, 300)).astype(np.float32)}
    _check("DynamicQuantizeMatMul", x, {**b, **scale, **zero, **last})
    a = {"a": _stored(rng, np.uint8, (5, 300))}
    own = {"as": _one(0.05), "az": np.asarray(77, np.uint8)}
    _check("MatMulIntegerToFloat", a, {**b, **scale, **zero, **last, **own},
           operands=["a", "b", "as", "bs", "az", "bz", *last])


@pytest.mark.parametrize(("bits", "zeros"), [(4, "none"), (4, "packed"), (4, "float"), (8, "none"), (8, "packed")])
@pytest.mark.parametrize(("columns", "block"), [(64, 32), (70, 32), (64, 64), (16, 16)])
def test_weights_of_few_bits(bits: int, columns: int, block: int, zeros: str) -> None:
    rng = np.random.default_rng(0)
    blocks = -(-columns // block)
    constants: dict[str, Array] = {
        "b": _stored(rng, np.uint8, (6, blocks, block * bits // 8)),
        "scales": rng.uniform(0.01, 0.1, (6, blocks)).astype(np.float32)}
    if zeros == "packed":
        constants["zp"] = _stored(rng, np.uint8, (6, -(-blocks * bits // 8)))
    elif zeros == "float":
        constants["zp"] = rng.uniform(0, 15, (6, blocks)).astype(np.float32)
    x = {"x": rng.standard_normal((3, columns)).astype(np.float32)}
    _check("MatMulNBits", x, constants, K=columns, N=6, bits=bits, block_size=block)


def test_reordered_weights_are_refused() -> None:
    constants = {"b": np.zeros((6, 1, 8), np.uint8), "s": np.ones((6, 1), np.float32)}
    model = one_node("MatMulNBits", {"x": np.zeros((3, 16), np.float32), "g": np.zeros(16, np.int32)}, opset=17,
                     constants=constants, operands=["x", "b", "s", "", "g"], domain=_DOMAIN, K=16, N=6, bits=4,
                     block_size=16)
    with pytest.raises(UnsupportedAttribute):
        lowered(model)
