"""The doctor's findings, the table of operators, and the demo as documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fidelite.report import conversion, figures, inspection, results
from fidelite.report.document import (
    Cell,
    Column,
    Commands,
    Document,
    Facts,
    Lines,
    Part,
    Pictures,
    Section,
    Table,
    Tone,
)

_STATUS: Mapping[str, tuple[str, Tone]] = {
    "good": ("ok", "good"), "warn": ("look", "warn"), "bad": ("wrong", "bad"), "note": ("note", "dim"),
}


def doctor_document(checks: Sequence[Mapping[str, Any]]) -> Document:
    """`fidelite doctor`."""
    rows = [[Cell(*_STATUS[c["status"]]), c["name"], c["text"]] for c in checks]
    bad = [c for c in checks if c["status"] == "bad"]
    sections = [Section("", [Table([Column(""), Column("what"), Column("found")], rows)])]
    remedies = [(c["remedy"], f"{c['name']}: {c['text']}") for c in checks if c["remedy"]]
    if remedies:
        sections.append(Section("What to do", [Commands(remedies)]))
    verdict = Cell("fit to convert and to prove", "good")
    if bad:
        verdict = Cell(f"{figures.count(len(bad), 'thing')} wrong", "bad")
    return Document("This machine", "", verdict, sections)


def ops_document(rows: Sequence[Mapping[str, Any]], wanted: str = "") -> Document:
    """`fidelite ops`; `wanted` is what the rows were searched for."""
    shown = [
        [Cell(r["op"] if r["domain"] == "ai.onnx" else f"{r['domain']}::{r['op']}", "strong"), _versions(r),
         r["refused"]]
        for r in rows
    ]
    table = Table([Column("operator"), Column("schema versions"), Column("not converted")], shown)
    names = len({(r["domain"], r["op"]) for r in rows})
    note = f"{names} of ONNX's operators convert" + (f" ('{wanted}')" if wanted else "")
    if not rows:
        return Document("Operators", "", Cell(f"no operator called '{wanted}' converts", "warn"))
    return Document("Operators", note, None, [Section("", [table])])


def _versions(row: Mapping[str, Any]) -> str:
    if row["until"] is None:
        return f"{row['since']} and newer" if row["since"] > 1 else "all"
    return f"{row['since']} to {row['until']}" if row["until"] != row["since"] else str(row["since"])


def demo_documents(data: Mapping[str, Any], written: Sequence[tuple[Path, str]]) -> list[Document]:
    """`fidelite demo`: what was made, then each step's report."""
    converted = data["conversion"]
    pictures: list[tuple[Path, str]] = [(Path(data["picture"]), "the drawn face")]
    pictures += [(path, caption) for path, caption in written if not path.name.endswith(".mask.png")]
    judged = (f"{figures.share(data['agreement'])} of the pixels get the class that was drawn; "
              f"mean intersection over union of the classes {data['miou']:.2f}")
    parts: list[Part] = [Lines([judged]), Pictures(pictures)]
    head = Document("fidelite demo", "a face-parsing network, from ONNX to LiteRT",
                    conversion.verdict(converted), [Section("What it sees", parts)])
    return [head, inspection.document(data["inspection"]), conversion.document(converted),
            results.run_document(data["tflite"], Path(data["picture"]).name, data["run"]),
            results.benchmark_document(data["benchmark"])]


def demo_document(data: Mapping[str, Any], written: Sequence[tuple[Path, str]], report: Path) -> Document:
    """The demo in a terminal: the main figures, and what was left where."""
    c = data["conversion"]
    taken = c["result"]["xnnpack"]
    worst = max(r["max_abs"] for r in c["verification"]["rows"])
    times = {m["runtime"]: figures.milliseconds(m["median_seconds"]) for m in data["benchmark"]["models"]}
    out = [figures.size(c["result"]["bytes"]), f"{c['result']['operators']} operators",
           figures.count(c["result"]["transposes"], "TRANSPOSE")]
    if taken:
        out.append(f"XNNPACK takes {taken['taken']}")
    seen = f"{figures.share(data['agreement'])} of the pixels as drawn, intersection over union {data['miou']:.2f}"
    rows: list[tuple[str, str | Cell]] = [
        ("in", f"{Path(data['model']).name}, {figures.size(c['source']['bytes'])}"),
        ("out", f"{Path(data['tflite']).name}, {', '.join(out)}"),
        ("largest error", f"{figures.number(worst)} on {c['verification']['samples']} samples"),
        ("on the drawn face", seen),
        ("one run", ", ".join(f"{name} {value}" for name, value in times.items()) + " (1 thread)"),
    ]
    files = [(Path(data["tflite"]), "the LiteRT model"), (Path(data["picture"]), "the drawn face"), *written,
             (report, "everything, with pictures")]
    q = figures.quoted
    commands = [
        (f"fidelite run {q(data['tflite'])} --input {q(data['picture'])} --normalize imagenet", "run it on a picture"),
        (f"fidelite convert {q(data['model'])} --precision dynamic-int8 --normalize imagenet -o face_int8.tflite",
         "convert it smaller, with normalisation in the graph"),
        ("fidelite inspect YOUR_MODEL.onnx", "look at your own"),
    ]
    sections = [Section("", [Facts(rows)]), Section(f"Left in '{data['folder']}'", [Pictures(files)]),
                Section("Next", [Commands(commands)])]
    return Document("fidelite demo", "a face-parsing network, from ONNX to LiteRT", conversion.verdict(c), sections)
