"""What fidelite is to reach, beside what its peers reach. A row without a measurement is not reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Json = Mapping[str, Any]
MISSING = "-"
Status = Literal["reached", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `values` has what each converter measured, as text."""

    what: str
    target: str
    values: Mapping[str, str]
    status: Status


def _median(results: Json, name: str, quantity: str) -> float | None:
    return results.get("cost", {}).get(name, {}).get("median", {}).get(quantity)


def _judge(value: float | None, limit: float) -> Status:
    if value is None:
        return "not measured"
    return "reached" if value <= limit else "missed"


def _seconds_and_memory(results: Json, name: str) -> str:
    cpu, peak = _median(results, name, "cpu"), _median(results, name, "peak")
    return MISSING if cpu is None or peak is None else f"{cpu:.2f} s, {peak / 1e6:.0f} MB"


def _floor_ratio(results: Json, quantity: str, unit: Callable[[float], str], limit: float, names: Sequence[str]) -> Row:
    ratio = results.get("cost", {}).get("fidelite", {}).get(f"{quantity}_over_floor")
    values = {}
    for name in (*names, "floor", "fidelite"):
        value = _median(results, name, quantity)
        values[name] = MISSING if value is None else unit(value)
    if ratio is not None:
        values["fidelite"] += f" ({ratio:.2f} x the floor)"
    what = {"cpu": "CPU", "peak": "peak memory"}[quantity]
    return Row(f"convert BiSeNet, verification off: {what}", f"at most {limit} x the floor", values,
               _judge(ratio, limit))


def conversion_rows(results: Json, peers: Sequence[str]) -> list[Row]:
    rows = [
        _floor_ratio(results, "cpu", lambda v: f"{v:.2f} s", 1.35, peers),
        _floor_ratio(results, "peak", lambda v: f"{v / 1e6:.0f} MB", 1.25, peers),
    ]
    proven = "fidelite with proof"
    values = {"fidelite": _seconds_and_memory(results, proven)}
    rows.append(Row("convert BiSeNet, verification on: CPU", "at most 4 s", values,
                    _judge(_median(results, proven, "cpu"), 4.0)))
    return rows


# model, layout, its words, what is counted, the most of each
COUNTS: tuple[tuple[str, str, str, tuple[str, str], tuple[int, int]], ...] = (
    ("bisenet", "nhwc", "BiSeNet, NHWC I/O: operators, TRANSPOSE", ("operators", "transposes"), (70, 0)),
    ("bisenet", "source", "BiSeNet as the source has it: operators, TRANSPOSE", ("operators", "transposes"), (74, 4)),
    ("mobilenet", "nhwc", "MobileNetV3-like, NHWC I/O: TRANSPOSE, RESHAPE", ("transposes", "reshapes"), (0, 1)),
    ("vit", "source", "ViT-tiny, NCHW in: TRANSPOSE, RESHAPE", ("transposes", "reshapes"), (25, 30)),
    ("yolo", "source", "YOLO-like, NCHW in: TRANSPOSE, RESHAPE", ("transposes", "reshapes"), (4, 3)),
)


def _find(results: Json, converter: str, model: str, layout: str, exporter: str = "dynamo") -> Json | None:
    for row in results.get("results", ()):
        if (row["converter"], row["model"], row["layout"], row["exporter"]) == (converter, model, layout, exporter):
            return row
    return None


def _counted(row: Json | None, what: tuple[str, str]) -> str:
    return MISSING if row is None or "operators" not in row else f"{row[what[0]]}, {row[what[1]]}"


