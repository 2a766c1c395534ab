"""Writes docs/ops.md: the table of operators that convert, from the registry of lowerings.

    python scripts/write_ops.py
"""

from __future__ import annotations

from pathlib import Path

import fidelite
from fidelite.optable import newest_opset

DOCS = Path(__file__).resolve().parent.parent / "docs"


def text() -> str:
    """The page's text."""
    rows = fidelite.ops()
    names = len({(row.domain, row.op) for row in rows})
    lines = [
        "# Operators",
        "",
        f"{names} ONNX operators convert to LiteRT's builtin operators, for models of opset 7 to {newest_opset()}.",
        "A newer schema version is refused, not assumed. `fidelite ops` prints this table, and",
        "`fidelite inspect MODEL` says it of a model.",
        "",
        "| operator | schema versions | not converted |",
        "| --- | --- | --- |",
    ]
    for row in rows:
        name = f"{row.domain}::{row.op}" if row.domain else row.op
        until = f"{row.since} to {row.until}" if row.until is not None else f"{row.since} and newer"
        versions = "all" if row.until is None and row.since == 1 else until
        lines.append(f"| {name} | {versions} | {row.refused.replace('|', chr(92) + '|')} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    (DOCS / "ops.md").write_text(text(), "utf-8", newline="\n")
