"""A conversion and a verification as documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from fidelite.report import figures, findings, quantization, saved_model, tasks
from fidelite.report.document import Cell, Column, Commands, Document, Facts, Lines, Part, Section, Table, Tone

_TONES: dict[str, Tone] = {"proven": "good", "mismatch": "bad", "not proven": "warn"}
_MOST_NAMES = 3
_MOST_REASONS = 8
_STAGES = {"read": "read", "prepare": "prepare", "lower": "lower", "optimize": "optimize", "quantize": "quantize",
           "write": "write", "verify": "prove", "device": "try on the target",
           "approximate": "approximate"}


def document(data: Mapping[str, Any], *, commands: Sequence[tuple[str, str]] = ()) -> Document:
    """What `fidelite.describe` gives, as people read it; `commands` are what to type next."""
    source, result = data["source"], data["result"]
    sections = [_in(source), _out(result, data)]
    if (proof := data["exact_verification"]) is not None:
        sections.append(proof_section(proof, "Proof of the exact graph"))
    if (proof := data["float_verification"]) is not None:
        sections.append(proof_section(proof, "Proof of the float32 graph"))
    if (proof := data["verification"]) is not None:
        quantized = data["float_verification"] is not None
        sections.append(proof_section(proof, f"Proof of the {result['precision']} file" if quantized else "Proof"))
    if data["quantization"]:
        sections.append(quantization.section(data["quantization"]))
    if data["device"]:
        sections += device_sections(data["device"])
    if data["saved_model"] is not None:
        sections += saved_model.sections(data["saved_model"], proof_section)
    if data["kept_float"]:
        sections.append(_kept_float(data["kept_float"]))
    if found := findings.of_notices(data["notices"]):
        sections.append(Section("To know", found))
    if data["refusals"]:
        lines = Lines(data["refusals"])
        sections.append(Section("What passes left alone", [lines]))
    sections.append(Section("Time", [Lines([_times(data["seconds"])])]))
    if commands:
        sections.append(Section("Next", [Commands(commands)]))
    title = f"{_name(source['path'], source['name'] or 'the model')} -> {_name(result['path'], 'a .tflite file')}"
    return Document(title, "", verdict(data), sections)


def _name(path: str | None, otherwise: str) -> str:
    return otherwise if path is None else PurePath(path).name


def verdict(data: Mapping[str, Any]) -> Cell:
    """The outcome of a conversion."""
    proof = data["verification"]
    if proof is None:
        return Cell("written, but not proven (--no-verify)", "warn")
    if proof["proven"]:
        text = f"{_results(data)} what {proof['source']} gives, on {figures.count(proof['samples'], 'sample')}"
        if data["float_verification"] is not None:
            text += f"; with {data['result']['precision']}, within the bounds of that precision"
        return Cell(f"proven: {text}", "good")
    return Cell({"mismatch": "results differ", "not proven": "not proven"}[proof["verdict"]], "bad")


def _results(data: Mapping[str, Any]) -> str:
    """Who gives what the source gives."""
    proofs = [p for p in (data["verification"], data["float_verification"]) if p is not None]
    exported = any(p["exported"] is not None for p in proofs)
    return "ONNX Runtime and LiteRT give" if exported else f"{data['verification']['result']} gives"


def _in(source: Mapping[str, Any]) -> Section:
    rows: list[tuple[str, str | Cell]] = []
    producer = source["producer"] or "unknown producer"
    if (network := source["pytorch"]) is None:
        rows.append(("file", f"{figures.size(source['bytes'])}"
                     + (f" in {1 + len(source['files'])} files" if source["files"] else "")
                     + f", opset {source['opset']}, {producer}"))
    else:
        files = ", ".join(PurePath(path).name for path in network["files"])
        rows.append(("PyTorch", f"{network['kind']}" + (f", weights from {files}" if files else "")))
        told = f"in memory: opset {source['opset']}, by the {network['exporter']} exporter, {producer}"
        rows.append(("export", told))
    return Section("In", [Facts(rows), ports(source)])


def _out(result: Mapping[str, Any], data: Mapping[str, Any]) -> Section:
    rows: list[tuple[str, str | Cell]] = []
    size = "not written" if result["bytes"] is None else figures.size(result["bytes"])
    share = f", {result['bytes'] / data['source']['bytes'] * 100:.0f} % of the source" if (
        result["bytes"] and data["source"]["bytes"]) else ""
    rows.append(("file", f"{size}{share}, {result['precision']}, for {result['target']}"))
    most = ", ".join(f"{count} {name}" for name, count in list(result["ops"].items())[:6])
    more = ", ..." if len(result["ops"]) > 6 else ""
    rows.append(("operators", f"{result['operators']:,} ({most}{more})"))
    rows.append(("TRANSPOSEs", f"{result['transposes']} left"))
    if (task := result["task"]) is not None:
        rows += tasks.rows(task)
    if (taken := result["xnnpack"]) is not None:
        rest = [f"{all_ - some} {name}" for name, (some, all_) in taken["per_op"].items() if some < all_]
        text = f"takes {taken['taken']} of {taken['total']} operators" + (f"; not {', '.join(rest)}" if rest else "")
        rows.append(("XNNPACK", text))
    return Section("Out", [Facts(rows), ports(result)])


def _kept_float(rows: Sequence[Mapping[str, Any]]) -> Section:
    """Which operators stay float32, or their weights do, by reason: the most frequent ones."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reasons.setdefault(row["reason"], []).append(row["nodes"])
    lines: list[str | Cell] = []
    ordered = sorted(reasons.items(), key=lambda item: -len(item[1]))
    for reason, names in ordered[:_MOST_REASONS]:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        lines.append(f"{reason}: {figures.count(len(names), 'operator')} ({'; '.join(names[:_MOST_NAMES])}{more})")
    if rest := sum(len(names) for _, names in ordered[_MOST_REASONS:]):
        lines.append(f"other reasons: {figures.count(rest, 'operator')} (all of them: --json)")
    return Section("What stays float32", [Lines(lines)])