def count_rows(results: Json, peers: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for model, layout, title, what, most in COUNTS:
        found = {name: _find(results, name, model, layout) for name in (*peers, "fidelite")}
        values = {name: _counted(row, what) for name, row in found.items()}
        for name in peers:
            if layout == "source" and model == "bisenet" and name.startswith("onnx2tf") and values[name] != MISSING:
                values[name] += " (outputs NHWC)"
        ours = [_find(results, "fidelite", model, layout, exporter) for exporter in ("dynamo", "ts")]
        rows.append(Row(title, f"at most {most[0]}, {most[1]}", values, _within(ours, what, most)))
    return rows


def _within(found: Sequence[Json | None], what: tuple[str, str], most: tuple[int, int]) -> Status:
    """Both exporters' models have to keep the limits, and to be proven."""
    if any(row is None or "operators" not in row for row in found):
        return "not measured"
    kept = all(row[key] <= limit for row in found if row for key, limit in zip(what, most, strict=True))
    proven = all(row.get("proof", "proven") == "proven" for row in found if row)
    return "reached" if kept and proven else "missed"


LATENCY_LIMIT = 1.03


def latency_rows(results: Json, peers: Sequence[str], titles: Mapping[str, str]) -> list[Row]:
    """Per model and layout. The bound beside the best peer is the largest of them."""
    groups: dict[tuple[str, str], dict[str, Json]] = {}
    for row in results.get("latency", ()):
        groups.setdefault((row["model"], row["layout"]), {})[row["peer"]] = row
    rows: list[Row] = []
    for (model, layout), by_peer in groups.items():
        measured = {name: row["ratio"] for name, row in by_peer.items() if "ratio" in row}
        values = dict.fromkeys(peers, MISSING)
        values |= {name: f"{r['median']:.3f} (bound {r['upper']:.3f})" for name, r in measured.items()}
        ours = [row["ours_seconds"] for row in by_peer.values() if "ours_seconds" in row]
        values["fidelite"] = f"{1000 * min(ours):.1f} ms" if ours else MISSING
        bound = max((ratio["upper"] for ratio in measured.values()), default=None)
        words = "NHWC I/O" if layout == "nhwc" else "as the source has it"
        rows.append(Row(f"latency, {titles.get(model, model)}, {words}: fidelite / peer",
                        f"bound at most {LATENCY_LIMIT}", values, _judge(bound, LATENCY_LIMIT)))
    return rows


INSTALL_LIMIT = 360


def install_row(results: Json, peers: Sequence[str]) -> Row:
    found = results.get("install", {})
    values = dict.fromkeys((*peers, "fidelite"), MISSING)
    for name, sizes in found.items():
        if "without_pip" in sizes:
            values[name] = (f"{sizes['without_pip']:.0f} MB ({sizes['without_pip_and_pyc']:.0f} without .pyc, "
                            f"{sizes['whole']:.0f} with pip and setuptools)")
    return Row("base install in a fresh environment, without pip and setuptools", f"at most {INSTALL_LIMIT} MB", values,
               _judge(found.get("fidelite", {}).get("without_pip"), INSTALL_LIMIT))


GROWTH_LIMIT = 1.25


def scaling_rows(results: Json) -> list[Row]:
    rows: list[Row] = []
    for kind, found in results.get("scaling", {}).items():
        text = ", ".join(f"{size}: {seconds:.2f} s" for size, seconds in found["cpu"].items())
        growth = found.get("marginal_growth")
        if growth is not None:
            text += f"; one more node costs {growth:.2f} x"
        rows.append(Row(f"chain of {kind}, CPU by number of nodes", f"linear: at most {GROWTH_LIMIT} x",
                        {"fidelite": text or MISSING}, _judge(growth, GROWTH_LIMIT)))
    return rows


def table(results: Json, titles: Mapping[str, str]) -> list[Row]:
    """All rows, in the order of what was measured."""
    peers: list[str] = results["peers"]
    parts: dict[str, Callable[[], list[Row]]] = {
        "cost": lambda: conversion_rows(results, peers),
        "results": lambda: count_rows(results, peers),
        "latency": lambda: latency_rows(results, peers, titles),
        "install": lambda: [install_row(results, peers)],
        "scaling": lambda: scaling_rows(results),
    }
    return [row for name, make in parts.items() if name in results for row in make()]
