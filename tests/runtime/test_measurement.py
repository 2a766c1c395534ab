"""Measurements come whole, from a process of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fidelite.errors import BadSample, RuntimeCrash, UsageError
from fidelite.runtime import Measurement, measure
from tests.runtime import tiny

FEEDS = {"x": np.ones((1, 4), np.float32)}


@pytest.mark.parametrize(
    ("kind", "model", "runtime"),
    [("litert", tiny.add_model(), "LiteRT"), ("onnx", tiny.onnx_add(), "ONNX Runtime")],
)
def test_measures(tmp_path: Path, kind: Any, model: bytes, runtime: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(model)
    ballast = np.ones(40_000_000)  # 320 MB that must not be taken for the worker's
    found = measure(path, FEEDS, kind=kind, runs=5, warmup=1)
    assert ballast[-1] == 1
    assert found.runtime == runtime
    assert len(found.runs) == 5
    assert min(*found.runs, found.load, found.first) > 0
    if sys.platform in ("linux", "win32"):
        assert found.resting_memory is not None
        assert found.peak_memory is not None
        assert 1_000_000 < found.resting_memory <= found.peak_memory < 300_000_000
    assert found.to_json()["median_seconds"] == found.median


def test_failures_are_told(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny.add_model())
    with pytest.raises(BadSample):
        measure(path, {"q": FEEDS["x"]}, kind="litert")
    with pytest.raises(UsageError):
        measure(path, FEEDS, kind="litert", runs=0)
    with pytest.raises(RuntimeCrash, match=r"ONNX Runtime refused when loading 'm\.tflite': ONNX Runtime cannot"):
        measure(path, FEEDS, kind="onnx")


def test_percentiles_are_nearest_ranks() -> None:
    found = Measurement("LiteRT", 1, 1.0, 1.0, tuple(float(i) for i in range(10, 0, -1)), None, None)
    assert [found.percentile(p) for p in (0.0, 0.1, 0.5, 0.9, 0.91, 1.0)] == [1, 1, 5, 9, 10, 10]
    assert found.median == 5.5
