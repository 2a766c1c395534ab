"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import house
from tests.house import PACKAGE, ROOT

# Who may import whom, beside `errors` and `options`, which are free to all.
# "" is the public API, `import fidelite`.
FREE = {"errors", "options", "edge"}
ALL = "all"
MAY_IMPORT: dict[str, set[str] | str] = {
    "errors": set(),
    "options": set(),
    "edge": set(),
    "arguments": {"targets", "tasks"},
    "files": set(),
    "source": {"tflite"},
    "prepare": {"source", "runtime"},
    "tflite": set(),
    "lower": {"source", "tflite"},
    "optimize": {"tflite", "targets"},
    "quantize": {"tflite", "targets", "runtime", "write"},  # calibration runs the float graph
    "targets": {"tasks", "tflite"},
    "tasks": {"tflite"},
    "write": {"tflite", "targets", "files"},
    "runtime": set(),
    "check": {"runtime", "tflite", "source", "write"},  # bisect writes the graphs that it takes apart
    "float16": {"optimize", "tflite"},
    "device": {"float16", "source", "check", "pipeline", "runtime", "targets", "tflite", "write"},
    "manifest": {"", "tflite", "pipeline", "write"},
    "verification": {"check", "files", "manifest", "phone", "runtime", "source", "tflite", "write"},
    "report": set(),
    "inspection": {"source", "lower", "pipeline", "quantize", "targets", "tflite_facts"},
    "tflite_facts": {"tasks", "tflite"},
    "optable": {"lower"},
    "summary": {"check", "pipeline", "runtime", "tasks"},
    "pictures": set(),
    "running": {"pictures", "preparation", "segmentation", "using", "source", "runtime", "check", "tflite_facts"},
    "preparation": {"pictures", "using", "runtime"},
    "calibrating": {"pictures", "preparation", "using", "runtime", "check"},
    "quantizing": {"calibrating", "using", "runtime", "check", "optimize", "quantize", "tflite"},
    "using": {"pictures", "segmentation", "runtime", "tflite_facts"},
    "segmentation": {"files", "pictures", "examples"},
    "benchmarking": {"source", "runtime", "check"},
    "health": {"files", "runtime", "pipeline"},
    "phone": {"check", "runtime", "source"},
    "saving": {"check", "files", "pipeline", "runtime", "source", "tflite", "write"},
    "pipeline": ALL,
    "__init__": ALL,
    "cli": {"", "report"},
    "web": {"", "report", "examples"},
    "__main__": {"cli"},
    "comparing": {"check", "files", "pictures", "running", "segmentation"},
    "exporting": {"check", "files", "source"},
    "examples": ALL,
}
# Packages that only some rooms may know.
ONLY_IN = {
    "onnxruntime": {"runtime"},
    "torch": {"source", "runtime", "examples"},
    "click": {"cli"},
    "rich": {"cli", "report"},
    "tensorflow": {"saving"},
}
NEVER_IN = {"optimize": {"onnx", "onnx_ir"}, "write": {"onnx", "onnx_ir"}, "tflite": {"onnx", "onnx_ir"}}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
# "path" or "path::function" -> why it is longer all the same.
ALLOWED_LENGTH: dict[str, str] = {}

SOURCES = house.source_files()


