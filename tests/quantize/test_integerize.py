"""Quantized models become integer operators, without float islands, and give what ONNX Runtime gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

import fidelite
from fidelite.errors import QuantizationError
from fidelite.pipeline import Conversion, convert, options_of
from fidelite.quantize.integer import annotate, integerize
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model, Quantization, Tensor
from fidelite.tflite.grid import Grid
from fidelite.tflite.types import ElementType
from fidelite.tflite.verifier import check_model
from tests.lower.support import Array, run_onnx, tflite_bytes
from tests.optimize.support import graph_of, op_list, ops_of, run
from tests.quantize.networks import Qdq, residual_network

_I8, _U8, _I16 = ElementType.INT8, ElementType.UINT8, ElementType.INT16
_FLOAT_OPS = {"QUANTIZE", "DEQUANTIZE"}


def _converted(model: object) -> Conversion:
    return convert(model, options_of({"verify": False}))  # type: ignore[arg-type]


def _islands(model: Model) -> Counter[str]:
    """Operators that compute in float32."""
    return Counter(o.op for o in model.main.operators if o.op not in _FLOAT_OPS and any(
        t.element is ElementType.FLOAT32 for t in o.outputs))


@pytest.mark.parametrize("activations", [np.int8, np.uint8])
@pytest.mark.parametrize("xnnpack", [True, False])
def test_a_network_is_integer_throughout(activations: type[np.integer[Any]], xnnpack: bool) -> None:
    source = residual_network(3, activations)
    result = _converted(source)
    assert not _islands(result.model), op_list(result.model)
    assert ops_of(result.model)["QUANTIZE"] <= 3  # the input's, and where grids differ
    assert ops_of(result.model)["DEQUANTIZE"] == 1
    assert result.integers is not None
    assert result.integers.kept == []
    x = np.random.default_rng(1).standard_normal((1, 3, 12, 12)).astype(np.float32) * 2
    wanted = run_onnx(source, {"x": x})
    found = run(result.bytes, {"x": x}, xnnpack=xnnpack)
    for name, want in wanted.items():
        assert np.max(np.abs(found[name] - want)) <= 3 * 0.02 + 1e-6  # a few roundings to either side add up
        assert np.std(want) > 10 * 0.02


def test_weights_keep_their_integers() -> None:
    q = Qdq(0)
    x = q.rounded("x", 0.05)
    y = q.rounded(q.conv(x, 0.05, 3, 4), 0.1)
    source = q.model((1, 3, 6, 6), [y])
    result = _converted(source)
    conv = next(o for o in result.model.main.operators if o.op == "CONV_2D")
    w, b = conv.inputs[1], conv.inputs[2]
    assert w is not None
    assert b is not None
    assert w.constant is not None
    assert b.constant is not None
    stored = [numpy_helper.to_array(t) for t in source.graph.initializer if t.data_type in (3, 6)]
    weights = next(v for v in stored if v.size == 4 * 3 * 9)
    np.testing.assert_array_equal(w.constant.numpy(), weights.reshape(4, 3, 3, 3).transpose(0, 2, 3, 1))
    assert any(np.array_equal(b.constant.numpy(), v) for v in stored)
    assert w.quantization is not None
    assert w.quantization.axis == 0
    assert len(w.quantization.scale) == 4


def test_asymmetric_uint8_weights_stay_uint8() -> None:
    q = Qdq(0, np.uint8)
    x = q.rounded("x", 0.05, 120)
    w, _ = q.weights((4, 3, 3, 3), axis=None, dtype=np.uint8, zero_point=117)
    source = q.model((1, 3, 6, 6), [q.rounded(q.node("Conv", [x, w]), 0.1, 100)])
    result = _converted(source)
    conv = next(o for o in result.model.main.operators if o.op == "CONV_2D")
    assert [t.element for t in conv.inputs[:2] if t is not None] == [_U8, _U8]
    feeds: dict[str, Array] = {"x": np.random.default_rng(0).standard_normal((1, 3, 6, 6)).astype(np.float32)}
    for xnnpack in (True, False):
        found, want = run(result.bytes, feeds, xnnpack=xnnpack), run_onnx(source, feeds)
        for name in want:
            assert np.max(np.abs(found[name] - want[name])) <= 0.1 + 1e-6


def test_a_factor_between_roundings_changes_no_number() -> None:
    """HardSigmoid is a sum, clipped, times 1/6: its sum has the product's grid."""
    q = Qdq(0)
    x = q.rounded("x", 0.05)
    y = q.rounded(q.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5), 1 / 255, -128)
    source = q.model((1, 3, 6, 6), [y])
    result = _converted(source)
    assert not _islands(result.model), op_list(result.model)
    feeds: dict[str, Array] = {"x": np.random.default_rng(0).standard_normal((1, 3, 6, 6)).astype(np.float32) * 3}
    found, want = run(result.bytes, feeds, xnnpack=True), run_onnx(source, feeds)
    for name in want:
        assert np.max(np.abs(found[name] - want[name])) <= 1 / 255 + 1e-6


def test_what_stays_float_is_told_with_its_reason() -> None:
    q = Qdq(0)
    x = q.rounded("x", 0.05)
    source = q.model((1, 3, 6, 6), [q.rounded(q.node("Sin", [x]), 0.01), q.conv(x, 0.05, 3, 4)])
    result = _converted(source)
    assert result.integers is not None
    reasons = {kept.operator.op: kept.reason for kept in result.integers.kept}
    assert reasons["SIN"] == "LiteRT has no integer kernel for it"
    assert reasons["CONV_2D"] == "its result is not rounded before it is read"  # by what makes the model's output


