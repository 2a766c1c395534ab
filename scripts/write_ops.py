"""Writes docs/ops.md: the table of operators that convert, from the registry of lowerings, and how many cases of the
ONNX backend suite are refused, from the table of what is expected of them.

    python scripts/write_ops.py
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from pathlib import Path

import fidelite
from fidelite.lower.carried import CARRIED
from fidelite.lower.refused import REFUSED
from fidelite.optable import newest_opset

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT))


def text() -> str:
    """The page's text."""
    rows = fidelite.ops()
    names = len({(row.domain, row.op) for row in rows})
    suite = refused_shares()
    lines = [
        "# Operators",
        "",
        f"{names} ONNX operators convert to LiteRT's builtin operators, for models of opset 7 to {newest_opset()}.",
        "A newer schema version is refused, not assumed. `fidelite ops` prints this table, and",
        "`fidelite inspect MODEL` says it of a model. Operators that are not listed and that ONNX itself defines by",
        "others are replaced by that definition.",
        "",
        "The last column counts cases of the ONNX backend suite (`tests/conformance`) that the converter refuses: with",
        "all operands given at run time, and with shapes, axes and weights as constants. All others pass.",
        "",
        "| operator | schema versions | not converted | refused in the suite: at run time, constant, of |",
        "| --- | --- | --- | --- |",
    ]
    told: set[str] = set()
    for row in rows:
        name = f"{row.domain}::{row.op}" if row.domain else row.op
        until = f"{row.since} to {row.until}" if row.until is not None else f"{row.since} and newer"
        versions = "all" if row.until is None and row.since == 1 else until
        share = suite.get(row.op, "") if row.domain in ("", "ai.onnx.ml") and row.op not in told else ""
        told.add(row.op)
        lines.append(f"| {name} | {versions} | {row.refused.replace('|', chr(92) + '|')} | {share} |")
    return "\n".join([*lines, "", *_refused(suite, told), *_types(), ""])


def _refused(suite: dict[str, str], told: set[str]) -> list[str]:
    lines = ["## Refused by name", "", "| operators | why | instead |", "| --- | --- | --- |"]
    by_reason: dict[tuple[str, str], list[str]] = {}
    for name, row in REFUSED.items():
        share = suite.get(name, "")
        by_reason.setdefault(row, []).append(f"{name} (suite: {share})" if share else name)
    for (reason, remedy), names in by_reason.items():
        lines.append(f"| {', '.join(names)} | {reason} | {remedy} |")
    others = {op: share for op, share in suite.items() if op not in told and op not in REFUSED and share}
    if others:
        lines += ["", "Of other operators and of whole models, refused cases in the suite (at run time, constant, "
                  "of): " + ", ".join(f"{op} {share}" for op, share in sorted(others.items())) + "."]
    return [*lines, ""]


def _types() -> list[str]:
    """What carries the element types that LiteRT does not compute in."""
    lines = [
        "## Element types",
        "",
        "Inputs and outputs keep their element types, except where LiteRT cannot carry one. These are carried by",
        "another type that holds each of their values, so nothing is lost; a cast or a quantization to them rounds as",
        "ONNX says.",
        "`convert` warns of each such input and output (W431), and the file's manifest names them. float64 inputs and",
        "outputs stay; arithmetic on them that LiteRT has no kernel for is done in float32 (W430).",
        "",
        "| ONNX type | in the file | why |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {name} | {row.element.dtype.name} | {row.reason} |" for name, row in CARRIED.items()]
    table = json.loads((ROOT / "scripts" / "op_types.json").read_text("utf-8"))
    told = ", ".join(f"{op} in {', '.join(names)}" for op, names in table["refused"].items())
    note = (
        "Operators convert in every element type that ONNX allows for their first operand, but for strings, complex "
        f"numbers, and {told}. So it was found by giving the suite's cases every type in turn (`scripts/op_types.py`); "
        f"what the table above refuses of some types stands there. Not tried so: {', '.join(table['untried'])}.")
    return [*lines, "", *textwrap.wrap(note, 120)]


def refused_shares() -> dict[str, str]:
    """By operator: refused cases with operands at run time, with constant ones, and cases in all; '' where none is."""
    from tests.conformance import table
    from tests.conformance.conformance import load_suite

    operators = {case.name: case.op for case in load_suite()}
    every, refused = Counter[str](), {mode: Counter[str]() for mode in table.MODES}
    for name, by_mode in table.load().cases.items():
        every[operators[name]] += 1
        for mode, expected in by_mode.items():
            refused[mode][operators[name]] += expected.startswith("refused")
    return {op: f"{refused['as-is'][op]}, {refused['folded'][op]}, {count}"
            if refused["as-is"][op] or refused["folded"][op] else "" for op, count in every.items()}


if __name__ == "__main__":
    (DOCS / "ops.md").write_text(text(), "utf-8", newline="\n")
