"""Benchmarks and runs as documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from fidelite.report import figures, findings
from fidelite.report.document import (
    Bar,
    Bars,
    Cell,
    Column,
    Document,
    Lines,
    Part,
    Pictures,
    Section,
    Table,
)

_MOST_CLASSES = 8


def benchmark_document(data: Mapping[str, Any]) -> Document:
    """`fidelite benchmark`."""
    models = data["models"]
    fastest = min(m["median_seconds"] for m in models)
    slowest = max(m["median_seconds"] for m in models)
    rows: list[Sequence[str | Cell]] = []
    bars: list[Bar] = []
    for label, m in zip(_labels(models), models, strict=True):
        taken = m["xnnpack"]
        median = figures.milliseconds(m["median_seconds"])
        rows.append([
            Cell(label, "strong"), m["runtime"], figures.size(m["file_bytes"]),
            Cell(median, "good" if m["median_seconds"] == fastest and len(models) > 1 else ""),
            figures.milliseconds(m["p90_seconds"]), figures.milliseconds(m["load_seconds"]),
            figures.size(m["peak_memory_bytes"]), figures.size(m["own_memory_bytes"]),
            "-" if taken is None else f"{taken['taken']} of {taken['total']}",
        ])
        bars.append(Bar(label, m["median_seconds"] / slowest, median, "good" if m["median_seconds"] == fastest else ""))
    right = [Column(name, right=True) for name in ("file", "median", "p90", "load", "peak", "growth", "XNNPACK")]
    parts: list[Part] = [Table([Column("model"), Column("runtime"), *right], rows)]
    if len(models) > 1:
        parts.append(Bars(bars))
    runs = models[0]["runs"]
    note = f"{figures.count(data['threads'], 'thread')}, {runs} runs each, in turns"
    parts.append(Lines([Cell(n, "dim") for n in data["notes"]]))
    return Document("Benchmark", note, None, [Section("", parts)])


def phone_document(data: Mapping[str, Any]) -> Document:
    """`fidelite benchmark --adb`."""
    rows: list[Sequence[str | Cell]] = []
    for label, m in zip(_labels(data["models"]), data["models"], strict=True):
        times = [m[name] for name in ("median_seconds", "mean_seconds", "min_seconds", "p95_seconds", "load_seconds",
                                      "first_seconds")]
        rows.append([Cell(label, "strong"), *("-" if t is None else figures.milliseconds(t) for t in times),
                     figures.size(m["peak_memory_bytes"]), str(m["runs"])])
    right = [Column(name, right=True) for name in ("median", "mean", "least", "p95", "load", "first", "peak", "runs")]
    note = f"{data['device']}, {figures.count(data['threads'], 'thread')}"
    return Document("Benchmark on a device", note, None, [Section("", [Table([Column("model"), *right], rows)])])


def _labels(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """File names, or whole paths where names are the same."""
    names = [PurePath(m["path"]).name for m in models]
    return names if len(set(names)) == len(names) else [m["path"] for m in models]


def run_document(model: str, what: str, data: Mapping[str, Any], written: Sequence[tuple[Path, str]] = ()) -> Document:
    """`fidelite run`; `what` it was run on, `written` are files and their captions."""
    sections: list[Section] = []
    if found := findings.of_notices(data["notices"]):
        sections += [Section("", [f]) for f in found]
    if data["steps"]:
        sections.append(Section("Picture to input", [Lines(data["steps"])]))
    sections.append(_values(data))
    sections += list(_answers(data, written))
    if written:
        sections.append(Section("Written", [Pictures(list(written))]))
    note = f"{data['runtime']}, {figures.seconds(data['seconds'])}"
    return Document(f"{PurePath(model).name} on {what}", note, None, sections)


def comparison_document(what: str, data: Mapping[str, Any]) -> Document:
    """`fidelite run --compare`: every model against the first."""
    models = data["models"]
    rows: list[Sequence[str | Cell]] = []
    parts: list[Part] = []
    for number, m in enumerate(models):
        pixels = m["pixels"]
        told: str | Cell = "-"
        if pixels is not None:
            told = Cell(f"{pixels['differing']:,} of {pixels['of']:,}", "good" if pixels["differing"] == 0 else "")
        rows.append([Cell(m["name"], "strong"), m["runtime"], figures.seconds(m["seconds"]),
                     Cell("compared with this", "dim") if number == 0 else told])
    columns = [Column("model"), Column("runtime"), Column("time", right=True), Column("pixels that differ", right=True)]
    parts.append(Table(columns, rows))
    values: list[Sequence[str | Cell]] = [
        [m["name"], Cell(o["output"], "strong"), Cell(o["problem"], "bad") if o["problem"] else
         figures.number(o["max_abs"]), figures.number(o["scale"]), figures.share(o["argmax_agreement"])]
        for m in models[1:] for o in m["outputs"]]
    right = [Column(title, right=True) for title in ("max error", "values up to", "same argmax")]
    table = Table([Column("model"), Column("output"), *right], values)
    sections = [Section("", parts), Section(f"Outputs against {models[0]['name']}", [table])]
    if data["written"]:
        sections.append(Section("Written", [Pictures([(Path(p), "the models side by side, and the pixels that differ")
                                                      for p in data["written"]])]))
    return Document(f"{len(models)} models on {what}", "", None, sections)


def _values(data: Mapping[str, Any]) -> Section:
    rows: list[Sequence[str | Cell]] = []
    for kind, entries in (("in", data["inputs"]), ("out", data["outputs"])):
        for e in entries:
            bad = Cell(f"{e['nonfinite']} not finite", "bad") if e["nonfinite"] else ""
            rows.append([kind, Cell(e["name"], "strong"), e["type"], figures.shape(e["shape"]),
                         figures.number(e["min"]), figures.number(e["max"]), figures.number(e["mean"]), bad])
    columns = [Column(""), Column("name"), Column("type"), Column("shape"), Column("min", right=True),
               Column("max", right=True), Column("mean", right=True), Column("")]
    return Section("Values", [Table(columns, rows)])


def _answers(data: Mapping[str, Any], written: Sequence[tuple[Path, str]]) -> Iterator[Section]:
    for index, found in enumerate(data["segmentations"]):
        if index and not written:
            break
        if index:
            names = ", ".join(f"'{s['output']}'" for s in data["segmentations"][1:])
            yield Section("", [Lines([Cell(f"also a map of classes: {names} (--outputs NAME writes it)", "dim")])])
            break
        shown = found["classes"][:_MOST_CLASSES]
        bars = Bars([Bar(f"{c['index']:>2} {c['label']}", c["share"], figures.share(c["share"])) for c in shown])
        more = len(found["classes"]) - len(shown)
        parts: list[Part] = [bars]
        if more > 0:
            parts.append(Lines([Cell(f"and {more} {'class' if more == 1 else 'classes'} with less", "dim")]))
        yield Section(f"Classes in '{found['output']}'", parts, found["how"])
    for name, rows in data["top"].items():
        table = Table([Column("class", right=True), Column("label"), Column("score", right=True)],
                      [[str(r["index"]), r["label"], figures.number(r["score"])] for r in rows])
        yield Section(f"Largest of '{name}'", [table])
