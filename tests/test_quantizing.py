"""Integer precisions through the pipeline: what is needed, what is proven, what is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import fidelite
from fidelite.errors import BadSample, UsageError
from fidelite.runtime import LiteRtSession
from tests.optimize.classics import Net

Array = np.ndarray[Any, Any]


def network() -> onnx.ModelProto:
    n = Net((1, 3, 16, 16))
    x = n.add("Relu", n.conv("x", 3, 16))
    x = n.add("GlobalAveragePool", n.add("Relu", n.conv(x, 16, 32)))
    return n.model(n.add("Gemm", n.add("Flatten", x), n.w(10, 32), n.w(10), transB=1))


def boxes_and_scores(*, reads: bool) -> onnx.ModelProto:
    n = Net((1, 4, 20))
    boxes = n.add("Mul", "x", n.constant(np.array(200, np.float32)))
    joined = n.add("Concat", boxes, n.add("Sigmoid", n.add("Abs", "x")), axis=1)
    return n.model(n.add("Conv", joined, n.w(4, 8, 1), n.w(4)) if reads else joined)


def samples(count: int = 16, shape: tuple[int, ...] = (1, 3, 16, 16)) -> Iterator[list[Array]]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield [(rng.standard_normal(shape) + rng.standard_normal()).astype(np.float32)]


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_a_function_that_yields_samples_is_enough(precision: Any) -> None:
    told: list[tuple[str, float]] = []
    result = fidelite.convert(network(), precision=precision, calibration=samples,
                              on_progress=lambda stage, done: told.append((stage, done)))
    assert result.verification is not None
    assert result.verification.proven
    assert result.float_verification is not None
    assert result.float_verification.proven
    assert any(stage == "calibrate" for stage, _ in told)
    data = fidelite.describe(result)["quantization"]
    assert data["calibration"]["samples"] == 13
    assert data["held_out"]
    assert data["native"] >= 4
    assert len(result.bytes) < 0.6 * len(fidelite.convert(network()).bytes)


def test_without_data_the_line_to_paste() -> None:
    for precision in ("int8", "int16x8"):
        with pytest.raises(BadSample) as error:
            fidelite.convert(network(), precision=precision)
        assert error.value.code == "F239"
        assert "--calibration" in error.value.remedy
    with pytest.raises(UsageError):
        fidelite.convert(network(), io="int8")


def test_made_up_inputs_only_by_name() -> None:
    result = fidelite.convert(network(), precision="int8", calibration="synthetic")
    assert "W463" in {n.code for n in result.notices}
    assert "made-up" in result.quantization.quantized.seen["source"]  # type: ignore[union-attr]


@pytest.mark.parametrize("io", ["int8", "uint8"])
def test_inputs_and_outputs_as_integers(io: Any, tmp_path: Path) -> None:
    result = fidelite.convert(network(), precision="int8", calibration=samples, io=io)
    path = result.save(tmp_path / "small.tflite")
    with LiteRtSession(path) as session:
        assert {p.dtype for p in (*session.inputs, *session.outputs)} == {io}
    scales = fidelite.describe(result)["quantization"]["scales"]
    assert len(scales) == 2
    assert all(s["type"] == io and s["scale"] > 0 for s in scales.values())
    source = tmp_path / "small.onnx"
    onnx.save(network(), source)
    np.savez(tmp_path / "samples.npz", x=np.stack([s[0] for s in samples(4)]))
    assert fidelite.verify(source, path, samples=tmp_path / "samples.npz").proven


def test_unlike_ranges_stay_float_or_are_warned_of() -> None:
    def data() -> Iterator[list[Array]]:
        return samples(8, (1, 4, 20))

    result = fidelite.convert(boxes_and_scores(reads=False), precision="int8", calibration=data, io="int8")
    assert {"N465", "N466"} <= {n.code for n in result.notices}
    assert result.model.main.outputs[0].element.is_float
    with_reader = fidelite.convert(boxes_and_scores(reads=True), precision="int8", calibration=data, verify=False)
    assert "W464" in {n.code for n in with_reader.notices}


@pytest.mark.parametrize("options", [{"ranges": "widest"}, {"io": "int4"}, {"improve": ("luck",)}])
def test_unknown_words_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        fidelite.convert(network(), precision="int8", calibration=samples, **options)
    assert error.value.code == "F205"


@pytest.mark.parametrize("xnnpack", [True, False])
def test_weights_alone_as_integers(xnnpack: bool, tmp_path: Path) -> None:
    result = fidelite.convert(network(), precision="weight-int8")
    assert result.verification is not None
    assert result.verification.proven
    stored = [o.inputs[0] for o in result.model.main.operators if o.op == "DEQUANTIZE"]
    assert stored
    assert {t.element.name for t in stored if t is not None} == {"INT8"}
    sample = {"x": next(samples())[0]}
    exact = fidelite.convert(network()).save(tmp_path / "float32.tflite")
    answers: list[Array] = []
    for path in (exact, result.save(tmp_path / "small.tflite")):
        with LiteRtSession(path, xnnpack=xnnpack) as session:
            answers.append(next(iter(session.run(sample).values())))
    assert np.max(np.abs(answers[1] - answers[0])) < 0.02 * np.max(np.abs(answers[0]))


def test_improvements_by_name() -> None:
    for word, count in (("none", 0), ("all", 1), ("bias-correction", 1), ("mse-scales", 0)):
        result = fidelite.convert(network(), precision="int8", calibration=samples, improve=word)
        assert len(fidelite.describe(result)["quantization"]["improvements"]) == count
