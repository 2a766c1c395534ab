"""Hats for drawn persons: a beanie, a cap, a wide-brimmed hat, a bowler."""

from __future__ import annotations

import numpy as np

from fidelite.examples.face_parsing import labels as L
from fidelite.examples.face_parsing.canvas import Floats, curve, ellipse, mirror, symmetric
from fidelite.examples.face_parsing.features import INK, Scene

__all__ = ["paint_hat"]

RIM = -0.52
"""Height of every hat's lower rim on the head."""


def paint_hat(s: Scene) -> None:
    """The dome, then what makes it the hat it is, then its shadow on the forehead."""
    t, c, w = s.traits, s.canvas, s.traits.width
    if t.hat_kind == "none":
        return
    wide = 1.2 * w
    top = -1.42 if t.hat_kind in ("beanie", "bowler") else -1.3
    right = [(0.0, top), (0.6 * wide, top + 0.1), (0.97 * wide, -0.95), (wide, RIM + 0.02)]
    crown = curve(right, closed=False)
    rim_line = curve([(wide, RIM + 0.02), (0.0, RIM - 0.12), (-wide, RIM + 0.02)], closed=False)
    c.fill(np.concatenate([crown, rim_line, mirror(crown)]), s.head, t.hat, L.HAT, shade=0.25)
    if t.hat_kind == "beanie":
        _paint_beanie(s, wide, top)
    elif t.hat_kind == "cap":
        _paint_cap(s, wide, top)
    else:
        _paint_brim(s, wide, 1.85 * w if t.hat_kind == "brimmed" else 1.4 * w)
    dim = curve([(-w, RIM), (0, RIM + 0.16), (w, RIM), (0, RIM - 0.2)])
    c.fill(dim, s.head, INK, within=[L.SKIN], shade=0, opacity=0.25)


def _band(wide: float, lower: float = 0.0) -> Floats:
    """The line around the dome a little above its rim."""
    heights = [(-wide, -0.1), (-0.5 * wide, -0.2), (0, -0.24), (0.5 * wide, -0.2), (wide, -0.1)]
    return curve([(x, RIM + y + lower) for x, y in heights], closed=False)


def _paint_beanie(s: Scene, wide: float, top: float) -> None:
    """Ribs, a folded edge and a bobble."""
    t, c = s.traits, s.canvas
    for x in np.linspace(-0.9, 0.9, 11).tolist():
        rib = curve([(0.4 * x * wide, top), (0.9 * x * wide, -1.0), (x * wide, RIM)], closed=False)
        c.stroke(rib, s.head, s.shadow(t.hat, 0.7), 0.03 * s.scale, within=[L.HAT], opacity=0.6)
    c.stroke(_band(wide, 0.06), s.head, t.hat2, 0.26 * s.scale, L.HAT)
    c.fill(ellipse(0, top - 0.05, 0.2, 0.18), s.head, t.hat2, L.HAT, shade=0.3)


def _paint_cap(s: Scene, wide: float, top: float) -> None:
    """Seams and a visor, which stands out with the face."""
    t, c = s.traits, s.canvas
    for x in (-0.45, 0.0, 0.45):
        seam = curve([(0, top), (x * wide, -1.0), (1.2 * x * wide, RIM)], closed=False)
        c.stroke(seam, s.head, s.shadow(t.hat, 0.7), 0.02 * s.scale, within=[L.HAT])
    edge = [(0.0, -0.32), (0.6 * wide, -0.24), (0.98 * wide, 0.02), (0.7 * wide, 0.1), (0.0, 0.07)]
    visor = symmetric([(x, RIM + y) for x, y in edge])
    c.fill(visor, s.face, s.shadow(t.hat2, 0.9), L.HAT, shade=0.2)


def _paint_brim(s: Scene, wide: float, reach: float) -> None:
    """A ribbon, and a brim that reaches out to both sides."""
    t, c = s.traits, s.canvas
    c.stroke(_band(wide), s.head, t.hat2, 0.16 * s.scale, within=[L.HAT])
    edge = [(0.0, -0.24), (0.6 * reach, -0.18), (reach, 0.02), (0.7 * reach, 0.1), (0.0, 0.06)]
    brim = symmetric([(x, RIM + y) for x, y in edge])
    c.fill(brim, s.head, s.shadow(t.hat, 0.92), L.HAT, shade=0.25)
    crease = curve([(-0.9 * reach, RIM), (0, RIM - 0.22), (0.9 * reach, RIM)], closed=False)
    c.stroke(crease, s.head, s.shadow(t.hat, 0.6), 0.02 * s.scale, within=[L.HAT])
