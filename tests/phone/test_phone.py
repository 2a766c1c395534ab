"""A device over adb, by a stand-in that runs LiteRT for real. No test here has seen a device."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import fidelite as api
from fidelite.errors import MissingExtra, NeedsStaticShape, RuntimeCrash
from fidelite.phone.adb import find_adb
from fidelite.phone.device import PhoneSession, parse
from tests.cli.support import data, fidelite, segmenter
from tests.lower.support import tflite_bytes
from tests.tflite.graphs import build

FAKE = Path(__file__).with_name("fake_adb.py")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The device's /data/local/tmp, with benchmark_model in it, and the stand-in on PATH."""
    room, programs = tmp_path / "device", tmp_path / "programs"
    room.mkdir()
    programs.mkdir()
    (room / "benchmark_model").write_bytes(b"\x7fELF")
    if sys.platform == "win32":
        (programs / "adb.bat").write_text(f'@"{sys.executable}" "{FAKE}" %*\n', "utf-8")
    else:
        script = programs / "adb"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n', "utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DEVICE", str(room))
    return room


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    model = segmenter(tmp_path)
    return model, api.convert(model, verify=False).save(tmp_path / "out.tflite")


def test_verify(device: Path, files: tuple[Path, Path]) -> None:
    found = data("verify", *files, "--adb")["verification"]
    assert found["verdict"] == "proven"
    assert found["result"] == "LiteRT on Stand-in Folder, Android 14, one"
    assert [p.name for p in device.iterdir()] == ["benchmark_model"]


def test_wrong_numbers_are_found(device: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAULT", "wrong")
    said = fidelite("verify", *files, "--adb", code=5)
    assert "results differ" in said.output
    assert [p.name for p in device.iterdir()] == ["benchmark_model"]


def test_benchmark(device: Path, files: tuple[Path, Path]) -> None:
    (device / "benchmark_model").rename(device.parent / "mine")
    told = data("benchmark", files[1], "--adb", "--adb-benchmark-model", device.parent / "mine", "--runs", "7")
    row, = told["models"]
    assert (row["runs"], row["median_seconds"], row["p95_seconds"]) == (7, 0.00201, pytest.approx(0.0029))
    assert (row["load_seconds"], row["first_seconds"]) == (pytest.approx(0.012), pytest.approx(0.005))
    assert row["peak_memory_bytes"] == 33_500_000
    assert list(device.iterdir()) == []
    (device.parent / "mine").rename(device / "benchmark_model")
    assert "2.01 ms" in fidelite("benchmark", files[1], "--adb").output


def test_an_older_build_prints_fewer_figures() -> None:
    text = ("count=50 first=249042 curr=250889 min=247067 max=254474 avg=249684 std=1442\n"
            "Inference timings in us: Init: 16242, First inference: 360262, Warmup (avg): 304586, "
            "Inference (avg): 249684\n")
    found = parse(text, Path("m.tflite"), "a phone")
    assert (found.runs, found.mean, found.median, found.peak_memory) == (50, pytest.approx(0.249684), None, None)


def test_words_that_are_no_figures() -> None:
    with pytest.raises(RuntimeCrash) as caught:
        parse("INFO: STARTING!", Path("m.tflite"), "a phone")
    assert caught.value.code == "F540"


@pytest.mark.parametrize(("devices", "more", "words"), [
    ("", [], "no device"),
    ("one\tunauthorized", [], "one (unauthorized)"),
    ("one\toffline", ["--serial", "one"], "one (offline)"),
    ("one\tdevice;two\tdevice", [], "several devices"),
    ("one\tdevice", ["--serial", "two"], "there is no device 'two'"),
])
def test_which_device(device: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, devices: str,
                      more: list[str], words: str) -> None:
    monkeypatch.setenv("FAKE_DEVICES", devices)
    error, = data("benchmark", files[1], "--adb", *more, code=2)["errors"]
    assert error["code"] == "F224"
    assert words in error["reason"]
    assert error["remedy"]


def test_one_of_several(device: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DEVICES", "one\tdevice;two\tdevice")
    assert data("benchmark", files[1], "--adb", "--serial", "two")["device"].endswith("two")


def code_of(*arguments: Any, exits: int) -> str:
    error, = data(*arguments, code=exits)["errors"]
    assert error["remedy"]
    return error["code"]


@pytest.mark.parametrize(("fault", "code", "exits"), [("dies", "F540", 5), ("cut", "F540", 5), ("old", "F225", 2)])
def test_faults_of_the_tool(device: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, fault: str,
                            code: str, exits: int) -> None:
    monkeypatch.setenv("FAKE_FAULT", fault)
    assert code_of("verify", *files, "--adb", exits=exits) == code
    assert [p.name for p in device.iterdir()] == ["benchmark_model"]


def test_no_tool(device: Path, files: tuple[Path, Path]) -> None:
    assert code_of("benchmark", files[1], "--adb", "--adb-benchmark-model", "none", exits=2) == "F225"
    (device / "benchmark_model").unlink()
    assert code_of("benchmark", files[1], "--adb", exits=2) == "F225"


def test_options_that_do_not_fit(device: Path, files: tuple[Path, Path]) -> None:
    assert code_of("benchmark", files[1], "--serial", "one", exits=2) == "F224"
    assert code_of("benchmark", files[0], "--adb", exits=2) == "F224"
    assert code_of("verify", *files, "--adb", "--bisect", exits=2) == "F224"


def test_open_outputs_are_refused(device: Path, tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "open.tflite"
    path.write_bytes(tflite_bytes(build(lambda b, x: b.relu(x), (np.float32, ("n", 3)))))
    with api.connect_phone() as phone, pytest.raises(NeedsStaticShape):
        PhoneSession(phone, path)


def test_where_adb_is_looked_for(tmp_path: Path) -> None:
    name = "adb.exe" if sys.platform == "win32" else "adb"
    for place, environment in ((tmp_path / "a", {"ANDROID_HOME": str(tmp_path / "a")}),
                               (tmp_path / "b", {"ANDROID_SDK_ROOT": str(tmp_path / "b")}),
                               (tmp_path / "c" / "Android" / "Sdk", {"LOCALAPPDATA": str(tmp_path / "c")}),
                               (tmp_path / "d" / "Library" / "Android" / "sdk", {}),
                               (tmp_path / "e" / "Android" / "Sdk", {})):
        program = place / "platform-tools" / name
        program.parent.mkdir(parents=True)
        program.write_bytes(b"")
        home = tmp_path / ("d" if "Library" in place.parts else "e")
        assert find_adb({"PATH": "", **environment}, home) == program
    with pytest.raises(MissingExtra) as caught:
        find_adb({"PATH": ""}, tmp_path / "nowhere")
    assert caught.value.code == "F223"
