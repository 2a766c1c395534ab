"""The test script that users bring runs unchanged on a converted file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fidelite
from tests.docs.blocks import blocks
from tests.docs.test_python_docs import segmentation_network
from tests.house import ROOT


def test_the_users_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    source = segmentation_network(Path("face_parsing.onnx"), size=512)
    fidelite.convert(source, verify=False).save("face_parsing.tflite")
    (script,) = blocks(ROOT / "docs" / "coming-from-onnx-tf.md", "python")
    names: dict[str, Any] = {}
    exec(compile(script.text, "script", "exec"), names)
    assert capsys.readouterr().out.startswith("[  1   3 512 512] <class 'numpy.float32'>")
    assert names["output_data"].shape == (1, 19, 512, 512)
    assert names["output_details"][0]["name"] == "output"
