"""What the README shows is run; its example's output is the real one, but for the figures."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from fidelite.cli import cli
from fidelite.examples.face_parsing import MODEL_PATH
from fidelite.examples.face_parsing.drawing import draw_face
from fidelite.examples.face_parsing.labels import CLASSES
from tests.docs.blocks import blocks
from tests.house import ROOT

README = ROOT / "README.md"
SLOW = {"benchmark", "verify"}
ENDLESS = {"serve"}
"""Ends with Ctrl+C only; tests/web is about it."""
MAKE = {"demo", "test"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the embedded network, its labels and a drawn face, as the README assumes it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "96")
    monkeypatch.setenv("NO_COLOR", "1")
    shutil.copyfile(MODEL_PATH, "face_parsing.onnx")
    Image.fromarray(draw_face(7, 256)[0]).save("face.png")
    Path("labels.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    return tmp_path


def shell_lines() -> list[list[str]]:
    return [words for block in blocks(README, "sh") for line in block.text.splitlines()
            if (words := shlex.split(line, comments=True))]


def run(words: list[str]) -> str:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, f"fidelite {' '.join(words)}\n{result.output}"
    return result.output


def masked(text: str) -> list[str]:
    """The lines without their figures."""
    return [re.sub(r"\s+", " ", re.sub(r"\d[\d.,]*(e[+-]\d+)?", "#", line)).strip() for line in text.splitlines()]


def test_the_example_shows_what_comes_out(folder: Path) -> None:
    (block,) = blocks(README, "console")
    command, _, shown = block.text.partition("\n")
    found = run(shlex.split(command.removeprefix("$ fidelite ")))
    assert masked(found)[: len(shown.splitlines())] == masked(shown)
    run(["run", "face_parsing.tflite", "--input", "face.png", "--normalize", "imagenet"])
    assert (folder / "face.overlay.png").exists()


def test_cheap_commands(folder: Path) -> None:
    run(["inspect", "face_parsing.onnx"])
    run(["doctor"])


@pytest.mark.slow
def test_all_commands(folder: Path) -> None:
    run(["convert", "face_parsing.onnx"])
    lines = [words[1:] for words in shell_lines() if words[0] == "fidelite"]
    assert {words[0] for words in lines} >= {"inspect", "convert", "run", "doctor", *SLOW}
    for words in lines:
        if words[0] not in ENDLESS:
            run(words)
    for block in blocks(README, "python"):
        exec(compile(block.text, "README.md", "exec"), {})


def test_make_targets_exist() -> None:
    named = {words[1] for words in shell_lines() if words[0] == "make"}
    assert named == MAKE
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_length() -> None:
    assert len(README.read_text("utf-8").splitlines()) < 150


def test_number_of_operators() -> None:
    from fidelite.lower import families
    from fidelite.lower.registry import REGISTRY

    families.load()
    told, of = map(int, re.findall(r"more than (\d+) of ONNX's (\d+)", README.read_text("utf-8"))[0])
    assert len({row.op for row in REGISTRY if not row.domain}) > told
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain and not schema.deprecated}
    assert len(standard) <= of
