"""One picture through several models, side by side: what each sees in it, and the pixels where they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fidelite.errors import BadSample
from fidelite.files import publish
from fidelite.pictures import Picture, Pixels
from fidelite.running import Run
from fidelite.segmentation import Segmentation

_HEIGHT = 420
"""Pixels of a column's picture, at most."""
_PAD, _LINE, _TEXT = 16, 22, 15
_WHITE, _INK, _DIM = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_DIFFERS = (230, 30, 60)


@dataclass(frozen=True, slots=True)
class Difference:
    """An output of a model against the first model's output of that name."""

    output: str
    problem: str
    """Why they cannot be compared; '' if they were."""
    max_abs: float | None
    scale: float | None
    """The largest magnitude of the first model's."""
    argmax_agreement: float | None

    def to_json(self) -> dict[str, Any]:
        return {"output": self.output, "problem": self.problem, "max_abs": self.max_abs, "scale": self.scale,
                "argmax_agreement": self.argmax_agreement}


@dataclass(frozen=True, slots=True)
class Entry:
    """One model's answer."""

    name: str
    """What the user calls it: a file's name, or `package.module:factory`."""
    run: Run
    differences: tuple[Difference, ...] = ()
    """Empty for the first."""
    differing: NDArray[np.bool_] | None = None
    """Where the class is another than the first model's, [height, width] of the picture; None where there are no
    segmentations to compare, and for the first."""

    @property
    def segmentation(self) -> Segmentation | None:
        return self.run.segmentations[0] if self.run.segmentations else None

    def to_json(self) -> dict[str, Any]:
        pixels = None if self.differing is None else {"differing": int(self.differing.sum()),
                                                      "of": int(self.differing.size)}
        return {"name": self.name, "runtime": self.run.runtime, "seconds": self.run.seconds, "pixels": pixels,
                "outputs": [d.to_json() for d in self.differences]}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The models' answers; all are compared with the first."""

    entries: tuple[Entry, ...]
    picture: Picture | None = None
    written: list[Path] = field(default_factory=list[Path])

    def to_json(self) -> dict[str, Any]:
        return {"models": [entry.to_json() for entry in self.entries], "written": [str(p) for p in self.written]}

    def save(self, folder: Path, stem: str) -> Path | None:
        """Write STEM.compare.png: a column per model, above its classes over the picture, below what differs.

        None where there is no segmentation to show. Raises OutputError (F215).
        """
        if self.picture is None or any(entry.segmentation is None for entry in self.entries):
            return None
        from PIL import Image

        path = folder / f"{stem}.compare.png"
        with publish(path) as temporary:
            Image.fromarray(drawn(self.picture, self.entries)).save(temporary, "PNG")
        self.written.append(path)
        return path


def compare(runs: Sequence[tuple[str, Run]], picture: Picture | None = None) -> Comparison:
    """Compare runs of several models on the same input with the first. Raises BadSample for fewer than two."""
    if len(runs) < 2:
        raise BadSample("one model alone cannot be compared", remedy="--compare MODEL")
    _, first = runs[0]
    entries = [Entry(*runs[0])]
    for name, run in runs[1:]:
        both = (first.segmentations[:1], run.segmentations[:1])
        differing = both[0][0].mask != both[1][0].mask if all(both) else None
        entries.append(Entry(name, run, tuple(_differences(first, run)), differing))
    return Comparison(tuple(entries), picture)


def _differences(first: Run, run: Run) -> list[Difference]:
    from fidelite.check import compare_arrays

    found: list[Difference] = []
    for name, expected in first.outputs.items():
        if name not in run.outputs:
            found.append(Difference(name, "there is no such output", None, None, None))
            continue
        axis = 1 if expected.ndim == 4 and expected.shape[1] > 1 else None
        comparison = compare_arrays(expected, run.outputs[name], class_axis=axis)
        f = comparison.figures
        found.append(Difference(name, comparison.problem, None if f is None else f.max_abs,
                                None if f is None else f.scale, None if f is None else f.argmax_agreement))
    return found


def drawn(picture: Picture, entries: Sequence[Entry]) -> Pixels:
    """The comparison as one picture, RGB [height, width, 3]."""
    from PIL import Image, ImageDraw

    height = min(_HEIGHT, picture.height)
    width = max(1, round(picture.width * height / picture.height))
    head = _PAD + 2 * _LINE
    step, lower = max(width, 200) + _PAD, head + height + _PAD + _LINE
    canvas = Image.new("RGB", (_PAD + step * len(entries), lower + height + _PAD), _WHITE)
    draw = ImageDraw.Draw(canvas)
    font = _font(_TEXT)
    for number, entry in enumerate(entries):
        left = _PAD + step * number
        draw.text((left, _PAD), entry.run.runtime, fill=_INK, font=font)
        draw.text((left, _PAD + _LINE), _fitting(entry.name, step - _PAD, font), fill=_DIM, font=font)
        segmentation = entry.segmentation
        assert segmentation is not None
        canvas.paste(Image.fromarray(segmentation.blended(picture)).resize((width, height)), (left, head))
        differing = entry.differing
        told = "the picture" if differing is None else _told(differing)
        draw.text((left, head + height + _PAD // 2), told, fill=_INK, font=font)
        below = picture.pixels if differing is None else _marked(picture, differing)
        canvas.paste(Image.fromarray(below).resize((width, height)), (left, lower))
    return np.asarray(canvas, np.uint8)


def _told(differing: NDArray[np.bool_]) -> str:
    count, of = int(differing.sum()), differing.size
    return f"{count:,} of {of:,} pixels differ"


def _marked(picture: Picture, differing: NDArray[np.bool_]) -> Pixels:
    """The picture, pale and grey, with the pixels that differ in red, each widened so that one can see it."""
    from PIL import Image, ImageFilter

    grey = np.asarray(Image.fromarray(picture.pixels).convert("L"), np.uint8)
    pale = np.repeat((200 + grey.astype(np.uint16) * 55 // 255).astype(np.uint8)[..., None], 3, axis=2)
    side = 2 * (max(picture.height, picture.width) // 500) + 3
    mask = Image.fromarray(differing.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(side))
    return np.where(np.asarray(mask)[..., None] > 0, np.array(_DIFFERS, np.uint8), pale)


def _font(size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()


def _fitting(text: str, width: int, font: Any) -> str:
    """The text, with its middle left out where it is too wide; only signs that the built-in font has."""
    text = text.encode("latin-1", "replace").decode("latin-1")
    if font.getlength(text) <= width:
        return text
    keep = len(text)
    while keep > 4 and font.getlength(text[: keep // 2] + "..." + text[-keep // 2:]) > width:
        keep -= 1
    return text[: keep // 2] + "..." + text[-keep // 2:]
