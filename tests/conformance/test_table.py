"""Tests of the table's own machinery, with results made up and with a converter that is a fake."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import table as tables


def row(name: str, status: str, mode: str = "as-is", **more: Any) -> dict[str, Any]:
    return {"name": name, "mode": mode, "status": status, "message": "", **more}


def report(*rows: dict[str, Any], whole: bool = True) -> dict[str, Any]:
    return {"onnx": "1.2", "litert": "3.4", "whole": whole, "rows": list(rows)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row("a", "strict"), "strict"),
        (row("a", "dtype-change"), "dtype-change"),
        (row("a", "convert-error", codes=["F400"]), "refused:F400"),
        (row("a", "convert-error", codes=["F400", "F420"]), "refused:F400+F420"),
        (row("a", "convert-error", codes=["F100"]), "fault:convert-error"),
        (row("a", "convert-error", codes=["F100", "F400"]), "fault:convert-error"),
        (row("a", "convert-error"), "fault:convert-error"),
        (row("a", "wrong"), "fault:wrong"),
        (row("a", "crash"), "fault:crash"),
    ],
)
def test_outcome(given: dict[str, Any], expected: str) -> None:
    assert tables.outcome(given) == expected


@pytest.mark.parametrize("expected", ["strict", "dtype-change", "refused:F400", "fault:wrong"])
@pytest.mark.parametrize("status", ["strict", "wrong", "run-error", "timeout"])
def test_whatever_differs_is_told(expected: str, status: str) -> None:
    table = tables.Table(cases={"a": {"as-is": expected}})
    lines = tables.differences(table, report(row("a", status)))
    assert bool(lines) == (tables.outcome(row("a", status)) != expected)
    if status == "strict" and expected not in tables.PASSES:
        assert "unexpected pass" in lines[0]


def test_unknown_case_is_told() -> None:
    assert "not in the table" in tables.differences(tables.Table(), report(row("a", "strict")))[0]


def test_faults_and_reasons_go_together() -> None:
    table = tables.Table(cases={"a": {"as-is": "fault:wrong"}, "b": {"as-is": "strict"}})
    assert tables.inconsistencies(table) == ["a: a fault without a reason"]
    table.reasons = {"a": "LiteRT's kernel rounds the other way", "b": "left over"}
    assert tables.inconsistencies(table) == ["b: a reason, but no fault"]


def test_update_keeps_reasons_of_remaining_faults() -> None:
    faults = {"as-is": "fault:wrong"}
    reasons = {"a": "why", "b": "why", "gone": "why"}
    old = tables.Table("", "", {"a": faults, "b": faults, "gone": faults}, reasons)
    new = tables.updated(old, report(row("a", "wrong"), row("b", "strict"), row("c", "crash")))
    assert new.cases == {"a": faults, "b": {"as-is": "strict"}, "c": {"as-is": "fault:crash"}}
    assert new.reasons == {"a": "why", "c": tables.NO_REASON}
    assert tables.inconsistencies(new) == ["c: a fault without a reason"]


def test_update_by_a_part_leaves_the_rest() -> None:
    old = tables.Table(cases={"a": {"as-is": "strict", "folded": "strict"}, "b": {"as-is": "strict"}})
    new = tables.updated(old, report(row("a", "dtype-change"), whole=False))
    assert new.cases == {"a": {"as-is": "dtype-change", "folded": "strict"}, "b": {"as-is": "strict"}}


def test_saved_table_reads_back(tmp_path: Path) -> None:
    cases: dict[str, dict[str, str]] = {"b": dict.fromkeys(tables.MODES, "strict"), "a": {"as-is": "fault:wrong"}}
    table = tables.Table("1.2", "3.4", cases, {"a": "why"})
    path = tmp_path / "table.json"
    tables.save(table, path)
    text = path.read_text("utf-8")
    assert '  "b": "strict"\n' in text
    assert text.index('"a": {"as-is"') < text.index('"b": ')
    assert dataclasses.asdict(tables.load(path)) == dataclasses.asdict(table)


def test_empty_table_reads_back(tmp_path: Path) -> None:
    tables.save(tables.Table(), tmp_path / "table.json")
    assert tables.load(tmp_path / "table.json") == tables.Table()


FAKE = """
class Refusal(Exception):
    code = "F400"

class Both(Exception):
    @property
    def errors(self):
        return (Refusal(), Refusal(), Bug())

class Bug(Exception):
    code = "F100"

def refuse(onnx_path, tflite_path):
    raise Refusal("[F400] no such op")

def both(onnx_path, tflite_path):
    raise Both("two")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("function", "codes"), [("refuse", ["F400"]), ("both", ["F100", "F400"])])
def test_codes_reach_the_result(tmp_path: Path, function: str, codes: list[str]) -> None:
    """Of each tenth case of a few, with a converter that refuses all."""
    adapter, out = tmp_path / "fake.py", tmp_path / "result.json"
    adapter.write_text(FAKE, "utf-8")
    command = [sys.executable, str(tables.RUNNER), "run", "--converter", f"{adapter}:{function}"]
    command += ["--filter", "^test_(abs|softmax|reshape)", "--every", "10", "--jobs", "1", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    result = json.loads(out.read_text("utf-8"))
    assert not result["whole"]
    names = [found["name"] for found in result["rows"] if found["mode"] == "as-is"]
    assert names == sorted(names)
    assert names[0] == "test_abs"
    assert {tuple(found["codes"]) for found in result["rows"]} == {tuple(codes)}
