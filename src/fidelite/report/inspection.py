"""An inspection as a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from fidelite.report import figures, findings, target, tasks
from fidelite.report.document import Cell, Column, Commands, Document, Facts, Lines, Part, Section, Table

_CONVERTS = {
    "yes": Cell("yes", "good"),
    "partly": Cell("yes, but not", "good"),
    "inlined": Cell("inlined", "dim"),
    "no": Cell("no", "bad"),
}


def document(data: Mapping[str, Any]) -> Document:
    """What `Inspection.to_json` gives, as people read it. Problems come first."""
    sections: list[Section] = []
    found = [*findings.of_errors(data["problems"]), *findings.of_notices(data["notices"])]
    sections += [Section("", [finding]) for finding in findings.without_repeats(found)]
    if data.get("target"):
        sections += list(target.sections(data["target"]))
    sections += list(_onnx(data) if data["kind"] == "onnx" else _tflite(data))
    return Document(PurePath(data["path"]).name, _subtitle(data), _verdict(data), sections)


def _subtitle(data: Mapping[str, Any]) -> str:
    if data["kind"] == "tflite":
        manifest = data.get("manifest")
        made = f", made by fidelite {manifest.get('fidelite', '')}" if manifest else ""
        return f"LiteRT model, {figures.size(data['file_bytes'])}{made}"
    producer = f"{data['producer']} {data['producer_version']}".strip() or "unknown producer"
    opsets = ", ".join(f"opset {v}" if d == "ai.onnx" else f"{d} {v}" for d, v in data["opsets"].items())
    bytes_ = figures.size(data["total_bytes"])
    if data["total_bytes"] != data["file_bytes"]:
        bytes_ += f" (graph {figures.size(data['file_bytes'])})"
    return f"ONNX model, {bytes_}, {opsets}, {producer}"


def _verdict(data: Mapping[str, Any]) -> Cell | None:
    if data["problems"]:
        count = len(data["problems"])
        return Cell(f"cannot be converted as it is: {figures.count(count, 'problem')}", "bad")
    trial, asked = data.get("conversion"), data.get("target")
    if asked and (asked["accepted"] or not (trial or {}).get("refusals")):
        return target.verdict(asked)
    if trial is None:
        refused = [r["op"] for r in data["ops"] if isinstance(r, Mapping) and r["converts"] == "no"]
        return Cell(f"not convertible: {', '.join(refused)}", "bad") if refused else None
    if trial["refusals"]:
        return Cell(f"not convertible: {figures.count(len(trial['refusals']), 'refusal')}", "bad")
    left = figures.count(trial["transposes"], "TRANSPOSE")
    return Cell(f"converts: {trial['operators']} operators, {left} left", "good")


# ONNX


def _onnx(data: Mapping[str, Any]) -> Iterator[Section]:
    if refusals := (data.get("conversion") or {}).get("refusals"):
        yield Section("Refused", findings.of_errors(refusals))
    yield _edge(data)
    yield _weights(data)
    yield _operators(data)
    yield _costs(data)
    if data["choices"]:
        yield _choices(data)
    if data["expectations"]:
        lines = [line for e in data["expectations"] for line in _expectation(e, data["precisions"])]
        yield Section("Hope and fact", [Lines(lines)])
    if not data["problems"] and not refusals:
        yield Section("Next", [Commands([(f"fidelite convert {figures.quoted(data['path'])}", "")])])


def _edge(data: Mapping[str, Any]) -> Section:
    rows = [["in", *_port(e)] for e in data["inputs"]] + [["out", *_port(e)] for e in data["outputs"]]
    columns = [Column(""), Column("name"), Column("type"), Column("shape"), Column("size", right=True)]
    return Section("Inputs and outputs", [Table(columns, rows)])


def _port(edge: Mapping[str, Any]) -> list[str | Cell]:
    size = figures.size(edge["bytes"]) if edge["bytes"] is not None else "free"
    return [Cell(edge["name"], "strong"), edge["type"] or "?", figures.shape(edge["shape"]), size]


def _weights(data: Mapping[str, Any]) -> Section:
    w = data["weights"]
    rows: list[tuple[str, str | Cell]] = [("parameters", figures.amount(w["parameters"]))]
    places = [
        ("in the file", w["inline_tensors"], w["inline_bytes"], ""),
        ("in data files", w["external_tensors"], w["external_bytes"], ""),
        ("missing", w["missing_tensors"], w["missing_bytes"], "bad"),
    ]
    for label, count, bytes_, tone in places:
        if count:
            text = f"{figures.count(count, 'tensor')}, {bytes_:,} bytes"
            rows.append((label, Cell(text, "bad") if tone else text))
    unknown = f", and {figures.count(data['macs_unknown'], 'node')} of unknown shape" if data["macs_unknown"] else ""
    rows.append(("work per run", f"{figures.amount(data['macs'])} multiply-accumulates (MACs){unknown}"))
    if data["functions"]:
        rows.append(("functions", ", ".join(data["functions"])))
    return Section("Weights and work", [Facts(rows)])


def _operators(data: Mapping[str, Any]) -> Section:
    trial = data.get("conversion")
    proven = trial is not None and not trial["refusals"]
    rows: list[Sequence[str | Cell]] = []
    for row in data["ops"]:
        version = "-" if row["schema_version"] is None else str(row["schema_version"])
        verdict = _CONVERTS["yes"] if proven and row["converts"] == "partly" else _CONVERTS[row["converts"]]
        refused = "" if proven else row["refused"]
        rows.append([row["op"], str(row["count"]), version, verdict, Cell(refused, "dim")])
    columns = [Column("operator"), Column("nodes", right=True), Column("schema", right=True), Column("converts")]
    columns.append(Column(""))
    return Section("Operators", [Table(columns, rows)], figures.count(data["nodes"], "node"))


def _costs(data: Mapping[str, Any]) -> Section:
    rows: list[Sequence[str | Cell]] = [
        [name, figures.size(c["file_bytes"]), figures.size(c["memory_bytes"]),
         "" if name in data["precisions"] else Cell("not there yet", "dim")]
        for name, c in data["costs"].items()
    ]
    columns = [Column("precision"), Column("file", right=True), Column("memory", right=True), Column("")]
    note = "estimates; memory is weights and the largest set of values alive at once"
    return Section("What to expect", [Table(columns, rows)], note)


def _choices(data: Mapping[str, Any]) -> Section:
    rows: list[Sequence[str | Cell]] = []
    whole = data["costs"]["float32"]
    rows.append(["(as it is)", figures.size(whole["file_bytes"]), figures.size(data["output_bytes"]),
                 figures.size(whole["memory_bytes"])])
    rows += [[c["option"], figures.size(c["file_bytes"]), figures.size(c["output_bytes"]),
              figures.size(c["memory_bytes"])] for c in data["choices"]]
    columns = [Column("option of convert"), Column("file", right=True), Column("outputs", right=True),
               Column("memory", right=True)]
    return Section("What brings what", [Table(columns, rows)])


def _expectation(data: Mapping[str, Any], precisions: Sequence[str]) -> Iterator[str]:
    if data["what"] == "file size":
        wanted = f"{data['hoped_bytes'] / 1e6:g} MB"
        yield (f"A file of {wanted}: no. {figures.amount(data['parameters'])} parameters are "
               f"{figures.size(data['float32_bytes'])} as float32, {figures.size(data['int8_bytes'])} as int8 and "
               f"{figures.size(data['int4_bytes'])} as int4. Only a network of about "
               f"{figures.amount(data['hoped_bytes'])} parameters has {wanted} as int8.")
        return
    outputs = data["outputs"]
    alone = ""
    if data["output_bytes"]:
        which = "its output alone takes" if outputs == 1 else f"its {outputs} outputs alone take"
        alone = f"; {which} {figures.size(data['output_bytes'])}"
    yield (f"10 to {data['hoped_bytes'] / 1e6:g} MB of memory: not as it is. In float32 it needs about "
           f"{figures.size(data['float32_bytes'])}, weights included{alone}.")
    if data["least_with"] and data["least_bytes"] < data["float32_bytes"]:
        later = "" if _available(data["least_with"], precisions) else ", once that precision is there"
        yield f"With {data['least_with']} it is about {figures.size(data['least_bytes'])}{later}."


def _available(option: str, precisions: Sequence[str]) -> bool:
    """Whether this version has the precision that an option names, if it names one."""
    words = option.split()
    return "--precision" not in words or words[words.index("--precision") + 1] in precisions


# LiteRT


def _tflite(data: Mapping[str, Any]) -> Iterator[Section]:
    yield _tflite_edge(data)
    if data["task"] is not None:
        yield Section("For MediaPipe", [Facts(tasks.rows(data["task"]))])
    w = data["weights"]
    kinds = ", ".join(f"{figures.size(count)} {name}" for name, count in w["bytes_by_type"].items())
    rows: list[tuple[str, str | Cell]] = [
        ("file", f"{data['file_bytes']:,} bytes"),
        ("constants", f"{figures.count(w['tensors'], 'tensor')}, {figures.size(w['bytes'])}"
         + (f" ({kinds})" if kinds else "")),
        ("parameters", figures.amount(w["parameters"])),
        ("values", f"about {figures.size(data['activation_bytes'])} alive at once"),
    ]
    if data["subgraphs"] != 1:
        rows.append(("graphs", str(data["subgraphs"])))
    rows.append(("signatures", ", ".join(s["key"] for s in data["signatures"]) or "none"))
    if data["metadata"]:
        rows.append(("metadata", ", ".join(data["metadata"])))
    if data["files"]:
        rows.append(("files behind it", ", ".join(f"{n} ({figures.size(s)})" for n, s in data["files"].items())))
    if data["description"]:
        rows.append(("description", data["description"]))
    yield Section("Size", [Facts(rows)])
    custom = set(data["custom_ops"])
    ops: list[Sequence[str | Cell]] = [[name, str(count), Cell("custom", "bad") if name in custom else "builtin"]
                                       for name, count in data["ops"].items()]
    columns = [Column("operator"), Column("count", right=True), Column("kind")]
    yield Section("Operators", [Table(columns, ops)], figures.count(data["operators"], "operator"))
    if data["manifest"]:
        yield Section("How it was made", [_manifest(data["manifest"])])


def _tflite_edge(data: Mapping[str, Any]) -> Section:
    rows: list[Sequence[str | Cell]] = []
    for kind, edges in (("in", data["inputs"]), ("out", data["outputs"])):
        for edge in edges:
            facts = edge["quantization"]
            scaled = "" if not facts else (f"scale {facts['scale']:.6g}, zero point {facts['zero_point']}"
                                           if "scale" in facts else f"{facts['scales']} scales")
            rows.append([kind, *_port(edge), scaled])
    columns = [Column(""), Column("name"), Column("type"), Column("shape"), Column("size", right=True), Column("")]
    return Section("Inputs and outputs", [Table(columns, rows)])


def _manifest(manifest: Mapping[str, Any]) -> Part:
    rows: list[tuple[str, str | Cell]] = []
    source = manifest.get("source", {})
    if source:
        made = f"{source.get('producer') or 'unknown producer'}, opset {source.get('opset', '?')}"
        rows.append(("source", f"{source.get('name', '?')} ({made}), sha256 {str(source.get('sha256', ''))[:16]}..."))
    options = manifest.get("options", {})
    if options:
        told = [f"{key} {_told(value)}" for key, value in options.items() if value]
        rows.append(("options", ", ".join(told)))
    for name, edge in (manifest.get("edge") or {}).get("inputs", {}).items():
        if edge.get("normalization"):
            n = edge["normalization"]
            text = f"normalised in the graph: (x * {n['scale']:.6g} - {n['mean']}) / {n['std']}"
            rows.append((f"input '{name}'", text))
    for part, proof in _proofs(manifest.get("proof") or {}):
        worst = max((float(o["max_abs"]) for o in proof["outputs"].values() if o["max_abs"] is not None), default=None)
        rows.append((part, Cell(f"{proof['verdict']} against {proof['source']} on {proof['samples']} samples, "
                                f"largest error {figures.number(worst)}",
                                "good" if proof["verdict"] == "proven" else "bad")))
    if (manifest.get("proof") or {}).get("verdict") == "not verified":
        rows.append(("proof", Cell("not verified (--no-verify)", "warn")))
    return Facts(rows)


def _proofs(proof: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, label in (("float", "float graph"), ("file", "proof")):
        part = proof.get(name)
        if isinstance(part, Mapping):
            yield label, part


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{k}={v}" for k, v in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