def _room_of_module(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_room_has_its_row() -> None:
    unknown = {house.room(file) for file in SOURCES} - set(MAY_IMPORT)
    assert not unknown, f"say in MAY_IMPORT what these may import: {sorted(unknown)}"


def test_imports_between_rooms() -> None:
    wrong: list[str] = []
    for file in SOURCES:
        here = house.room(file)
        allowed = MAY_IMPORT.get(here, set())
        for found in house.imports(file):
            if found.module.split(".")[0] != "fidelite" or allowed == ALL:
                continue
            there = _room_of_module(found.module)
            if there not in FREE | {here} and there not in allowed:
                wrong.append(f"{found.place}: {here} must not import {found.module}")
    assert not wrong, "\n".join(wrong)


def test_imports_of_packages() -> None:
    wrong: list[str] = []
    for file in SOURCES:
        here = house.room(file)
        for found in house.imports(file):
            package = found.module.split(".")[0]
            if here not in ONLY_IN.get(package, {here}) or package in NEVER_IN.get(here, set()):
                wrong.append(f"{found.place}: {here} must not import {package}")
    assert not wrong, "\n".join(wrong)


def _catches(handler: ast.ExceptHandler) -> set[str]:
    if handler.type is None:
        return {"(everything)"}
    nodes = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {node.id if isinstance(node, ast.Name) else getattr(node, "attr", "") for node in nodes}


def test_no_blind_except() -> None:
    wrong: list[str] = []
    for file in SOURCES:
        for node in ast.walk(house.parse(file)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            last = node.body[-1]
            passes_on = isinstance(last, ast.Raise) and last.exc is None
            if _catches(node) & {"(everything)", "Exception", "BaseException"} and not passes_on:
                wrong.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not wrong, "these swallow whatever comes; name what is expected:\n" + "\n".join(wrong)


def test_lengths() -> None:
    found: dict[str, int] = {}
    for file in SOURCES:
        path = file.relative_to(ROOT).as_posix()
        lines = len(file.read_text("utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            found[path] = lines
        for name, length in house.functions(file):
            if length > MAX_FUNCTION_LINES:
                found[f"{path}::{name}"] = length
    too_long = [f"{place}: {lines} lines" for place, lines in found.items() if place not in ALLOWED_LENGTH]
    stale = [f"{place} is in ALLOWED_LENGTH, and short" for place in ALLOWED_LENGTH if place not in found]
    assert not too_long + stale, "\n".join(too_long + stale)


# Written in pieces, so that this file does not find itself.
_MACHINE_PATHS = ["/" + "work/", "/" + "root/", "/" + "opt/", "/" + "etc/xdg", "/" + "tmp/bash_jobs"]
_HOSTS = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "deb.debian" + ".org"]
_WORDS = ["clau" + "de", "anthro" + "pic", "chat" + "gpt", "co" + "pilot", "ai" + "-generated"]
_FORBIDDEN = re.compile(
    r"(?<![\w.:/-])(?:" + "|".join(map(re.escape, _MACHINE_PATHS)) + ")"
    "|" + "|".join(map(re.escape, _HOSTS)) + "|"
    r"\b(?:" + "|".join(_WORDS) + r")\b"
    r"|\bissue" + r" #?\d{1,3}\b",
    re.IGNORECASE,
)


def test_nothing_about_this_machine() -> None:
    """No absolute path, no registry's host, nothing about how the project came to be."""
    wrong: list[str] = []
    for file in house.project_files():
        content = file.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            if match := _FORBIDDEN.search(line):
                wrong.append(f"{file.relative_to(ROOT)}:{number}: {match[0]!r}")
    assert not wrong, "\n".join(wrong)


def test_lowest_constraints_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = dict(re.split(r">=", line) for line in project["dependencies"])
    lines = (ROOT / "constraints-lowest.txt").read_text("utf-8").splitlines()
    lowest = dict(re.split(r"==", line) for line in lines if not line.startswith("#"))
    assert {name: re.sub(r"(\.0)+$", "", version) for name, version in lowest.items()} == bounds


def test_bare_import_is_light() -> None:
    heavy = ["onnx", "onnx_ir", "onnxruntime", "ai_edge_litert", "torch", "rich", "click"]
    code = f"import sys, fidelite; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


CONSOLE = [file for folder in ("cli", "report") for file in house.source_files(PACKAGE / folder)]


@pytest.mark.skipif(not CONSOLE, reason="neither cli nor report is there")
def test_console_text_fits_cp1252() -> None:
    """A Western Windows console can show all that we print ourselves."""
    wrong: list[str] = []
    for file in CONSOLE:
        for node in ast.walk(house.parse(file)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                bad = sorted({char for char in node.value if not _fits(char)})
                if bad:
                    wrong.append(f"{file.relative_to(ROOT)}:{node.lineno}: {bad!a}")
    assert not wrong, "\n".join(wrong)


def _fits(char: str) -> bool:
    try:
        char.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import fidelite", ["fidelite"]),
        ("import fidelite.errors as e", ["fidelite.errors"]),
        ("from fidelite import errors, convert", ["fidelite.errors", "fidelite"]),
        ("from ..errors import LoadError", ["fidelite.errors"]),
        ("from .. import options", ["fidelite.options"]),
        ("from . import other", ["fidelite.lower"]),
        ("def f():\n    from onnxruntime import InferenceSession", ["onnxruntime"]),
    ],
)
def test_reader_of_imports(
    source: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("errors.py", "options.py", "lower/conv.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", "utf-8")
    file = tmp_path / "lower" / "conv.py"
    file.write_text(source, "utf-8")
    monkeypatch.setattr(house, "PACKAGE", tmp_path)
    assert [found.module for found in house.imports(file)] == expected
