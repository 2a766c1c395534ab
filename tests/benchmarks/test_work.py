"""Commands, what they used, and what of their words may be published."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.conversions import Result
from benchmarks.footprint import megabytes
from benchmarks.latency import pairs_of
from benchmarks.work import (
    ROOT,
    Environment,
    Unavailable,
    Usage,
    find_python,
    last_words,
    measured,
    median_usage,
    publishable,
    this_version,
)

needs_wait4 = pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system has no wait4")


def test_publishable_text_has_no_paths_addresses_or_colours() -> None:
    inside, outside = ROOT / "src" / "x.py", Path("/") / "usr" / "lib" / "y.so"
    text = f"\x1b[31mERROR\x1b[0m {inside} {outside} https://example.com/a?b"
    assert publishable(text) == "ERROR ./src/x.py y.so (address)"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("start\nERROR: no matching distribution\nnotice: new pip\n", "ERROR: no matching distribution"),
        ("Traceback\n  line\nValueError: bad shape\n", "ValueError: bad shape"),
        ("10%\r20%\rstopped\n\n", "stopped"),
        ("", "it said nothing"),
    ],
)
def test_last_words(log: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text(log, "utf-8")
    assert last_words(file) == words


@needs_wait4
def test_usage_is_that_of_the_command_and_its_children(tmp_path: Path) -> None:
    child = "import time; data = bytearray(120_000_000); time.sleep(0.2)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    found = measured([sys.executable, "-c", code], tmp_path, name="parent")
    assert 120_000_000 <= found.largest_process <= found.peak
    assert found.cpu > 0.0


@needs_wait4
def test_memory_of_the_caller_is_not_counted(tmp_path: Path) -> None:
    ballast = bytearray(200_000_000)
    found = measured([sys.executable, "-I", "-S", "-c", "pass"], tmp_path, name="small")
    assert found.peak < len(ballast) // 2


@needs_wait4
def test_failure_carries_the_reason(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="exit code 3: RuntimeError: on purpose"):
        measured([sys.executable, "-c", "print('RuntimeError: on purpose'); exit(3)"], tmp_path, name="bad")


def test_median_of_usages() -> None:
    usages = [Usage(1.0, 2.0, 100, None), Usage(3.0, 4.0, 100, 300), Usage(2.0, 9.0, 200, 150)]
    assert median_usage(usages) == {"cpu": 2.0, "wall": 4.0, "peak": 200}


def test_this_python_is_found() -> None:
    assert find_python(this_version()) is not None


def test_environment_without_its_python_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"it needs Python 2\.0 or 2\.1"):
        Environment(tmp_path / "env", (), ("2.0", "2.1")).make()


def test_sizes_leave_out_pip_and_pyc(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "site-packages"
    for name in ("pip/a.py", "pip-23.2.dist-info/RECORD", "setuptools/b.py", "numpy/c.so", "numpy/d.pyc",
                 "pipeline/e.py"):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_bytes(b"x" * 65536)
    found = megabytes(tmp_path)
    assert found["whole"] > found["without_pip"] > found["without_pip_and_pyc"] > 0.0
    assert found["whole"] - found["without_pip"] == pytest.approx(3 / 16, rel=0.5)


def test_pairs_have_the_same_model_export_and_layout() -> None:
    ours = [Result("fidelite", "vit", "dynamo", layout) for layout in ("source", "nhwc")]
    theirs = [Result("peer", "vit", "dynamo", "nhwc"), Result("peer", "vit", "ts", "nhwc"),
              Result("peer", "yolo", "dynamo", "nhwc")]
    assert list(pairs_of([*ours, *theirs])) == [(ours[1], theirs[0])]
