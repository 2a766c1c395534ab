"""What a segmentation network answers, at the picture's own size: mask, colours, overlay with a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fidelite.errors import UsageError
from fidelite.files import publish
from fidelite.pictures import Picture, Pixels

MOST_CLASSES = 200
KNOWN_CLASSES = 19
"""That many classes without labels are those of CelebAMask-HQ."""
_SMALLEST_SHARE = 16
"""An output coarser than the input by more than this is no mask."""
GROUNDS = ("background", "_background_", "unlabeled", "void")
_OPACITY = 0.55
_PAD, _ROW, _SWATCH = 14, 24, 16


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The class of each pixel. `mask` is [height, width] at the picture's size, `how` says how it got there."""

    output: str
    mask: Pixels
    labels: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    how: str

    @property
    def shares(self) -> list[tuple[int, str, float]]:
        """Class, label and share of the pixels, for the classes that occur, largest first."""
        counts = np.bincount(self.mask.reshape(-1), minlength=len(self.labels))
        found = [(i, self.labels[i], int(n) / self.mask.size) for i, n in enumerate(counts) if n]
        return sorted(found, key=lambda row: -row[2])

    def coloured(self) -> Pixels:
        """RGB [height, width, 3]."""
        return np.asarray(self.palette, np.uint8)[self.mask]

    def overlay(self, picture: Picture) -> Pixels:
        """The picture with the colours of its classes over it, but for the background, and a legend beside it."""
        legend = [(self.palette[i], f"{name}  {share * 100:.1f} %") for i, name, share in self.shares]
        return _with_legend(self.blended(picture), legend)

    def blended(self, picture: Picture) -> Pixels:
        """The picture with the colours of its classes over it, but for the background."""
        from PIL import Image

        blend = Image.blend(Image.fromarray(picture.pixels), Image.fromarray(self.coloured()), _OPACITY)
        ground = [i for i, name in enumerate(self.labels) if name.lower() in GROUNDS]
        keep = np.isin(self.mask, ground or [0])
        return np.where(keep[..., None], picture.pixels, np.asarray(blend, np.uint8))

    def save(self, folder: Path, stem: str, picture: Picture) -> list[tuple[Path, str]]:
        """Write the three pictures; returns their paths with captions."""
        from PIL import Image

        files = [
            ("mask", self.mask, "class of each pixel as grey value (index map)"),
            ("colour", self.coloured(), "classes in colour"),
            ("overlay", self.overlay(picture), "classes over the picture, with a legend"),
        ]
        written: list[tuple[Path, str]] = []
        for kind, pixels, caption in files:
            path = folder / f"{stem}.{kind}.png"
            with publish(path) as temporary:
                Image.fromarray(pixels).save(temporary, "PNG")
            written.append((path, caption))
        return written


def class_axis(
    shape: Sequence[int], size: tuple[int, int], *, prefer_last: bool, known: int | None = None, labels: int = 0
) -> int | None:
    """Which axis of a rank-4 output counts classes, or None where it looks like no segmentation.

    `size` is the input's height and width: what remains without the class axis must have that aspect ratio.
    """
    if len(shape) != 4 or shape[0] != 1:
        return None
    order = (known,) if known is not None else (3, 1) if prefer_last else (1, 3)
    for axis in order:
        height, width = (shape[2], shape[3]) if axis == 1 else (shape[1], shape[2])
        count = shape[axis]
        plausible = 2 <= count <= MOST_CLASSES and (count != 3 or labels == 3)
        if plausible and is_map(height, width, size):
            return axis
    return None


def is_map(height: int, width: int, size: tuple[int, int]) -> bool:
    """Whether height x width is a map of a picture of that size."""
    fine = height * _SMALLEST_SHARE >= size[0] and width * _SMALLEST_SHARE >= size[1]
    return fine and abs(height * size[1] - width * size[0]) <= max(size)


