"""The results as a picture: python -m benchmarks.plot RESULTS.json OUT.png (needs matplotlib)"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

OURS, PROVEN, PEER, FLOOR = "#1b7f5c", "#7cc4a4", "#8a8f98", "#c9ccd1"


def _colour(name: str) -> str:
    return {"fidelite": OURS, "fidelite with proof": PROVEN, "floor": FLOOR}.get(name, PEER)


def _bars(axes: Any, values: dict[str, float], title: str, form: str) -> None:
    names = list(values)
    bars = axes.barh(names, [values[n] for n in names], color=[_colour(n) for n in names])
    axes.bar_label(bars, [form.format(values[n]) for n in names], padding=3, fontsize=8)
    axes.set_xlim(0, 1.25 * max(values.values()))
    axes.set_title(title, fontsize=10, loc="left")
    axes.invert_yaxis()


def _cost(axes: Any, results: dict[str, Any], quantity: str, scale: float, title: str, form: str) -> None:
    found = {n: row["median"][quantity] / scale for n, row in results.get("cost", {}).items() if "median" in row}
    if found:
        _bars(axes, found, title, form)


def _latency(axes: Any, results: dict[str, Any]) -> None:
    rows = [row for row in results.get("latency", ()) if "ratio" in row]
    for place, row in enumerate(rows):
        middle, upper = row["ratio"]["median"], row["ratio"]["upper"]
        axes.plot([middle, upper], [place, place], color=OURS, linewidth=2)
        axes.plot(middle, place, "o", color=OURS)
    names = [f"{row['model']} {row['layout']} / {row['peer'].split()[0]}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.axvline(1.0, color=PEER, linewidth=1)
    axes.axvline(1.03, color=PEER, linewidth=1, linestyle=":")
    axes.invert_yaxis()
    axes.set_title("run time, fidelite / peer (median, 95 % bound)", fontsize=10, loc="left")


def _scaling(axes: Any, results: dict[str, Any]) -> None:
    for kind, found in results.get("scaling", {}).items():
        points = sorted((int(size), seconds) for size, seconds in found["cpu"].items())
        axes.plot(*zip(*points, strict=True), "o-", label=kind)
    axes.set_xlabel("nodes", fontsize=8)
    axes.set_title("conversion of a chain, CPU seconds", fontsize=10, loc="left")
    axes.set_ylim(bottom=0)
    if results.get("scaling"):
        axes.legend(fontsize=8)


def main(source: str, target: str) -> None:
    results = json.loads(Path(source).read_text("utf-8"))
    figure, axes = pyplot.subplots(2, 3, figsize=(15, 8))
    _cost(axes[0][0], results, "cpu", 1.0, "convert BiSeNet, CPU seconds", "{:.1f}")
    _cost(axes[0][1], results, "peak", 1e6, "convert BiSeNet, peak memory in MB", "{:.0f}")
    sizes = {n: row["without_pip"] for n, row in results.get("install", {}).items() if "without_pip" in row}
    if sizes:
        _bars(axes[0][2], sizes, "installation, MB", "{:.0f}")
    _latency(axes[1][0], results)
    _scaling(axes[1][1], results)
    axes[1][2].axis("off")
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(target, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
