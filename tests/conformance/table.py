"""The table of what is expected of each case of the ONNX backend suite: expectations.json.

An expectation is one string:

    strict, dtype-change, shape-change, layout-change    the case passes, as conformance.py names it
    refused:F400                                         refused with this code (several: F400+F410)
    fault:wrong, fault:run-error, fault:crash, ...       a known fault; `reasons` says why

A case has one string where both modes agree, else an object `{"as-is": ..., "folded": ...}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parent / "expectations.json"
RUNNER = Path(__file__).resolve().parent / "conformance.py"
ADAPTER = Path(__file__).resolve().parent / "adapter.py"
MODES = ("as-is", "folded")
PASSES = ("strict", "dtype-change", "shape-change", "layout-change")
NO_REASON = "not said yet"
_OUR_BUG = re.compile(r"F1\d\d")


@dataclass
class Table:
    """Expectations by case and mode, and why faults are there, by case."""

    onnx: str = ""
    litert: str = ""
    cases: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    reasons: dict[str, str] = field(default_factory=dict[str, str])


def load(path: Path = TABLE) -> Table:
    data = json.loads(path.read_text("utf-8"))
    cases: dict[str, dict[str, str]] = {}
    for name, entry in data["cases"].items():
        cases[name] = dict.fromkeys(MODES, entry) if isinstance(entry, str) else dict(entry)
    return Table(data["onnx"], data["litert"], cases, data["reasons"])


def save(table: Table, path: Path = TABLE) -> None:
    """One line a case, in the order of names, so that changes read well."""
    cases: dict[str, Any] = {}
    for name, by_mode in sorted(table.cases.items()):
        same = len(by_mode) == len(MODES) and len(set(by_mode.values())) == 1
        cases[name] = by_mode[MODES[0]] if same else by_mode
    lines = [f'"onnx": {json.dumps(table.onnx)}', f'"litert": {json.dumps(table.litert)}']
    lines.append('"reasons": ' + _object(dict(sorted(table.reasons.items()))))
    lines.append('"cases": ' + _object(cases))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _object(entries: Mapping[str, Any]) -> str:
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items()]
    return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"


def outcome(row: Mapping[str, Any]) -> str:
    """What a row of a result file comes to, in the table's words.

    A refusal is an error of ours with a code. An error without one, or with the code of an internal
    error, is a fault.
    """
    status = row["status"]
    if status in PASSES:
        return status
    codes: list[str] = row.get("codes") or []
    if status == "convert-error" and codes and not any(_OUR_BUG.fullmatch(code) for code in codes):
        return "refused:" + "+".join(codes)
    return f"fault:{status}"


def differences(table: Table, report: Mapping[str, Any]) -> list[str]:
    """One line for each row that is not as expected; an unexpected pass is one too."""
    lines: list[str] = []
    for row in report["rows"]:
        name, mode, now = row["name"], row["mode"], outcome(row)
        expected = table.cases.get(name, {}).get(mode, "(not in the table)")
        if now != expected:
            better = "unexpected pass, " if now in PASSES and expected not in PASSES else ""
            lines.append(f"{mode:<7} {name}: {better}expected {expected}, is {now}  {row['message'][:160]}")
    return lines


def inconsistencies(table: Table) -> list[str]:
    """What is wrong with the table itself: reasons without fault, faults without reason."""
    faulty = {
        name
        for name, by_mode in table.cases.items()
        if any(expected.startswith("fault:") for expected in by_mode.values())
    }
    lines = [f"{name}: a reason, but no fault" for name in sorted(set(table.reasons) - faulty)]
    for name in sorted(faulty):
        if table.reasons.get(name, NO_REASON).strip() in ("", NO_REASON):
            lines.append(f"{name}: a fault without a reason")
    return lines


def updated(table: Table, report: Mapping[str, Any]) -> Table:
    """The table as a result has it. Reasons stay with the faults that remain; new faults get a
    placeholder, which the tests refuse. A result of a part of the suite leaves the other cases alone.
    """
    cases: dict[str, dict[str, str]] = {}
    if not report["whole"]:
        cases = {name: dict(by_mode) for name, by_mode in table.cases.items()}
    for row in report["rows"]:
        cases.setdefault(row["name"], {})[row["mode"]] = outcome(row)
    reasons = {
        name: table.reasons.get(name, NO_REASON)
        for name, by_mode in cases.items()
        if any(expected.startswith("fault:") for expected in by_mode.values())
    }
    return Table(report["onnx"], report["litert"], cases, reasons)
