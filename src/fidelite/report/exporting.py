"""`fidelite export` as a document."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from fidelite.report import figures, findings
from fidelite.report.conversion import ports, proof_section
from fidelite.report.document import Cell, Commands, Document, Facts, Section


def document(model: str, data: Mapping[str, Any]) -> Document:
    """What `ExportedFile.to_json` gives, as people read it."""
    rows: list[tuple[str, str | Cell]] = [
        ("file", f"{figures.size(data['bytes'])}, opset {data['opset']}, by PyTorch's {data['exporter']} exporter")]
    if data["data_file"] is None:
        rows.append(("weights", "in the file"))
    else:
        name = PurePath(data["data_file"]).name
        rows.append(("weights", Cell(f"beside it, in {name} ({figures.size(data['data_bytes'])}): copy both", "warn")))
    sections = [Section("Out", [Facts(rows), ports(data)])]
    proof = data["verification"]
    if proof is not None:
        sections.append(proof_section(proof))
    if found := findings.of_notices(data["notices"]):
        sections.append(Section("To know", found))
    sections.append(Section("Next", [Commands([
        (f"fidelite convert {figures.quoted(data['path'])}", "make the .tflite of it")])]))
    verdict = Cell("written, but not proven (--no-verify)", "warn") if proof is None else Cell(
        f"proven: ONNX Runtime gives what PyTorch gives, on {figures.count(proof['samples'], 'sample')}", "good")
    return Document(f"{PurePath(model).name} -> {PurePath(data['path']).name}", "", verdict, sections)
