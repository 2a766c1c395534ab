"""The results as a picture: python -m benchmarks.precision.plot precision.json OUT.png (needs matplotlib)"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

from benchmarks.precision.page import TOOLS, worst

COLOURS = {"fidelite": "#1b7f5c", "litert-quantizer": "#8a8f98"}


def _panel(axes: Any, mode: str, subjects: dict[str, Any]) -> None:
    names = [n for n, s in subjects.items() if mode in s["modes"]]
    for shift, tool in zip((-0.2, 0.2), TOOLS, strict=True):
        values = [worst(subjects[n]["modes"][mode].get(tool, {}), "sqnr") for n in names]
        places = [at + shift for at, value in enumerate(values) if value is not None]
        bars = axes.barh(places, [v for v in values if v is not None], 0.38, color=COLOURS[tool], label=tool)
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_title(f"{mode}: SQNR of the worst output, dB", fontsize=9, loc="left")


def main(source: str, target: str) -> None:
    results = json.loads(Path(source).read_text("utf-8"))
    subjects = results["subjects"]
    modes = list(dict.fromkeys(m for s in subjects.values() for m in s["modes"]))
    columns = min(3, len(modes))
    rows = -(-len(modes) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(5 * columns, 1.2 + rows * (0.9 + 0.35 * len(subjects))),
                                   squeeze=False)
    for one in axes.flat:
        one.axis("off")
    for one, mode in zip(axes.flat, modes, strict=False):
        one.axis("on")
        _panel(one, mode, subjects)
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=7)
    axes.flat[0].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(target, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