def test_integers_that_leave_the_model_are_rounded_as_onnx_does() -> None:
    """Ties, and values whose product with 1 / scale is another than their quotient by it."""
    q = Qdq(0)
    scale = np.float32(0.1)
    q.nodes.clear()
    parameters = [q.constant(np.asarray(scale), "s"), q.constant(np.asarray(3, np.int8), "z")]
    source = q.model((64, 64), [q.node("QuantizeLinear", ["x", *parameters])])
    steps = np.random.default_rng(0).integers(-120, 120, (64, 64)).astype(np.float32) + np.float32(0.5)
    x = (steps * scale).astype(np.float32)
    for xnnpack in (True, False):
        found, want = run(_converted(source).bytes, {"x": x}, xnnpack=xnnpack), run_onnx(source, {"x": x})
        for name in want:
            np.testing.assert_array_equal(found[name], want[name])


# -- our own quantization

def _conv_net() -> Model:
    rng = np.random.default_rng(0)

    def build(b: Builder, x: Tensor) -> list[Tensor]:
        w = b.constant(rng.standard_normal((6, 3, 3, 5)).astype(np.float32) * 0.2, "w")
        y = b.relu(b.conv_2d(x, w, b.constant(rng.standard_normal(6).astype(np.float32)), padding=0))
        y = b.pool_2d("MAX_POOL_2D", y, kernel=(2, 2), strides=(2, 2))
        flat = b.reshape(y, (1, 3 * 4 * 6))
        v = b.constant(rng.standard_normal((7, 72)).astype(np.float32) * 0.1, "v")
        z = b.fully_connected(flat, v, None)
        return [b.unary("SIN", z)]

    return graph_of(build, shape=(1, 6, 8, 5))


def _grids(model: Model, element: ElementType = _I8) -> tuple[dict[Tensor, Grid], dict[Tensor, Grid]]:
    activations: dict[Tensor, Grid] = {}
    weights: dict[Tensor, Grid] = {}
    top = 127 if element is _I8 else 32767
    for tensor in model.main.tensors():
        if tensor.element is not ElementType.FLOAT32:
            continue
        if not tensor.is_constant:
            activations[tensor] = Grid.of(element, 6.0 / top, 0)
        elif tensor.name in ("w", "v"):
            assert tensor.constant is not None
            values = tensor.constant.numpy()
            largest = np.max(np.abs(values.reshape(len(values), -1)), axis=1) / 127
            facts = Quantization(tuple(float(s) for s in largest), (0,) * len(values))
            weights[tensor] = Grid(_I8, facts)
    return activations, weights


@pytest.mark.parametrize(("element", "steps"), [(_I8, 4), (_I16, 400)])
def test_annotated_networks_become_integer(element: ElementType, steps: int) -> None:
    plain, model = _conv_net(), _conv_net()
    activations, weights = _grids(model, element)
    assert annotate(model, activations, weights) > 0
    found = integerize(model)
    check_model(model)
    assert found.native == 3  # the convolution, RELU and the linear layer; the pool and the view moved along
    assert [kept.operator.op for kept in found.kept] == ["SIN"]
    assert _islands(model) == {"SIN": 1}, op_list(model)
    assert op_list(model)[0] == "QUANTIZE"
    x = np.random.default_rng(5).uniform(-1, 1, (1, 6, 8, 5)).astype(np.float32)
    for xnnpack in (True, False):
        want, have = (run(tflite_bytes(m), {"x": x}, xnnpack=xnnpack) for m in (plain, model))
        scale = 6.0 / (127 if element is _I8 else 32767)
        assert np.max(np.abs(want["y0"] - have["y0"])) < steps * scale


def test_rounding_that_served_nothing_is_taken_out() -> None:
    def build(b: Builder, x: Tensor) -> list[Tensor]:
        return [b.unary("COS", b.reshape(b.unary("SIN", x), (30, 4)))]

    model = graph_of(build)
    annotate(model, {t: Grid.of(_I8, 0.1) for t in model.main.tensors() if t.element is ElementType.FLOAT32})
    integerize(model)
    check_model(model)
    assert op_list(model) == ["SIN", "RESHAPE", "COS"]


def test_grids_that_do_not_fit_are_refused() -> None:
    model = _conv_net()
    activations, weights = _grids(model)
    value = next(t for t in activations if not t.is_constant)
    kernel = next(iter(weights))
    for grids, more in (({value: Grid(_I8, Quantization((0.1, 0.2), (0, 0)))}, {}),
                        ({value: Grid.of(_I8, 0.0)}, {}), ({value: Grid.of(ElementType.INT32, 0.1)}, {}),
                        ({}, {kernel: Grid(_I8, Quantization((0.1,) * 5, (0,) * 5))})):
        with pytest.raises(QuantizationError) as caught:
            annotate(model, grids, more)
        assert caught.value.code == "F466"


def test_the_whole_conversion_is_proven() -> None:
    result = fidelite.convert(residual_network(3))
    assert result.verification is not None
    assert result.verification.verdict == "proven"


def test_operators_keep_their_nodes() -> None:
    result = _converted(residual_network(0))
    unnamed = [o for o in result.model.main.operators if not o.nodes]
    assert unnamed == []
