"""What a file says to MediaPipe, in rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fidelite.report import figures
from fidelite.report.document import Cell

_MOST_LABELS = 6


def rows(task: Mapping[str, Any]) -> list[tuple[str, str | Cell]]:
    """Task, labels, normalisation, activation and boxes of what `Card.to_json` gives."""
    found: list[tuple[str, str | Cell]] = [("task", Cell(task["task"] or "not told", "strong"))]
    if labels := task["labels"]:
        shown = ", ".join(labels[:_MOST_LABELS]) + (", ..." if len(labels) > _MOST_LABELS else "")
        found.append(("labels", f"{figures.count(len(labels), 'name')}: {shown}"))
    if task["mean"]:
        found.append(("picture", _picture(task["mean"], task["std"])))
    if task["task"] in ("image-segmenter", "object-detector"):
        found.append(("activation", task["activation"]))
    if (boxes := task["boxes"]) is not None:
        unit = "shares of the picture" if boxes["width"] == boxes["height"] == 1.0 else (
            f"pixels of {boxes['width']:g} x {boxes['height']:g}")
        found.append(("boxes", f"{boxes['order']}, {unit}"))
    return found


def _picture(mean: list[float], std: list[float]) -> str:
    if set(mean) == {0.0} and set(std) == {1.0}:
        return "values 0..255 as they are"
    return f"MediaPipe computes (x - {_told(mean)}) / {_told(std)} of 0..255"


def _told(values: list[float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"[{', '.join(f'{v:g}' for v in values)}]"
