"""Drawn faces with their label maps, any number of them, the same for the same seed.

NumPy and Pillow only. Training takes seeds from `TRAINING_SEEDS` upwards, so every lower seed is held out.
The style `other` (ink outlines, colours, proportions and light of its own) is never trained on.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fidelite.examples.face_parsing import attire, features, hair, hats
from fidelite.examples.face_parsing.canvas import Canvas
from fidelite.examples.face_parsing.labels import IMAGENET_MEAN, IMAGENET_STD
from fidelite.examples.face_parsing.scenery import paint_background
from fidelite.examples.face_parsing.traits import Style, draw_traits

__all__ = ["TRAINING_SEEDS", "Style", "draw_face", "normalise"]

TRAINING_SEEDS: Final = 1_000_000
"""The first seed that training uses; drawings with smaller seeds are unseen."""


def draw_face(
    seed: int, size: int = 512, *, style: Style = "usual"
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one person.

    Args:
        seed: which person; the same seed gives the same drawing at any size, grain apart.
        size: side of the square picture in pixels.
        style: `usual`, or `other`, which training never sees.

    Returns:
        The picture, RGB [size, size, 3], and its classes (indices into `labels.CLASSES`) [size, size].
    """
    rng = np.random.default_rng([seed, 0 if style == "usual" else 1])
    traits = draw_traits(rng, style)
    angle = float(rng.uniform(0, 2 * np.pi))
    strength = float(rng.uniform(0.3, 1.5)) if style == "usual" else 2.2
    canvas = Canvas(size, (strength * float(np.cos(angle)), strength * float(np.sin(angle))), traits.line)
    paint_background(canvas, rng)
    scene = features.Scene(canvas, traits, rng)
    hair.paint_hair_behind(scene)
    features.paint_neck(scene)
    attire.paint_clothes(scene)
    attire.paint_necklace(scene)
    features.paint_ears(scene)
    features.paint_head(scene)
    features.paint_features(scene)
    hair.paint_fringe(scene)
    attire.paint_earrings(scene)
    attire.paint_glasses(scene)
    hats.paint_hat(scene)
    warmth = rng.uniform(-0.06, 0.09) if style == "usual" else rng.uniform(0.15, 0.25)
    exposure = float(rng.uniform(0.75, 1.15)) * np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
    return canvas.finish(
        rng,
        exposure=exposure.astype(np.float32),
        contrast=float(rng.uniform(0.75, 1.15)),
        blur=float(rng.uniform(0, 0.0025)) if rng.random() < 0.4 else 0.0,
        noise=float(rng.uniform(0, 0.028)),
    )


def normalise(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A picture, RGB [h, w, 3], as the networks take it: float32 [1, 3, h, w], normalised as ImageNet."""
    scaled = picture.astype(np.float32) / 255
    centred = (scaled - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    return np.ascontiguousarray(centred.transpose(2, 0, 1)[None], np.float32)
