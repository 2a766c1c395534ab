"""Rewrites expectations.json as a result file has it, and says what changed.

    python -m tests.conformance.update                 run the whole suite first (minutes)
    python -m tests.conformance.update --filter softmax    run these cases only; the others stay
    python -m tests.conformance.update RESULT.json     take a result that is there

Read the changes before committing them: the table is a promise, not a log. New faults get the reason
"not said yet", which the tests refuse until somebody writes why.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conformance import table as tables

OUTPUT = Path(__file__).resolve().parent / "output" / "result.json"


def run_suite(out: Path, *arguments: str) -> dict[str, Any]:
    """Runs conformance.py with fidelite's adapter; returns its report."""
    out.parent.mkdir(parents=True, exist_ok=True)
    converter = ["--converter", f"{tables.ADAPTER}:convert", "--label", "fidelite"]
    command = [sys.executable, str(tables.RUNNER), "run", *converter, "--out", str(out), *arguments]
    subprocess.run(command, check=True)
    return json.loads(out.read_text("utf-8"))


def counts(table: tables.Table) -> str:
    lines: list[str] = []
    for mode in tables.MODES:
        found = collections.Counter(by_mode.get(mode, "-") for by_mode in table.cases.values())
        lines.append(f"{mode}: " + ", ".join(f"{count} {what}" for what, count in found.most_common()))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Rewrites expectations.json.")
    parser.add_argument("result", nargs="?", type=Path, help="a result file of conformance.py run")
    parser.add_argument("--filter", help="run only cases whose name this regular expression finds")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if options.result:
        report = json.loads(options.result.read_text("utf-8"))
    else:
        chosen = ["--filter", options.filter] if options.filter else []
        report = run_suite(OUTPUT, "--jobs", str(options.jobs), *chosen)
    old = tables.load()
    new = tables.updated(old, report)
    for line in tables.differences(old, report):
        print(line)
    tables.save(new)
    print(counts(new))
    for line in tables.inconsistencies(new):
        print(line)


if __name__ == "__main__":
    main()
