"""`fidelite convert` and `verify`: what is written, what is told, exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fidelite as package
from fidelite.lower import families
from fidelite.lower.registry import REGISTRY
from tests.cli.support import classifier, data, fidelite, flat, segmenter, unknown_op


def test_writes_beside_the_model_and_tells(awkward_folder: Path) -> None:
    model = segmenter(awkward_folder)
    shown = flat(fidelite("convert", model).output)
    target = awkward_folder / "segmenter.tflite"
    assert target.is_file()
    assert "segmenter.onnx -> segmenter.tflite proven: LiteRT gives what ONNX Runtime gives" in shown
    for told in ("TRANSPOSEs 2 left", "XNNPACK takes", "scores proven", "same argmax", "[1, 4, 32, 32]", "Time"):
        assert told in shown
    assert f'fidelite run "{target}" --input PICTURE.jpg' in shown


def test_json(tmp_path: Path) -> None:
    found = data("convert", segmenter(tmp_path), "-o", tmp_path / "x.tflite")
    assert found["result"]["bytes"] == (tmp_path / "x.tflite").stat().st_size
    assert found["verification"]["verdict"] == "proven"
    assert [o["name"] for o in found["result"]["outputs"]] == ["scores"]
    assert found["result"]["xnnpack"]["total"] == found["result"]["operators"]
    assert set(found["seconds"]) >= {"read", "lower", "optimize", "write", "verify"}


def test_not_verified_is_said(tmp_path: Path) -> None:
    assert "not proven (--no-verify)" in fidelite("convert", segmenter(tmp_path), "--no-verify").output
    shown = flat(fidelite("inspect", tmp_path / "segmenter.tflite").output)
    assert "not verified (--no-verify)" in shown


def test_reports(tmp_path: Path) -> None:
    model = segmenter(tmp_path)
    fidelite("convert", model, "--report", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "segmenter.onnx -&gt; segmenter.tflite" in page
    assert "src=" not in page
    fidelite("convert", model, "--report", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["verification"]["proven"]
    assert "[" not in fidelite("convert", model, "--report", tmp_path / "r.pdf", code=2).stdout


def test_edge_options(tmp_path: Path) -> None:
    found = data(
        "convert", segmenter(tmp_path), "--layout", "input=nhwc", "--normalize", "imagenet", "--argmax", "scores",
        "--precision", "float16",
    )  # fmt: skip
    assert found["result"]["inputs"][0]["shape"] == [1, 32, 32, 3]
    assert found["result"]["outputs"][0] == {"name": "scores", "type": "int32", "shape": [1, 32, 32]}
    verified = fidelite("verify", tmp_path / "segmenter.onnx", tmp_path / "segmenter.tflite").output
    assert "proven: both give the same" in verified


def test_mean_std_scale(tmp_path: Path) -> None:
    fidelite("convert", segmenter(tmp_path), "--mean", "10,20,30", "--std", "input=2", "--mean", "input=1", code=2)
    fidelite("convert", segmenter(tmp_path), "--mean", "10,20,30", "--std", "2", "--scale", "1/2")
    edge = data("inspect", tmp_path / "segmenter.tflite")["manifest"]["edge"]["inputs"]["input"]
    assert edge["normalization"] == {"mean": [10.0, 20.0, 30.0], "std": [2.0], "scale": 0.5}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shape", "1,3"],
        ["--shape", "input=1,x"],
        ["--layout", "input=nwhc"],
        ["--layout", "input"],
        ["--normalize", "cityscapes"],
        ["--mean", "a,b"],
        ["--scale", "1/0"],
        ["--scale", "1,2"],
        ["--normalize", "imagenet", "--mean", "1"],
        ["--precision", "float8"],
        ["--bogus"],
    ],
)
def test_words_that_cannot_be_read(arguments: list[str], tmp_path: Path) -> None:
    fidelite("convert", segmenter(tmp_path), *arguments, code=2)


def test_names_that_do_not_exist(tmp_path: Path) -> None:
    model = segmenter(tmp_path)
    assert "it has 'scores'" in flat(fidelite("convert", model, "--outputs", "score", code=2).output)
    assert "F202" in fidelite("convert", model, "--shape", "inpt=1,3,32,32", code=2).output
    assert "F207" in fidelite("convert", model, "--argmax", "score", code=2).output


def test_precision_that_is_not_there(tmp_path: Path) -> None:
    shown = flat(fidelite("convert", segmenter(tmp_path), "--precision", "weight-int4", code=4).output)
    assert "F461" in shown
    assert not (tmp_path / "segmenter.tflite").exists()


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    model = segmenter(tmp_path)
    assert "F211" in fidelite("convert", model, "-o", tmp_path, code=2).output
    assert "F212" in fidelite("convert", model, "-o", tmp_path / "no" / "x.tflite", code=2).output
    before = model.read_bytes()
    assert "F210" in fidelite("convert", model, "-o", model, code=2).output
    assert model.read_bytes() == before


def test_models_that_are_none(tmp_path: Path) -> None:
    text = tmp_path / "a.onnx"
    text.write_text("<html>not found</html>", "utf-8")
    assert "F301" in fidelite("convert", text, code=3).output
    fidelite("convert", classifier(tmp_path))
    assert "F304" in fidelite("convert", tmp_path / "classifier.tflite", code=3).output
    assert "F305" in fidelite("convert", tmp_path / "none.onnx", code=3).output


def test_all_refusals_at_once(tmp_path: Path) -> None:
    shown = flat(fidelite("convert", unknown_op(tmp_path), code=4).output)
    assert "F410" in shown
    assert "2 nodes: 'one', 'two'" in shown
    kinds = [e["kind"] for e in data("convert", unknown_op(tmp_path), code=4)["errors"]]
    assert kinds == ["UnsupportedOp", "UnsupportedOp"]


def test_functions_and_drive_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = data("convert", "package.module:factory", code=2)["errors"][0]["code"]
    assert found == ("F251" if find_spec("torch") else "F250")
    for path in ("C:\\models\\x.onnx", "C:x.onnx", "d:/a.onnx"):
        assert "F305" in fidelite("convert", path, code=3).output


@pytest.fixture
def wrong_relu() -> Iterator[None]:
    """A lowering that is wrong: Relu as if it were Abs."""
    families.load()
    relu, rows = REGISTRY.find("", "Relu", 14), REGISTRY.find("", "Abs", 13)
    assert relu is not None
    assert rows is not None
    REGISTRY.replace(replace(relu, function=rows.function))
    yield
    REGISTRY.replace(relu)


@pytest.mark.usefixtures("wrong_relu")
def test_nothing_is_published_that_is_not_proven(tmp_path: Path) -> None:
    model = segmenter(tmp_path)
    shown = flat(fidelite("convert", model, code=5).output)
    assert "F510" in shown
    assert "Nothing was published" in shown
    assert not (tmp_path / "segmenter.tflite").exists()
    kept = json.loads((tmp_path / "segmenter.failed.json").read_text("utf-8"))
    assert kept["verification"]["verdict"] == "mismatch"
    assert kept["error"]["code"] == "F510"
    assert "fidelite verify" in shown
    assert "segmenter.failed.tflite" in shown
    found = fidelite("verify", model, tmp_path / "segmenter.failed.tflite", "--bisect", code=5).output
    assert "results differ" in found
    assert "act" in found[found.index("First step") :]


def test_verify_as_data(tmp_path: Path) -> None:
    model = classifier(tmp_path)
    fidelite("convert", model)
    found = data("verify", model, tmp_path / "classifier.tflite")
    assert found["verification"]["verdict"] == "proven"
    np.savez(tmp_path / "s.npz", x=np.random.default_rng(0).random((4, 1, 3, 16, 16), np.float32))
    found = data("verify", model, tmp_path / "classifier.tflite", "--samples", tmp_path / "s.npz")
    assert found["verification"]["samples"] == 4
    assert "F230" in fidelite("verify", model, tmp_path / "classifier.tflite", "--samples", model, code=2).output


def test_a_fault_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_over(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(package, "convert", fall_over)
    shown = fidelite("convert", segmenter(tmp_path), code=1).output
    assert "F100" in shown
    assert "ZeroDivisionError: oh" in shown
    assert "fidelite doctor" in shown
    assert "Traceback" not in shown
    assert "Traceback" in fidelite("convert", segmenter(tmp_path), "--debug", code=1).output


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "convert", interrupt)
    assert fidelite("convert", segmenter(tmp_path), code=130).output.strip() == "stopped"
