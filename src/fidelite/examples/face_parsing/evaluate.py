"""Measure a face-parsing model on held-out drawings, in ONNX Runtime.

    python -m fidelite.examples.face_parsing.evaluate [MODEL.onnx] [--drawings N]
        [--json FILE] [--markdown FILE]

Both styles are measured with seeds 0 to N - 1, which training never uses. The IoU of a class is taken over
all pixels of all drawings of a style; the mean IoU is over the classes that occur in them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fidelite.examples.face_parsing import MODEL_PATH
from fidelite.examples.face_parsing.drawing import TRAINING_SEEDS, Style, draw_face, normalise
from fidelite.examples.face_parsing.labels import CLASSES
from fidelite.runtime import OnnxSession

__all__ = ["ClassFigures", "Figures", "evaluate", "main", "markdown", "onnx_segmenter"]

Segmenter = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""From a picture, RGB [s, s, 3], to the class of each pixel [s, s]."""


@dataclass(frozen=True)
class ClassFigures:
    """What was measured of one class: fractions of 1; `iou` is None for a class that never occurs."""

    name: str
    iou: float | None
    pixels: float
    drawings: float


@dataclass(frozen=True)
class Figures:
    """What was measured on one style's drawings with seeds `first_seed` to `first_seed + drawings - 1`."""

    style: Style
    size: int
    first_seed: int
    drawings: int
    mean_iou: float
    pixel_accuracy: float
    classes: tuple[ClassFigures, ...]


def onnx_segmenter(model: Path, threads: int = 1) -> tuple[Segmenter, int]:
    """A function that segments with an ONNX model, and the side of the pictures that it takes."""
    session = OnnxSession(model, threads=threads)
    entry = session.inputs[0]
    size = entry.shape[2]
    if not isinstance(size, int):
        raise ValueError(f"the model's input {entry} has no fixed size")

    def segment(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        logits = session.run({entry.name: normalise(picture)}, ["output"])["output"]
        return logits[0].argmax(0).astype(np.uint8)

    return segment, size


def evaluate(
    segment: Segmenter, style: Style, drawings: int, *, size: int = 512, first_seed: int = 0
) -> Figures:
    """Compare masks with the truth on held-out drawings.

    Raises:
        ValueError: the seeds reach into those that training uses.
    """
    if first_seed + drawings > TRAINING_SEEDS:
        raise ValueError(f"seeds from {TRAINING_SEEDS} on are training's; held-out drawings lie below")
    n = len(CLASSES)
    confusion = np.zeros((n, n), np.int64)
    present = np.zeros(n, np.int64)
    for seed in range(first_seed, first_seed + drawings):
        picture, truth = draw_face(seed, size, style=style)
        pairs = truth.astype(np.int64) * n + segment(picture)
        counts = np.bincount(pairs.ravel(), minlength=n * n).reshape(n, n)
        confusion += counts
        present += counts.sum(1) > 0
    hits, truths, guesses = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    ious = hits / np.maximum(truths + guesses - hits, 1)
    occurring = truths > 0
    figures = (
        ClassFigures(
            name,
            float(ious[i]) if occurring[i] else None,
            float(truths[i] / truths.sum()),
            float(present[i] / drawings),
        )
        for i, name in enumerate(CLASSES)
    )
    accuracy = float(hits.sum() / truths.sum())
    mean = float(ious[occurring].mean())
    return Figures(style, size, first_seed, drawings, mean, accuracy, tuple(figures))


def markdown(usual: Figures, other: Figures) -> str:
    """The model card's tables."""

    def percent(value: float | None, digits: int = 1) -> str:
        return "-" if value is None else f"{100 * value:.{digits}f}"

    header = "| class | IoU % | of pixels % | in drawings % | other: IoU % | of pixels % | in drawings % |"
    seeds = f"{usual.first_seed} to {usual.first_seed + usual.drawings - 1}"
    lines = [
        f"| drawings (seeds {seeds}, {usual.size} x {usual.size}) | mean IoU | pixel accuracy |",
        "| --- | ---: | ---: |",
        f"| held out, the style trained on | **{usual.mean_iou:.3f}** | {usual.pixel_accuracy:.3f} |",
        f"| the style `other`, never trained on | **{other.mean_iou:.3f}** | {other.pixel_accuracy:.3f} |",
        "",
        header,
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for ours, theirs in zip(usual.classes, other.classes, strict=True):
        cells = [ours.name]
        for figures in (ours, theirs):
            cells += [percent(figures.iou), percent(figures.pixels, 2), percent(figures.drawings, 0)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m fidelite.examples.face_parsing.evaluate",
        description="Measure a face-parsing model on held-out drawings.",
    )
    parser.add_argument(
        "model", type=Path, nargs="?", default=MODEL_PATH, help="ONNX file (default: the shipped one)"
    )
    parser.add_argument("--drawings", type=int, default=200, help="drawings of each style")
    parser.add_argument("--threads", type=int, default=1, help="threads that ONNX Runtime may use")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    given = parser.parse_args(arguments)
    segment, size = onnx_segmenter(given.model, given.threads)
    usual = evaluate(segment, "usual", given.drawings, size=size)
    other = evaluate(segment, "other", given.drawings, size=size)
    tables = markdown(usual, other)
    if given.json:
        given.json.write_text(json.dumps([asdict(usual), asdict(other)], indent=2) + "\n", encoding="utf-8")
    if given.markdown:
        given.markdown.write_text(tables, encoding="utf-8")
    sys.stdout.write(tables)


if __name__ == "__main__":
    main()