def from_scores(
    output: str, scores: NDArray[Any], axis: int, picture: Picture, labels: Sequence[str] | None
) -> Segmentation:
    """From scores [1, classes, h, w] or [1, h, w, classes]: each class resized, then the largest taken."""
    from PIL import Image

    planes = np.moveaxis(scores[0], axis - 1, 0)
    count, height, width = planes.shape
    target = (picture.width, picture.height)
    if (width, height) == target:
        mask = np.argmax(planes, axis=0).astype(np.uint8)
        how = "largest class per pixel"
    else:
        best = np.full((picture.height, picture.width), -np.inf, np.float32)
        mask = np.zeros((picture.height, picture.width), np.uint8)
        for index, plane in enumerate(planes):
            image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
            grown = np.asarray(image.resize(target, Image.Resampling.BILINEAR))
            larger = grown > best
            best[larger], mask[larger] = grown[larger], index
        how = f"scores of {width} x {height} resized bilinearly to the picture's size, then the largest class"
    names, palette = legend_of(count, labels)
    return Segmentation(output, mask, names, palette, how)


def from_indices(output: str, indices: NDArray[Any], picture: Picture, labels: Sequence[str] | None) -> Segmentation:
    """From class indices [1, h, w]: resized to the nearest."""
    from PIL import Image

    small = np.clip(indices.reshape(indices.shape[-2:] if indices.ndim < 4 else indices.shape[1:3]), 0, 255)
    image = Image.fromarray(small.astype(np.uint8))
    target = (picture.width, picture.height)
    how = "class indices as the model gives them"
    if image.size != target:
        how = f"indices of {image.width} x {image.height} resized (nearest) to the picture's size"
        image = image.resize(target, Image.Resampling.NEAREST)
    mask = np.asarray(image, np.uint8)
    names, palette = legend_of(max(int(mask.max(initial=0)) + 1, len(labels or ())), labels)
    return Segmentation(output, mask, names, palette, how)


def legend_of(
    count: int, labels: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Names and colours of the classes. Nineteen classes without labels are those of CelebAMask-HQ.

    Raises UsageError (F245) where there are fewer labels than classes.
    """
    from fidelite.examples.face_parsing.labels import CLASSES, PALETTE

    if labels is not None and len(labels) < count:
        raise UsageError(f"the model has {count} classes, and {len(labels)} labels are given", code="F245",
                         remedy=f"one line per class: {count} lines in --labels FILE")
    faces = count == len(CLASSES)
    palette = PALETTE if count == len(PALETTE) else tuple(_colour(i) for i in range(count))
    if labels is not None:
        return tuple(labels[:count]), palette
    return CLASSES if faces else tuple(f"class {i}" for i in range(count)), palette


def _colour(index: int) -> tuple[int, int, int]:
    """Well-separated hues by the golden ratio; class 0 is dark."""
    if index == 0:
        return (24, 26, 34)
    r, g, b = colorsys.hsv_to_rgb(index * 0.61803398875 % 1.0, 0.75 - 0.2 * (index % 3 == 1), 0.95 - 0.2 * (index % 2))
    return (round(r * 255), round(g * 255), round(b * 255))


def _with_legend(pixels: Pixels, rows: Sequence[tuple[tuple[int, int, int], str]]) -> Pixels:
    """The picture with a legend on its right, scaled with the picture's height."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = pixels.shape[:2]
    scale = min(4.0, max(0.6, height / 560))
    row, swatch, pad = (max(1, round(v * scale)) for v in (_ROW, _SWATCH, _PAD))
    try:
        font: Any = ImageFont.load_default(round(15 * scale))
    except TypeError:  # Pillow before 10.1 has one size only
        font = ImageFont.load_default()
    longest = max((font.getlength(_shown(text)) for _, text in rows), default=0)
    panel = round(longest) + swatch + 3 * pad
    canvas = Image.new("RGB", (width + panel, max(height, row * len(rows) + 2 * pad)), (255, 255, 255))
    canvas.paste(Image.fromarray(pixels), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for index, (colour, text) in enumerate(rows):
        left, top = width + pad, pad + index * row
        draw.rectangle((left, top, left + swatch, top + swatch), fill=colour, outline=(90, 90, 90))
        place = (left + swatch + pad // 2, top + swatch // 2)
        draw.text(place, _shown(text), fill=(20, 20, 20), font=font, anchor="lm")
    return np.asarray(canvas, np.uint8)


def _shown(text: str) -> str:
    """What the built-in font has signs for."""
    return text.encode("latin-1", "replace").decode("latin-1")
