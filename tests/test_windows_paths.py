"""Everything that `pip install fidelite` brings fits into Windows' 260 characters.

`scripts/wheel_paths.py` has recorded the longest names in the `win_amd64` wheels, so that nothing is
downloaded here; the test marked `network` records them anew and compares.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import TypedDict, cast

import pytest

from tests.house import PACKAGE, ROOT, project_files

MAX_PATH = 260  # with the closing NUL, so a path has at most 259 characters


class Wheel(TypedDict):
    version: str
    files: list[str]
    bytecode: list[str]


class Record(TypedDict):
    python: str
    platform: str
    wheels: dict[str, Wheel]


RECORD = cast(Record, json.loads((ROOT / "tests/data/win_amd64_paths.json").read_text("utf-8")))
WHEELS = RECORD["wheels"]

USER = r"C:\Users\firstname.lastname"
ORDINARY = {
    "installer": USER + r"\AppData\Local\Programs\Python\Python312\Lib\site-packages",
    "venv": USER + r"\Documents\Python Projects\face-parsing-on-device\.venv\Lib\site-packages",
    "OneDrive": USER + r"\OneDrive - Company Name\Documents\face-parsing\.venv\Lib\site-packages",
    "conda": USER + r"\AppData\Local\miniconda3\envs\face-parsing\Lib\site-packages",
}
# The Store's Python puts packages so deep that onnx's own test data does not fit. Long paths must be
# enabled there, or another Python used; our documentation says so.
STORE = (
    USER + r"\AppData\Local\Packages\PythonSoftwareFoundation.Python.3.12_qbz5n2kfra8p0"
    r"\LocalCache\local-packages\Python312\site-packages"
)
TOO_DEEP_FOR_STORE = {"onnx"}


def _own_files() -> list[str]:
    return [
        path.relative_to(PACKAGE.parent).as_posix()
        for path in project_files()
        if path.is_relative_to(PACKAGE)
    ]


def _too_long(folder: str, names: list[str]) -> list[str]:
    return [f"{len(folder) + 1 + len(n)}: {n}" for n in names if len(folder) + 1 + len(n) >= MAX_PATH]


@pytest.mark.parametrize("folder", ORDINARY.values(), ids=ORDINARY.keys())
def test_fits_an_ordinary_folder(folder: str) -> None:
    names = [name for wheel in WHEELS.values() for name in wheel["files"] + wheel["bytecode"]]
    assert len(names) > 100
    assert _too_long(folder, names + _own_files()) == []


def test_fits_the_store_python_but_for_the_known() -> None:
    found = {package for package, wheel in WHEELS.items() if _too_long(STORE, wheel["files"])}
    assert found == TOO_DEEP_FOR_STORE
    assert _too_long(STORE, _own_files()) == []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_record_is_of_the_locked_versions() -> None:
    locked: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            locked[_normal(name)] = version
    recorded = {name: wheel["version"] for name, wheel in WHEELS.items()}
    remedy = "run: python scripts/wheel_paths.py"
    assert recorded == {name: locked.get(name) for name in recorded}, remedy
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {_normal(re.split(r"[<>=!~;\[ ]", line)[0]) for line in project["dependencies"]}
    assert wanted <= set(recorded), remedy


@pytest.mark.network
def test_record_is_what_the_wheels_hold() -> None:
    command = [sys.executable, str(ROOT / "scripts/wheel_paths.py"), "--print"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == RECORD, "run: python scripts/wheel_paths.py"
