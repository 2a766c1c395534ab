"""One picture through several models: what differs is counted, marked and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fidelite
from fidelite.comparing import Comparison
from fidelite.errors import FideliteError
from tests.cli.support import data, segmenter
from tests.cli.support import fidelite as command

_RED = (230, 30, 60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    gradient = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    Image.fromarray(gradient).save(tmp_path / "p.png")
    return tmp_path


def compared(*models: Path, picture: Path) -> Comparison:
    runs: list[tuple[str, Any]] = []
    for model in models:
        with fidelite.Runner(model, normalize={"": fidelite.Normalization()}) as runner:
            runs.append((model.name, runner(picture)))
    return fidelite.compare(runs, runs[0][1].picture)


def reds(path: Path) -> int:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return int((pixels == np.array(_RED)).all(axis=2).sum())


def test_alike(folder: Path) -> None:
    source = segmenter(folder)
    result = fidelite.convert(source).save(folder / "segmenter.tflite")
    found = compared(source, result, picture=folder / "p.png")
    assert [e.run.runtime for e in found.entries] == ["ONNX Runtime", "LiteRT"]
    (difference,) = found.entries[1].differences
    assert difference.max_abs is not None
    assert difference.scale is not None
    assert difference.max_abs < 1e-4 * difference.scale
    differing = found.entries[1].differing
    assert differing is not None
    assert differing.shape == (48, 64)
    assert not differing.any()
    path = found.save(folder, "p")
    assert path == folder / "p.compare.png"
    assert path is not None
    assert reds(path) == 0


def test_another_network(folder: Path) -> None:
    first = segmenter(folder).rename(folder / "first.onnx")
    other = segmenter(folder, activation="Neg")
    found = compared(first, other, picture=folder / "p.png")
    differing = found.entries[1].differing
    assert differing is not None
    assert differing.any()
    assert found.to_json()["models"][1]["pixels"] == {"differing": int(differing.sum()), "of": 48 * 64}
    path = found.save(folder, "p")
    assert path is not None
    assert reds(path) > 0


def test_one_alone(folder: Path) -> None:
    source = segmenter(folder)
    with fidelite.Runner(source) as runner, pytest.raises(FideliteError) as caught:
        fidelite.compare([("a", runner.random())])
    assert caught.value.code == "F230"


def test_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    source = segmenter(folder)
    fidelite.convert(source, verify=False).save(folder / "segmenter.tflite")
    words = ("run", "segmenter.tflite", "--input", "p.png", "--normalize", "imagenet", "--compare", "segmenter.onnx")
    shown = command(*words).output
    assert "0 of 3,072" in shown
    assert "p.compare.png" in shown
    assert [m["runtime"] for m in data(*words)["models"]] == ["ONNX Runtime", "LiteRT"]
    random = data("run", "segmenter.tflite", "--random", "--compare", "segmenter.onnx")
    assert random["written"] == []
    assert random["models"][1]["outputs"][0]["problem"] == ""