def ports(side: Mapping[str, Any]) -> Table:
    rows = [[kind, Cell(p["name"], "strong"), p["type"], figures.shape(p["shape"])]
            for kind, found in (("in", side["inputs"]), ("out", side["outputs"])) for p in found]
    return Table([Column(""), Column("name"), Column("type"), Column("shape")], rows)


def device_sections(data: Mapping[str, Any]) -> Iterator[Section]:
    """What the file did in its target's own runtime, or in a simulation of it."""
    if data["target"] == "gpu":
        yield from _half(data)
    elif (proof := data.get("verification")) is not None:
        yield proof_section(proof, f"Proof in {proof['result']}")
    if (arena := data.get("arena")) is not None:
        rows: list[tuple[str, str | Cell]] = [
            ("smallest arena", Cell(f"{arena['smallest']:,} bytes", "strong")),
            ("values", f"{arena['values']:,} bytes"),
            ("structures", f"{arena['structures']:,} bytes, of 64-bit pointers here: less where they have 32"),
        ]
        yield Section("Memory on the device", [Facts(rows)])


def _half(data: Mapping[str, Any]) -> Iterator[Section]:
    """The simulation of float16."""
    yield proof_section(data["verification"], "float16, simulated")
    rows: list[Sequence[str | Cell]] = []
    for row in data["largest"][:5]:
        over = row["reaches"] > data["limit"]
        what = "value" if row["what"] == "value" else "sum of magnitudes behind"
        rows.append([Cell(figures.number(row["reaches"]), "bad" if over else ""), what, row["op"], row["tensor"]])
    columns = [Column("reaches", right=True), Column("what"), Column("operator"), Column("tensor")]
    samples = figures.count(data["samples"], "sample")
    note = f"float16 ends at {data['limit']:.0f}; on the CPU, with {samples}: no GPU was used"
    yield Section("Largest numbers", [Table(columns, rows)], note)


