"""Models and pictures for MediaPipe, and what LiteRT itself answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import fidelite
from fidelite.examples.face_parsing import MODEL_PATH
from fidelite.examples.face_parsing.drawing import draw_face
from fidelite.examples.face_parsing.labels import CLASSES

Array = NDArray[Any]


def face_model(folder: Path, **options: Any) -> Path:
    """The trained face-parsing network for the ImageSegmenter, proven."""
    given: dict[str, Any] = {"task": "image-segmenter", "labels": CLASSES,
                             "normalize": {"": fidelite.Normalization.imagenet()}}
    result = fidelite.convert(MODEL_PATH, **(given | options))
    return result.save(folder / "face.tflite")


def face_picture(path: Path, seed: int = 7, size: int = 512, box: tuple[int, int, int, int] | None = None) -> Path:
    pixels, _ = draw_face(seed, size)
    image = Image.fromarray(pixels)
    (image if box is None else image.crop(box)).save(path)
    return path


def answers(model: Path, picture: Path) -> dict[str, Array]:
    """LiteRT's own outputs on a picture of the network's size."""
    with fidelite.Runner(model) as runner:
        run = runner(picture)
        assert not any("resized" in step for step in run.steps)
        return run.outputs


def softmax(scores: Array) -> Array:
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(scores: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * scores.astype(np.float64))
