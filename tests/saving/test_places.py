"""Where a SavedModel may be written, and that nothing half-written stays."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from fidelite.errors import MissingExtra, OutputError
from fidelite.saving import places
from tests.cli.support import fidelite, segmenter


@pytest.fixture(autouse=True)
def tensorflow_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """These are about folders; whether TensorFlow is installed is another matter."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def code_of(folder: Path, **more: Any) -> str:
    with pytest.raises(OutputError) as caught:
        places.check_place(folder, **more)
    assert caught.value.remedy
    return caught.value.code


def saved_model(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"old")
    return folder


def test_a_new_an_empty_and_an_earlier_folder_will_do(tmp_path: Path) -> None:
    places.check_place(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    places.check_place(tmp_path / "empty")
    places.check_place(saved_model(tmp_path / "earlier"))


def test_what_is_no_saved_model_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    assert code_of(tmp_path) == "F227"
    assert code_of(tmp_path / "photo.jpg") == "F227"
    mixed = saved_model(tmp_path / "mixed")
    (mixed / "notes.txt").write_text("mine", "utf-8")
    assert code_of(mixed) == "F227"


def test_the_folder_around_it_must_exist(tmp_path: Path) -> None:
    assert code_of(tmp_path / "none" / "saved") == "F212"


def test_windows_limit_on_paths(tmp_path: Path) -> None:
    long = tmp_path / ("a" * 60)
    while len(str(long)) < 200:
        long /= "b" * 20
    long.mkdir(parents=True)
    assert code_of(long / "saved", limited=True) == "F228"
    places.check_place(long / "saved", limited=False)
    places.check_place(tmp_path / "s", limited=len(str(tmp_path)) < 150)


def test_tensorflow_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        places.check_place(tmp_path / "saved")
    assert caught.value.code == "F226"
    assert caught.value.remedy == f'"{sys.executable}" -m pip install tensorflow'


def test_the_command_says_so_before_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    model = segmenter(tmp_path)
    said = fidelite("convert", model, "--saved-model", tmp_path / "saved", code=2)
    assert "F226" in said.stderr
    assert not (tmp_path / "saved").exists()
    assert not model.with_suffix(".tflite").exists()


def test_publish_replaces_whole_or_leaves_alone(tmp_path: Path) -> None:
    target = saved_model(tmp_path / "saved")

    def fail() -> None:
        with places.publish_folder(target) as temporary:
            (temporary / "saved_model.pb").write_bytes(b"half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        fail()
    assert (target / "saved_model.pb").read_bytes() == b"old"
    with places.publish_folder(target) as temporary:
        (temporary / "saved_model.pb").write_bytes(b"new")
    assert (target / "saved_model.pb").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError) as caught, places.publish_folder(tmp_path / "saved"):
        pass
    assert caught.value.code == "F214"
