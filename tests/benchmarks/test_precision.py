"""The figures that precisions are judged by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fidelite
from benchmarks.precision import page
from benchmarks.precision.faces import losses, mean_iou
from benchmarks.precision.judge import answers, judge
from tests.optimize.classics import Net


def test_mean_iou_over_the_classes_that_occur() -> None:
    counts = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    assert mean_iou(counts) == pytest.approx((8 / 11 + 9 / 12) / 2)


def test_what_is_lost_and_how_sure_that_is() -> None:
    good, worse = np.array([[9, 1], [1, 9]]), np.array([[6, 4], [4, 6]])
    same, lost = losses(np.stack([np.stack([good] * 5), np.stack([good] * 5), np.stack([worse] * 5)]))
    assert same["lost"] == same["low"] == same["high"] == 0
    assert lost["lost"] == pytest.approx(9 / 11 - 6 / 14)
    assert lost["low"] <= lost["lost"] <= lost["high"]


def test_a_file_against_itself_and_against_a_smaller_one(tmp_path: Path) -> None:
    net = Net((1, 3, 16, 16))
    model = net.model(net.add("Relu", net.conv("x", 3, 64)))
    whole = fidelite.convert(model).save(tmp_path / "float.tflite")
    small = fidelite.convert(model, precision="dynamic-int8").save(tmp_path / "int8.tflite")
    draw = np.random.default_rng(0)
    name, = answers(whole, [{"x": draw.standard_normal((1, 3, 16, 16)).astype(np.float32)}])[0]
    samples: list[dict[str, Any]] = [{"x": draw.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(3)]
    itself = judge(whole, whole, samples)["outputs"][name]
    assert itself["sqnr"] is None
    assert itself["argmax"] == 1
    other = judge(whole, small, samples)["outputs"][name]
    assert 20 < other["sqnr"] < 80
    assert other["cosine"] > 0.99


def test_the_page_tells_a_reason_in_place_of_figures() -> None:
    row = {"bytes": 100, "usage": {"cpu": 1.0, "peak": 5e6}, "outputs": {
        "y": {"sqnr": 30.0, "cosine": 0.9, "argmax": None}, "z": {"sqnr": None, "cosine": 1.0, "argmax": 0.5}}}
    modes = {"int8": {"fidelite": row, "litert-quantizer": {"reason": "no | way"}}}
    results = {"machine": {"system": "S", "cores": 2, "load_before": 0.0}, "peer": "p",
               "subjects": {"s": {"title": "T", "float_bytes": 400, "modes": modes}}}
    text = page.text(results)
    assert "| int8 | fidelite | 0.00 MB | 0.250 | 30.0 | 0.9000 | 50.0 % |" in text
    assert "no \\| way" in text
