"""The hair of a drawn person: what hangs behind the head, and what lies over forehead and temples."""

from __future__ import annotations

import numpy as np

from fidelite.examples.face_parsing import labels as L
from fidelite.examples.face_parsing.canvas import curve, ellipse, symmetric
from fidelite.examples.face_parsing.features import Scene

__all__ = ["paint_fringe", "paint_hair_behind"]


def paint_hair_behind(s: Scene) -> None:
    """The hair that lies behind head, ears and shoulders."""
    t, c, w = s.traits, s.canvas, s.traits.width
    dark = s.shadow(t.hair, 0.78)
    if t.hair_cut == "long":
        wave = 0.06 * np.sin(9 * t.jaw)
        shape = symmetric(
            [
                (0.0, -1.12),
                (0.8 * w, -1.0),
                (1.22 * w, -0.3),
                (1.28 * w + wave, 0.6),
                (1.3 * w, 1.4),
                (1.05 * w, 2.1),
                (0.5 * w, 2.2),
            ]
        )
    elif t.hair_cut == "bob":
        shape = symmetric(
            [
                (0.0, -1.12),
                (0.8 * w, -1.0),
                (1.24 * w, -0.3),
                (1.36 * w, 0.5),
                (1.22 * w, 1.02),
                (0.5 * w, 1.05),
            ]
        )
    elif t.hair_cut == "curls":
        angles = np.linspace(0, 2 * np.pi, 34, endpoint=False)
        radius = 1.16 + 0.06 * (np.arange(34) % 2) + s.rng.normal(0, 0.015, 34)
        shape = curve(
            np.stack([radius * 1.02 * np.sin(angles), -0.22 - radius * np.cos(angles)], 1).astype(np.float32)
        )
    elif t.hair_cut == "bun":
        c.fill(ellipse(0.25 * t.parting, -1.28, 0.38, 0.34), s.head, dark, L.HAIR)
        shape = s.outline(0.06) * np.array([1.0, 0.8], np.float32) - np.array([0, 0.2], np.float32)
    elif t.hair_cut == "short":
        shape = symmetric([(0.0, -1.1), (0.75 * w, -1.0), (1.1 * w, -0.5), (1.08 * w, 0.1), (0.9 * w, 0.4)])
    else:
        return
    c.fill(shape, s.head, dark, L.HAIR, shade=0.15)
    if t.hair_cut in ("long", "bob"):
        for x in np.linspace(-1.25, 1.25, 22).tolist():
            strand = [(0.75 * x * w, -0.8), (x * w, 0.0), (1.03 * x * w, 0.9), (0.97 * x * w, 2.1)]
            colour = dark * float(s.rng.uniform(0.75, 1.3))
            c.stroke(
                curve(strand, closed=False),
                s.head,
                np.minimum(colour, 1),
                0.03 * s.scale,
                within=[L.HAIR],
                opacity=0.5,
            )


def paint_fringe(s: Scene) -> None:
    """The hair over forehead and temples, with strands running from the parting."""
    t, c, w = s.traits, s.canvas, s.traits.width
    if t.hair_cut == "bald":
        return
    low = {"short": -0.12, "bun": -0.22, "curls": -0.2, "bob": 0.5, "long": 0.62}[t.hair_cut]
    line, p = t.hairline, t.parting
    left, right = line + 0.28 * max(0.0, -p), line + 0.28 * max(0.0, p)
    outer = [
        (-1.04 * w, low),
        (-1.13 * w, -0.4),
        (-0.86 * w, -0.93),
        (0.0, -1.14),
        (0.86 * w, -0.93),
        (1.13 * w, -0.4),
        (1.04 * w, low),
    ]
    inner = [
        (0.9 * w, low),
        (0.86 * w, -0.36),
        (0.6 * w, right + 0.1),
        (p * 0.8, line - 0.06),
        (-0.6 * w, left + 0.1),
        (-0.86 * w, -0.36),
        (-0.9 * w, low),
    ]
    c.fill(
        np.concatenate([curve(outer, closed=False), curve(inner, closed=False)]),
        s.head,
        t.hair,
        L.HAIR,
        shade=0.22,
    )
    for at in np.linspace(-1, 1, 26).tolist():
        root = (p * 0.8 + 0.25 * at, line - 0.3 * (1 - abs(at)) - 0.06)
        strand = [
            root,
            (0.6 * at * w + 0.1 * p, -0.98 + 0.12 * abs(at)),
            (1.0 * at * w, -0.55),
            (1.06 * at * w, low),
        ]
        colour = np.minimum(t.hair * float(s.rng.uniform(0.7, 1.4)), 1)
        c.stroke(curve(strand, closed=False), s.head, colour, 0.026 * s.scale, within=[L.HAIR], opacity=0.4)
    c.glow(
        (0.4 * c.light[0] * w, -0.85),
        s.head,
        0.35 * s.scale,
        np.minimum(t.hair * 1.6 + 0.1, 1),
        0.5,
        [L.HAIR],
    )
    if t.hair_cut == "curls":
        _paint_curls(s)


def _paint_curls(s: Scene) -> None:
    """A row of curls along the hairline."""
    t, w = s.traits, s.traits.width
    heights = s.rng.uniform(-0.8, -0.62, 7).tolist()
    for x, y in zip(np.linspace(-0.75, 0.75, 7).tolist(), heights, strict=True):
        curl = ellipse(x * w, y + 0.35 * x * x, 0.17, 0.16)
        s.canvas.fill(curl, s.head, t.hair * float(s.rng.uniform(0.85, 1.1)), L.HAIR, shade=0.25)
