"""What lies behind the drawn person."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fidelite.examples.face_parsing.canvas import Canvas, Floats, curve, ellipse

__all__ = ["paint_background"]


def _flat(points: Floats) -> Floats:
    return points


def _cloud(rng: np.random.Generator, side: int, cells: int) -> Floats:
    """Smooth random values in about -1..1: [side, side]."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32) * 0.6


def paint_background(canvas: Canvas, rng: np.random.Generator) -> None:
    """Cover the canvas with a gradient, and most often with clouds, stripes, lights, tiles or shapes."""
    side = canvas.side
    first, second = rng.uniform(0.05, 0.95, (2, 3)).astype(np.float32)
    vividness = float(rng.uniform(0.15, 0.9))
    first, second = (np.float32(c.mean()) + vividness * (c - c.mean()) for c in (first, second))
    if rng.random() < 0.5:
        second = np.clip(first + rng.normal(0, 0.12, 3), 0, 1).astype(np.float32)
    axis = np.linspace(0, 1, side, dtype=np.float32)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = 0.5 + (axis[None, :] - 0.5) * np.cos(angle) + (axis[:, None] - 0.5) * np.sin(angle)
    else:
        cx, cy = rng.uniform(0.2, 0.8, 2)
        ramp = np.hypot(axis[None, :] - cx, axis[:, None] - cy) * 1.2
    ramp = np.clip(ramp, 0, 1)[..., None].astype(np.float32)
    canvas.rgb[:] = first + ramp * (second - first)
    kind = rng.choice(
        ["plain", "clouds", "stripes", "lights", "tiles", "shapes"], p=[0.2, 0.2, 0.12, 0.16, 0.12, 0.2]
    )
    if kind == "clouds":
        for cells in (4, 9, 24):
            canvas.rgb += _cloud(rng, side, cells)[..., None] * rng.uniform(0, 0.12, 3).astype(np.float32)
    elif kind == "stripes":
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.04, 0.2)
        wave = np.sin(2 * np.pi * (axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle)) / period)
        canvas.rgb += np.clip(wave * 6, -1, 1)[..., None].astype(np.float32) * rng.uniform(
            -0.1, 0.1, 3
        ).astype(np.float32)
    elif kind == "tiles":
        count = int(rng.integers(3, 10))
        rows = (axis * count).astype(int)
        checks = ((rows[:, None] + rows[None, :]) % 2)[..., None].astype(np.float32)
        canvas.rgb += checks * rng.uniform(-0.18, 0.18, 3).astype(np.float32)
    elif kind in ("lights", "shapes"):
        _scatter(canvas, rng, soft=kind == "lights")
    np.clip(canvas.rgb, 0, 1, out=canvas.rgb)


def _scatter(canvas: Canvas, rng: np.random.Generator, *, soft: bool) -> None:
    """Out-of-focus lights, or loose shapes in any colour, skin's and hair's among them."""
    for _ in range(int(rng.integers(6, 18))):
        x, y = (float(v) for v in rng.uniform(0, 1, 2))
        r = float(rng.uniform(0.02, 0.13))
        colour = rng.uniform(0, 1, 3).astype(np.float32)
        if soft:
            canvas.fill(ellipse(x, y, r, r), _flat, colour, opacity=float(rng.uniform(0.12, 0.4)), shade=0.0)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, 6))
            ring = np.stack([x + 1.4 * r * np.cos(angles), y + 1.4 * r * np.sin(angles)], 1).astype(
                np.float32
            )
            points = curve(ring) if rng.random() < 0.5 else ring
            canvas.fill(points, _flat, colour, opacity=float(rng.uniform(0.3, 1.0)))
