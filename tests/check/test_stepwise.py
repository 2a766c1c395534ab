"""A model that came quantized is proven step by step: rounding may part by one step, and a fault is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import fidelite
from fidelite.check.grids import as_stored, step_size
from fidelite.check.tolerance import Tolerance
from fidelite.errors import Mismatch
from fidelite.pipeline import Conversion, convert, options_of
from fidelite.tflite.constant import Apply
from fidelite.tflite.graph import Operator, Quantization, Tensor
from fidelite.tflite.types import ElementType
from tests.quantize.networks import residual_network


def _converted(model: onnx.ModelProto) -> Conversion:
    return convert(model, options_of({"verify": False}))


def _tampered(result: Conversion, op: str) -> Operator:
    """Change the weights (CONV_2D, FULLY_CONNECTED), or make a SUB of an ADD."""
    operator = next(o for o in result.model.main.operators if o.op == op)
    if op == "ADD":
        operator.op = "SUB"
        return operator
    weights = operator.inputs[1]
    assert weights is not None
    assert weights.constant is not None

    weights.constant = weights.constant.then(Apply("fault", lambda array: array ^ 0x3F))
    return operator


@pytest.mark.parametrize("activations", [np.int8, np.uint8])
def test_a_right_result_is_proven_whole_and_by_steps(activations: type[np.int8] | type[np.uint8],
                                                     tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    onnx.save(residual_network(1, activations), source)
    result = fidelite.convert(source)
    assert result.verification is not None
    assert result.verification.verdict == "proven"
    assert {o.tolerance.name for o in result.verification.outputs} == {"quantized-source"}
    path = result.save(tmp_path / "result.tflite")
    assert fidelite.verify(source, path).proven
    found = fidelite.verify(source, path, bisect=True)
    assert found.bisected
    assert found.divergence is None


@pytest.mark.parametrize("op", ["CONV_2D", "ADD", "FULLY_CONNECTED"])
def test_a_planted_fault_is_a_mismatch_and_named(op: str, tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    onnx.save(residual_network(1), source)
    result = _converted(onnx.load(source))
    operator = _tampered(result, op)
    path = result.save(tmp_path / "result.tflite")
    found = fidelite.verify(source, path)
    assert not found.proven
    assert found.verification.verdict == "mismatch"
    with pytest.raises(Mismatch):
        found.verification.raise_for_verdict()
    bisected = fidelite.verify(source, path, bisect=True)
    assert bisected.divergence is not None
    assert set(bisected.divergence.nodes) & set(operator.nodes)


def test_the_bounds_tell_an_unrelated_result() -> None:
    """Two samples of one distribution differ by 1.4 times its variation."""
    tolerance = Tolerance.for_precision("quantized-source")
    assert tolerance.rms_of_variation < 2 ** 0.5
    assert tolerance.cosine is not None
    assert tolerance.cosine > 0.5


def test_steps_of_grids() -> None:
    stored = Tensor("q", ElementType.INT8, (3,), quantization=Quantization((0.1,), (3,)))
    value = Tensor("x", ElementType.FLOAT32, (3,))
    assert step_size(stored) == 1.0
    assert step_size(value) is None
    value.producer = Operator("DEQUANTIZE", [stored], [value])
    assert step_size(value) == 0.1
    source = np.array([0, 128, 255], np.uint8)
    np.testing.assert_array_equal(as_stored(source, stored), np.array([-128, 0, 127], np.int8))
