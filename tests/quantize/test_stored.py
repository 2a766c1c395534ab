"""Weights on a grid whose operator stays float are stored as integers, and mean the same."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fidelite.pipeline import convert, options_of
from fidelite.tflite.types import ElementType
from tests.lower.support import run_onnx
from tests.optimize.support import ops_of, run


def _weights_only(dtype: Any, *, axis: int | None, zero: int = 0, columns: int = 64) -> onnx.ModelProto:
    """A product in float32 by weights behind a DequantizeLinear."""
    rng = np.random.default_rng(0)
    span = ml_dtypes.iinfo(dtype)
    w = rng.integers(span.min, int(span.max) + 1, (96, columns)).astype(dtype)
    count = () if axis is None else (w.shape[axis],)
    scale = rng.uniform(0.01, 0.02, count).astype(np.float32)
    constants = {"w": w, "s": scale, "z": np.full(count, zero).astype(dtype)}
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    nodes = [helper.make_node("DequantizeLinear", list(constants), ["v"], **attributes),
             helper.make_node("MatMul", ["x", "v"], ["m"]), helper.make_node("Tanh", ["m"], ["y"])]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, [3, 96])],
                              [info("y", TensorProto.FLOAT, [3, columns])],
                              [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize(("dtype", "axis", "zero", "stored"), [
    (np.int8, None, 0, True), (np.int8, 1, 0, True), (np.uint8, None, 117, True), (np.uint8, 1, 128, True),
    (ml_dtypes.int4, 1, 0, True), (ml_dtypes.uint4, 1, 8, True), (np.int8, 1, 5, False), (np.int8, 0, 0, True)])
def test_weights_are_stored_as_integers(dtype: Any, axis: int | None, zero: int, stored: bool) -> None:
    """Scales along either axis; not with a zero point per channel, which XNNPACK does not unpack."""
    model = _weights_only(dtype, axis=axis, zero=zero)
    result = convert(model, options_of({"verify": False}))
    assert ops_of(result.model)["DEQUANTIZE"] == int(stored)
    large = [t for t in result.model.main.tensors() if t.constant is not None and t.constant.size > 1000]
    assert [t.element for t in large] == [ElementType.FLOAT32 if not stored else ElementType.UINT8 if zero == 117
                                          else ElementType.INT8]
    x = {"x": np.random.default_rng(1).standard_normal((3, 96)).astype(np.float32)}
    want = run_onnx(model, x)["y"]
    for xnnpack in (True, False):
        np.testing.assert_allclose(run(result.bytes, x, xnnpack=xnnpack)["y"], want, rtol=1e-4, atol=1e-5)


def test_small_weights_stay_as_they_are() -> None:
    result = convert(_weights_only(np.int8, axis=1, columns=4), options_of({"verify": False}))
    assert not ops_of(result.model)["DEQUANTIZE"]


def test_a_precision_of_its_own_decides_itself() -> None:
    result = convert(_weights_only(np.int8, axis=1), options_of({"verify": False, "precision": "float16"}))
    large = [t for t in result.model.main.tensors() if t.constant is not None and t.constant.size > 1000]
    assert [t.element for t in large] == [ElementType.FLOAT16]
