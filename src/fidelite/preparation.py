"""A picture made a model's input, as its use says: the same for `fidelite run` and for calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fidelite.errors import Notice
from fidelite.pictures import RESIZE_RULE, Picture
from fidelite.using import PictureUse

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as an input: how it goes in, the array, its height and width."""

    use: PictureUse
    array: Array
    size: tuple[int, int]
    steps: list[str]
    notices: list[Notice]


def prepare(picture: Picture, use: PictureUse) -> Prepared:
    """The picture resized, its channels put in place, normalised and cast."""
    from fidelite.runtime.protocol import dtype_of

    size = use.height or picture.height, use.width or picture.width
    steps: list[str] = []
    if size != (picture.height, picture.width):
        steps.append(f"resized from {picture.width} x {picture.height} to {size[1]} x {size[0]}: {RESIZE_RULE}")
    pixels = picture.resized(size[1], size[0])
    if use.channels == 1:
        pixels = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
        steps.append("made grey: 0.299 R + 0.587 G + 0.114 B")
    else:
        steps.append("channels in the order R, G, B")
    steps.append(use.told)
    facts = use.normalization
    values = ((pixels.astype(np.float64) * facts.scale - np.array(facts.mean)) / np.array(facts.std))
    dtype = dtype_of(use.dtype)
    if dtype.kind in "iu":
        values = np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = values.astype(dtype)
    array = values[None] if use.last else np.moveaxis(values, 2, 0)[None]
    return Prepared(use, np.ascontiguousarray(array), size, steps, list(use.notices))
