"""What docs/windows.md promises about paths and consoles, as far as it can be tested on any system."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fidelite
from fidelite.options import factory_of
from tests.house import PACKAGE, ROOT
from tests.source.models import external_model
from tests.test_windows_paths import STORE

PAGE = (ROOT / "docs" / "windows.md").read_text("utf-8")


@pytest.mark.parametrize("place", ["awkward_folder", "deep_folder"])
def test_convert_verify_and_run(place: str, request: pytest.FixtureRequest) -> None:
    """Weights in a file of their own, a proof, a file, and a run, all in such a folder."""
    folder: Path = request.getfixturevalue(place)
    source = external_model(folder)
    result = fidelite.convert(source).save(folder / "out 模型.tflite")
    assert fidelite.verify(source, result).proven
    with fidelite.Runner(result) as runner:
        assert runner.random().outputs["y"].shape == (1, 4, 6, 6)


@pytest.mark.parametrize("path", [r"C:\models\face.onnx", "C:/models/face.onnx", r"D:model", "C:face"])
def test_drive_letters_are_no_modules(path: str) -> None:
    assert factory_of(path) is None


def test_western_console(awkward_folder: Path) -> None:
    """Names that cp1252 has not come out with question marks."""
    source = external_model(awkward_folder).rename(awkward_folder / "模型 ü.onnx")
    console = {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-m", "fidelite", "inspect", str(source)]
    run = subprocess.run(command, capture_output=True, env=dict(os.environ) | console, check=False)
    assert run.returncode == 0, run.stderr
    assert "?? ü.onnx" in run.stdout.decode("cp1252")


def test_figures_of_the_page() -> None:
    length, name = map(int, re.findall(r"alone takes (\d+) characters for a user name of\s+(\d+)", PAGE)[0])
    assert length == len(STORE) + 1  # with the backslash that follows
    assert name == len("firstname.lastname")
