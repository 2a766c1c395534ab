"""A SavedModel in a report: what was written, and its two proofs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fidelite.report import figures
from fidelite.report.document import Cell, Facts, Section

_MOST = 300


def sections(data: Mapping[str, Any], proof: Callable[[Mapping[str, Any], str], Section]) -> list[Section]:
    """`data` as `SavedModel.to_json` gives it; `proof` makes the section of a verification."""
    rows: list[tuple[str, str | Cell]] = [
        ("folder", f"{data['path']}, {figures.size(data['bytes'])}, by TensorFlow {data['tensorflow']}"),
        ("variables", f"{data['variables']} that can be trained, {data['parameters']:,} parameters"),
    ]
    if renamed := [f"'{own}' is '{name}'" for own, name in data["inputs"].items() if own != name]:
        rows.append(("names", f"TensorFlow does not take every name: {', '.join(renamed)}"))
    if data["verification"] is None:
        rows.append(("proof", Cell("not proven (--no-verify)", "warn")))
    if data["reconversion_refused"]:
        text = " ".join(data["reconversion_refused"].split())
        rows.append(("tf.lite", Cell(f"its converter does not take it: {text[:_MOST]}", "warn")))
    found = [Section("SavedModel", [Facts(rows)])]
    if data["verification"] is not None:
        found.append(proof(data["verification"], "Proof of the SavedModel, in TensorFlow"))
    if data["reconverted"] is not None:
        found.append(proof(data["reconverted"], "Proof of what tf.lite makes of it"))
    return found
