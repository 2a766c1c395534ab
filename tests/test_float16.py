"""The simulation of float16, and what a conversion for the GPU tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import fidelite
from fidelite.float16 import LARGEST, probe_magnitudes, round_values
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.verifier import check_model
from tests.source.models import graph_model, info, save
from tests.tflite.graphs import build, run

F32 = np.float32


def _network(b: Builder, x: Tensor) -> Tensor:
    weights = np.random.default_rng(3).normal(size=(5, 3, 3, 4)).astype(F32)
    y = b.conv_2d(x, b.constant(weights), b.constant(np.full(5, 0.1, F32)))
    return b.unary("TANH", b.reduce("MEAN", y, (1, 2), keep_dims=False))


def _x(shape: tuple[int, ...] = (1, 6, 6, 4)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(F32)


def test_magnitudes() -> None:
    x = _x()
    model = build(_network, (F32, x.shape))
    spots = probe_magnitudes(model)
    model.main.sort()
    check_model(model)
    found = dict(zip([s.output for s in spots], (float(v) for v in run(model, [x])[0]), strict=True))
    told = {(s.what, s.op): found[s.output] for s in spots}
    assert set(told) == {("value", "input"), ("value", "CONV_2D"), ("value", "MEAN"), ("value", "TANH"),
                         ("sum", "CONV_2D")}
    np.testing.assert_allclose(told["value", "input"], np.abs(x).max(), rtol=1e-6)
    weights = np.random.default_rng(3).normal(size=(5, 3, 3, 4)).astype(F32)
    windows = np.lib.stride_tricks.sliding_window_view(x[0], (3, 3), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    sums = np.einsum("ijhwc,ohwc->ijo", np.abs(windows), np.abs(weights)) + 0.1
    np.testing.assert_allclose(told["sum", "CONV_2D"], sums.max(), rtol=1e-5)
    values = np.einsum("ijhwc,ohwc->ijo", windows, weights) + 0.1
    np.testing.assert_allclose(told["value", "CONV_2D"], np.abs(values).max(), rtol=1e-5)


def test_rounding_is_numpys() -> None:
    model = build(lambda b, x: b.binary("MUL", x, b.constant(np.array([0.1, 3.3333, 70000.0], F32))), (F32, (2, 3)))
    x = _x((2, 3))
    assert round_values(model) == 2
    model.main.sort()
    check_model(model)
    with np.errstate(over="ignore"):
        half = np.array([0.1, 3.3333, 70000.0], F32).astype(np.float16).astype(F32)
        wanted = (x.astype(np.float16).astype(F32) * half).astype(np.float16).astype(F32)
    np.testing.assert_array_equal(run(model, [x])[0][0], wanted)


def test_integers_are_left_alone() -> None:
    model = build(lambda b, x: b.unary("NEG", x), (np.int32, (2, 3)))
    assert round_values(model) == 0
    assert probe_magnitudes(model) == []


def _convert(folder: Path, nodes: list[onnx.NodeProto], shape: list[int], out: list[int],
             *weights: onnx.TensorProto, **options: Any) -> fidelite.Conversion:
    model = graph_model(nodes, [info("x", shape)], [info("y", out)], weights)
    return fidelite.convert(save(model, folder / "m.onnx"), target="gpu", **options)


def _codes(result: fidelite.Conversion) -> list[str]:
    return [n.code for n in result.notices]


def test_nothing_to_tell(tmp_path: Path) -> None:
    result = _convert(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], [1, 4, 4, 3], [1, 4, 4, 3])
    assert not {"W474", "W475"} & set(_codes(result))
    assert result.device["verification"]["proven"]
    assert result.device["limit"] == LARGEST
    assert result.manifest["device"]["proof"]["result"] == "LiteRT with every value rounded to float16"


def test_overflow_is_told(tmp_path: Path) -> None:
    large = numpy_helper.from_array(np.array(50000.0, F32), "k")
    small = numpy_helper.from_array(np.array(1e-4, F32), "s")
    nodes = [helper.make_node("Mul", ["x", "k"], ["m"], name="large"), helper.make_node("Sin", ["m"], ["n"]),
             helper.make_node("Add", ["n", "m"], ["a"]), helper.make_node("Mul", ["a", "s"], ["y"])]
    result = _convert(tmp_path, nodes, [1, 4, 4, 3], [1, 4, 4, 3], large, small)
    assert result.verification is not None
    assert result.verification.proven
    notice = next(n for n in result.notices if n.code == "W474")
    assert "65504" in notice.text
    assert "setPrecisionLossAllowed" in notice.remedy
    assert result.device["overflow"][0]["reaches"] > LARGEST
    assert "W475" in _codes(result)


def test_sums_that_cancel_are_told(tmp_path: Path) -> None:
    """The result is small, and what is added up is not."""
    row = np.tile(np.array([30000.0, -30000.0], F32), 8)
    weights = numpy_helper.from_array(np.stack([row, row[::-1]], axis=1), "w")
    nodes = [helper.make_node("Concat", ["x", "x"], ["c"], axis=2), helper.make_node("Reshape", ["c", "s"], ["r"]),
             helper.make_node("MatMul", ["r", "w"], ["y"])]
    shape = numpy_helper.from_array(np.array([1, 16], np.int64), "s")
    result = _convert(tmp_path, nodes, [1, 8, 1], [1, 2], weights, shape)
    assert result.device["sums"]
    assert result.device["sums"][0]["reaches"] > LARGEST


def test_pools_are_told(tmp_path: Path) -> None:
    large = numpy_helper.from_array(np.array(20000.0, F32), "k")
    nodes = [helper.make_node("Mul", ["x", "k"], ["m"]), helper.make_node("MaxPool", ["m"], ["y"], kernel_shape=[2, 2])]
    result = _convert(tmp_path, nodes, [1, 3, 6, 6], [1, 3, 5, 5], large)
    assert result.device["pools"]
    assert any("-10000" in n.text for n in result.notices if n.code == "W474")


def test_not_without_a_proof(tmp_path: Path) -> None:
    result = _convert(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], [1, 8], [1, 8], verify=False)
    assert result.device == {}