def proof_section(proof: Mapping[str, Any], title: str = "Proof") -> Section:
    """The table of a verification: each output's verdict and figures, and the reasons of those that failed."""
    rows = proof.get("rows") or [_row(o) for o in proof["outputs"]]
    shown: list[Sequence[str | Cell]] = []
    with_classes = any(r["argmax_agreement"] is not None for r in rows)
    exported = proof.get("exported")
    for r in rows:
        cells: list[str | Cell] = [Cell(r["output"], "strong"), Cell(r["verdict"], _TONES[r["verdict"]])]
        cells += _exported_cells(r.get("exported"), with_classes) if exported is not None else []
        cells += [figures.number(r["max_abs"]), figures.number(r["max_rel"]),
                  figures.number(r["cosine"]) if r["cosine"] != 1 else "1"]
        shown.append([*cells, figures.share(r["argmax_agreement"])] if with_classes else cells)
    columns = [Column("output"), Column("verdict")]
    if exported is not None:
        columns += [Column("ONNX: max error", right=True)]
        columns += [Column("same argmax", right=True)] if with_classes else []
    columns += [Column("LiteRT: max error" if exported is not None else "max error", right=True),
                Column("relative", right=True), Column("cosine", right=True)]
    columns += [Column("same argmax", right=True)] if with_classes else []
    parts: list[Part] = [Table(columns, shown)]
    failed = [Cell(f"'{r['output']}' {r['reason']}", _TONES[r["verdict"]]) for r in rows if r["verdict"] != "proven"]
    problems = [Cell(p, "bad") for p in proof["problems"]]
    if exported is not None:
        failed += [Cell(f"ONNX Runtime: '{o['name']}' {o['reason']}", _TONES[o["verdict"]])
                   for o in exported["outputs"] if o["verdict"] != "proven"]
    if problems or failed:
        parts.append(Lines([*problems, *failed]))
    both = f"{exported['result']} and {proof['result']}" if exported is not None else proof["result"]
    note = f"{proof['source']} against {both}, {figures.count(proof['samples'], 'sample')}"
    return Section(title, parts, note)


def _exported_cells(row: Mapping[str, Any] | None, with_classes: bool) -> list[str | Cell]:
    """What ONNX Runtime gave, against the same source."""
    if row is None:
        return ["-", "-"] if with_classes else ["-"]
    tone = None if row["verdict"] == "proven" else _TONES[row["verdict"]]
    error: str | Cell = figures.number(row["max_abs"])
    cells: list[str | Cell] = [Cell(error, tone) if tone is not None else error]
    return [*cells, figures.share(row["argmax_agreement"])] if with_classes else cells


def _row(output: Mapping[str, Any]) -> dict[str, Any]:
    f = output["figures"] or {}
    names = ("max_abs", "max_rel", "cosine", "argmax_agreement")
    return {"output": output["name"], "verdict": output["verdict"], "reason": output["reason"],
            **{name: f.get(name) for name in names}}


def _times(seconds: Mapping[str, float]) -> str:
    told = [f"{_STAGES.get(name, name)} {figures.seconds(value)}" for name, value in seconds.items()]
    return f"{figures.seconds(sum(seconds.values()))}: {', '.join(told)}"


def verification_document(model: str, result: str, data: Mapping[str, Any]) -> Document:
    """`fidelite verify`."""
    proof = data["verification"]
    outcome = {
        "proven": Cell("proven: both give the same", "good"),
        "mismatch": Cell("results differ", "bad"),
        "not proven": Cell("not proven: the comparison could not have failed", "warn"),
    }[proof["verdict"]]
    sections = [proof_section(proof, "Outputs")]
    if notices := findings.of_notices(data["notices"]):
        sections.append(Section("To know", notices))
    sections += _bisection(data)
    return Document(f"{PurePath(result).name} against {PurePath(model).name}", "", outcome, sections)


def _bisection(data: Mapping[str, Any]) -> Iterator[Section]:
    if not data["bisected"]:
        return
    found = data["divergence"]
    if found is None:
        yield Section("Bisect", [Lines(["every step agrees when it is fed the source's own values"])])
        return
    rows: list[tuple[str, str | Cell]] = [
        ("source", Cell(", ".join(found["nodes"]) or "?", "strong")),
        ("operators", ", ".join(found["operators"])),
        ("value", found["value"]),
    ]
    comparison = found["comparison"]
    if found["crash"]:
        rows.append(("crash", Cell(found["crash"], "bad")))
    elif comparison is not None:
        f = comparison["figures"]
        told = comparison["problem"]
        if not told and f is not None:
            told = f"max error {figures.number(f['max_abs'])}, cosine {figures.number(f['cosine'])}"
        rows.append(("difference", Cell(told, "bad")))
    if data["files"]:
        rows.append(("cut down to it", ", ".join(data["files"])))
    yield Section("First step that differs", [Facts(rows)])
