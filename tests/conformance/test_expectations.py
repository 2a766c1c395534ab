"""fidelite against the table of expectations: a part of the suite here, all of it in `make test-all`."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest

from tests.conformance import table as tables
from tests.conformance.update import run_suite
from tests.house import ROOT

TABLE = tables.load()
EVERY = 10
needs_table = pytest.mark.skipif(not TABLE.cases, reason="expectations.json has no cases yet")
same_suite = pytest.mark.skipif(
    onnx.__version__ != TABLE.onnx, reason=f"the table is for the suite of onnx {TABLE.onnx}"
)


def test_table_is_consistent() -> None:
    assert tables.inconsistencies(TABLE) == []


@needs_table
def test_table_is_of_the_locked_versions() -> None:
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M))
    assert (TABLE.onnx, TABLE.litert) == (locked["onnx"], locked["ai-edge-litert"])


def _check(tmp_path: Path, *arguments: str) -> None:
    report = run_suite(tmp_path / "result.json", *arguments)
    assert report["rows"]
    lines = tables.differences(TABLE, report)
    if report["whole"]:
        ran = {row["name"] for row in report["rows"]}
        lines += [f"{name}: in the table, not in the suite" for name in sorted(set(TABLE.cases) - ran)]
    remedy = "If this is as it should be: python -m tests.conformance.update (see README.md there)"
    assert not lines, "\n".join([*lines, remedy])


@needs_table
@same_suite
@pytest.mark.timeout(900)
def test_part_of_the_suite(tmp_path: Path) -> None:
    _check(tmp_path, "--every", str(EVERY), "--jobs", "2")


@needs_table
@same_suite
@pytest.mark.conformance
@pytest.mark.timeout(3600)
def test_whole_suite(tmp_path: Path) -> None:
    _check(tmp_path, "--jobs", "2")
