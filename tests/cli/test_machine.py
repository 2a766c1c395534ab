"""`fidelite ops`, `doctor` and `demo`, and how the command line starts."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fidelite as package
from fidelite import health
from fidelite.examples.face_parsing import MODEL_PATH
from tests.cli.support import data, fidelite, flat, segmenter


def test_ops() -> None:
    rows = data("ops")
    assert {"op": "Relu", "domain": "ai.onnx"}.items() <= next(r for r in rows if r["op"] == "Relu").items()
    assert {r["op"] for r in data("ops", "relu")} >= {"Relu", "LeakyRelu"}
    shown = flat(fidelite("ops", "Clip").output)
    assert "Clip" in shown
    assert "no operator called 'Nothing' converts" in fidelite("ops", "Nothing").output


def test_doctor() -> None:
    checks = {c["name"]: c for c in data("doctor")}
    assert checks["Python"]["status"] == "good"
    for name in ("ONNX Runtime runs", "LiteRT runs", "conversion and proof"):
        assert checks[name]["status"] == "good", checks[name]
    assert "fit to convert and to prove" in fidelite("doctor").output


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "ai-edge-litert":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "onnx" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    required = ["onnx>=1.19", "ai-edge-litert>=2.1.6", 'torch>=2; extra == "torch"']
    monkeypatch.setattr(metadata, "requires", lambda _: required)
    shown = flat(fidelite("doctor", code=2).output)
    assert "2 things wrong" in shown
    assert "0.1, older than 1.19" in shown
    assert '-m pip install --upgrade "ai-edge-litert>=2.1.6"' in shown
    assert "LiteRT runs" not in shown


def test_doctor_in_a_narrow_console(monkeypatch: pytest.MonkeyPatch) -> None:
    class Console:
        encoding = "cp1252"

    monkeypatch.setattr(sys, "stdout", Console())
    found = next(c for c in health.doctor() if c.name == "console")
    assert found.status == "note"
    assert "PYTHONUTF8=1" in found.remedy


def test_demo_with_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fidelite.examples.face_parsing import demo as module

    monkeypatch.setattr(module, "MODEL_PATH", segmenter(tmp_path, 19, 64))
    shown = flat(fidelite("demo", "--out", tmp_path / "left here").output)
    folder = tmp_path / "left here"
    for name in ("segmenter.tflite", "face.png", "face.overlay.png", "face.colour.png", "report.html"):
        assert (folder / name).is_file(), name
        assert name in shown
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "proven" in shown


@pytest.mark.skipif(not MODEL_PATH.is_file(), reason="the embedded network is not there")
def test_demo(tmp_path: Path) -> None:
    found = package.demo(tmp_path, runs=2)
    assert found.agreement > 0.8
    json.dumps(found.to_json())


def test_demo_without_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fidelite.examples.face_parsing import demo as module

    monkeypatch.setattr(module, "MODEL_PATH", tmp_path / "none.onnx")
    assert "F221" in fidelite("demo", "--out", tmp_path / "x", code=2).output


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["convert", "-h"], ["demo", "-h"]])
def test_start_loads_little(arguments: list[str]) -> None:
    heavy = ["onnx", "onnx_ir", "onnxruntime", "ai_edge_litert", "numpy", "rich", "PIL"]
    code = (
        f"import sys; sys.argv = ['fidelite', *{arguments!r}]\n"
        "from fidelite.cli import main\n"
        f"try:\n    main()\nexcept SystemExit as e:\n    print([n for n in {heavy!r} if n in sys.modules], e.code)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[] 0"


def test_as_a_module() -> None:
    run = subprocess.run([sys.executable, "-m", "fidelite", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"fidelite, version {package.__version__}"


def test_names_that_a_console_cannot_show(tmp_path: Path) -> None:
    """A Western Windows console and a pipe of ASCII take every output."""
    folder = tmp_path / "\u6a21\u578b"
    folder.mkdir()
    model = segmenter(folder)
    for encoding in ("cp1252", "ascii"):
        environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        command = [sys.executable, "-m", "fidelite", "inspect", str(model)]
        run = subprocess.run(command, capture_output=True, env=_environment(environment), check=True)
        assert b"segmenter.onnx" in run.stdout


def _environment(more: dict[str, str]) -> dict[str, str]:
    import os

    return dict(os.environ) | more
