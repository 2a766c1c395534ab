"""mIoU of files on held-out drawings, and what is lost against the first: DRAWINGS FLOAT.tflite FILE.tflite...

Prints JSON. The interval is a bootstrap over drawings, paired: each resample takes the same drawings for both files
(B. Efron, Ann. Statist. 7 (1979)), 2.5 % to 97.5 %.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.precision.judge import answers
from fidelite.examples.face_parsing.drawing import TRAINING_SEEDS, draw_face, normalise
from fidelite.examples.face_parsing.labels import CLASSES

Array = np.ndarray[Any, Any]
RESAMPLES = 1000


def confusions(files: list[Path], drawings: int) -> Array:
    """[file, drawing, truth, guess]: counted pixels. Seeds 0 to `drawings` - 1, which training never uses."""
    if drawings > TRAINING_SEEDS:
        raise ValueError(f"seeds from {TRAINING_SEEDS} on are training's")
    n = len(CLASSES)
    counts = np.zeros((len(files), drawings, n, n), np.int64)
    for seed in range(drawings):
        picture, truth = draw_face(seed, 512)
        for at, file in enumerate(files):
            logits = answers(file, [{"input": normalise(picture)}])[0]["output"]
            pairs = truth.astype(np.int64) * n + logits[0].argmax(0)
            counts[at, seed] = np.bincount(pairs.ravel(), minlength=n * n).reshape(n, n)
    return counts


def mean_iou(counts: Array) -> float:
    """Over the classes that occur, of counts [truth, guess]."""
    hits, truths, guesses = np.diag(counts), counts.sum(1), counts.sum(0)
    occurring = truths > 0
    return float((hits / np.maximum(truths + guesses - hits, 1))[occurring].mean())


def losses(counts: Array, seed: int = 0) -> list[dict[str, float]]:
    """For each file but the first: its mIoU, what it lost, and the interval."""
    draw = np.random.default_rng(seed)
    chosen = draw.integers(counts.shape[1], size=(RESAMPLES, counts.shape[1]))
    whole = [mean_iou(c.sum(0)) for c in counts]
    resampled = np.array([[mean_iou(c[picked].sum(0)) for picked in chosen] for c in counts])
    found: list[dict[str, float]] = []
    for at in range(1, len(counts)):
        low, high = np.quantile(resampled[0] - resampled[at], [0.025, 0.975])
        found.append({"miou": whole[at], "float": whole[0], "lost": whole[0] - whole[at], "low": float(low),
                      "high": float(high)})
    return found


def main(drawings: str, *files: str) -> None:
    print(json.dumps(losses(confusions([Path(f) for f in files], int(drawings)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
