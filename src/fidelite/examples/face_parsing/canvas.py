"""A canvas that paints a picture and its label map with the same strokes.

Everything is drawn at twice the requested size and averaged down, so that edges are smooth in the picture
and sharp in the labels. Coordinates are those of a *pose*: y points down, a head is about two units high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["Canvas", "Floats", "Pose", "curve", "ellipse", "mirror", "symmetric"]

Floats = NDArray[np.float32]
Pose = Callable[[Floats], Floats]
"""Maps points [n, 2] of a drawing's own coordinates to fractions of the picture's size."""

OVERSAMPLING = 2


def curve(points: Sequence[Sequence[float]] | Floats, *, closed: bool = True, steps: int = 8) -> Floats:
    """A smooth line through all points (a uniform Catmull-Rom spline), `steps` samples per span: [n, 2]."""
    p = np.asarray(points, np.float32)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None, :] for i in range(4))
    spans = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    samples = spans.reshape(-1, 2).astype(np.float32)
    return samples if closed else np.concatenate([samples, p[-2:-1]])


def ellipse(x: float, y: float, rx: float, ry: float) -> Floats:
    """Points of an ellipse: [48, 2]."""
    a = np.radians(np.linspace(0, 360, 48, dtype=np.float32))
    return np.stack([x + rx * np.cos(a), y + ry * np.sin(a)], 1).astype(np.float32)


def mirror(points: Sequence[Sequence[float]] | Floats) -> Floats:
    """The same points on the other side of the vertical axis, in the order that keeps their sense."""
    return (np.asarray(points, np.float32) * np.array([-1, 1], np.float32))[::-1]


def symmetric(side: list[tuple[float, float]]) -> Floats:
    """A closed shape from its right half, top to bottom."""
    right = curve(side, closed=False)
    return np.concatenate([right, mirror(right)])


def _among(labels: Sequence[int]) -> NDArray[np.bool_]:
    """A table over all labels: which of them are among those given."""
    table = np.zeros(256, np.bool_)
    table[list(labels)] = True
    return table


class Canvas:
    """A square picture in the making: colours [n, n, 3] in 0..1 and labels [n, n], n twice the final size."""

    def __init__(self, size: int, light: tuple[float, float], ink: float = 0.0) -> None:
        """`light` points to where light comes from; `ink` is the outlines' width, a fraction of the size."""
        self.size = size
        self.side = size * OVERSAMPLING
        self.light = light
        self.ink = ink
        self.rgb: Floats = np.zeros((self.side, self.side, 3), np.float32)
        self.labels: NDArray[np.uint8] = np.zeros((self.side, self.side), np.uint8)

    def _raster(
        self, pixels: Floats, width: float | None, within: Sequence[int] | None
    ) -> tuple[tuple[slice, slice], NDArray[np.bool_]] | None:
        """The window that a shape touches and which of its pixels it covers; None when it lies outside."""
        margin = 1 if width is None else width / 2 + 1
        low = np.clip(np.floor(pixels.min(0) - margin), 0, self.side).astype(int)
        high = np.clip(np.ceil(pixels.max(0) + margin), 0, self.side).astype(int)
        if (high <= low).any():
            return None
        x0, y0 = int(low[0]), int(low[1])
        x1, y1 = int(high[0]), int(high[1])
        image = Image.new("L", (x1 - x0, y1 - y0))
        draw = ImageDraw.Draw(image)
        local: list[float] = (pixels - np.array([x0, y0], np.float32)).ravel().tolist()
        if width is None:
            draw.polygon(local, fill=1)
        else:
            draw.line(local, fill=1, width=max(1, round(width)), joint="curve")
            r = width / 2
            for x, y in (local[:2], local[-2:]):
                draw.ellipse((x - r, y - r, x + r, y + r), fill=1)
        covered = np.asarray(image) > 0
        window = (slice(y0, y1), slice(x0, x1))
        if within is not None:
            covered &= _among(within)[self.labels[window]]
        return window, covered

    def _paint(
        self,
        raster: tuple[tuple[slice, slice], NDArray[np.bool_]] | None,
        colour: Floats,
        label: int | None,
        shade: float,
        opacity: float,
    ) -> None:
        """Lay a colour on the pixels covered, brighter towards the lit side of the shape."""
        if raster is None:
            return
        (rows, columns), covered = raster
        y, x = np.nonzero(covered)
        place = (y + rows.start, x + columns.start)
        paint = colour
        if shade:
            down = np.linspace(-1, 1, covered.shape[0], dtype=np.float32)[y]
            right = np.linspace(-1, 1, covered.shape[1], dtype=np.float32)[x]
            ramp = np.clip(right * self.light[0] + down * self.light[1], -1, 1).astype(np.float32)
            paint = colour * (1 + shade * ramp[:, None])
        if opacity < 1:
            below = self.rgb[place]
            paint = below + opacity * (paint - below)
        self.rgb[place] = paint
        if label is not None:
            self.labels[place] = label

    def fill(
        self,
        points: Floats,
        pose: Pose,
        colour: Floats,
        label: int | None = None,
        *,
        shade: float = 0.12,
        opacity: float = 1.0,
        within: Sequence[int] | None = None,
    ) -> None:
        """Fill a closed shape; lit from the light's side by `shade`; kept to pixels labelled `within`."""
        pixels = pose(points) * self.side
        self._paint(self._raster(pixels, None, within), colour, label, shade, opacity)
        if self.ink and label is not None:
            around = np.concatenate([pixels, pixels[:1]])
            raster = self._raster(around, self.ink * self.side, None)
            self._paint(raster, np.array([0.1, 0.08, 0.12], np.float32), None, 0.0, 0.9)

    def stroke(
        self,
        points: Floats,
        pose: Pose,
        colour: Floats,
        width: float,
        label: int | None = None,
        *,
        shade: float = 0.0,
        opacity: float = 1.0,
        within: Sequence[int] | None = None,
    ) -> None:
        """Draw a line with round ends; `width` is a fraction of the picture's size."""
        raster = self._raster(pose(points) * self.side, width * self.side, within)
        self._paint(raster, colour, label, shade, opacity)

    def glow(
        self,
        centre: tuple[float, float],
        pose: Pose,
        radius: float,
        colour: Floats,
        opacity: float,
        within: Sequence[int],
    ) -> None:
        """A soft round spot that fades to nothing at `radius`, a fraction of the picture's size."""
        x, y = (pose(np.array([centre], np.float32))[0] * self.side).tolist()
        r = radius * self.side
        x0, x1 = (int(np.clip(v, 0, self.side)) for v in (x - r, x + r))
        y0, y1 = (int(np.clip(v, 0, self.side)) for v in (y - r, y + r))
        if x1 <= x0 or y1 <= y0:
            return
        window = (slice(y0, y1), slice(x0, x1))
        dy = ((np.arange(y0, y1, dtype=np.float32) - y) / r)[:, None]
        dx = ((np.arange(x0, x1, dtype=np.float32) - x) / r)[None, :]
        weight = np.clip(1 - dx * dx - dy * dy, 0, 1) ** 2 * opacity
        weight = weight * _among(within)[self.labels[window]]
        target = self.rgb[window]
        target += weight[..., None] * (colour - target)

    def finish(
        self, rng: np.random.Generator, *, exposure: Floats, contrast: float, blur: float, noise: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Average down, apply light's colour, contrast, blur, grain: RGB [s, s, 3] and labels [s, s]."""
        s, k = self.size, OVERSAMPLING
        rgb = self.rgb.reshape(s, k, s, k, 3).mean((1, 3)) * exposure
        rgb = (rgb - 0.5) * contrast + 0.5
        if blur * s > 0.2:
            soft = Image.fromarray((np.clip(rgb, 0, 1) * 255).astype(np.uint8))
            rgb = np.asarray(soft.filter(ImageFilter.GaussianBlur(blur * s)), np.float32) / 255
        rgb = rgb + noise * rng.standard_normal((s, s, 1), np.float32)
        rgb = rgb + 0.6 * noise * rng.standard_normal((s, s, 3), np.float32)
        picture = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
        return picture, self.labels[k // 2 :: k, k // 2 :: k].copy()
