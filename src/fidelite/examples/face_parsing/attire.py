"""What a drawn person wears: clothes, necklace, earrings and glasses."""

from __future__ import annotations

import numpy as np

from fidelite.examples.face_parsing import labels as L
from fidelite.examples.face_parsing.canvas import curve, ellipse, mirror
from fidelite.examples.face_parsing.features import WHITE, Scene

__all__ = [
    "paint_clothes",
    "paint_earrings",
    "paint_glasses",
    "paint_necklace",
]


def paint_clothes(s: Scene) -> None:
    """Shoulders in a garment with one of four necklines and a pattern."""
    t, c = s.traits, s.canvas
    w = t.neck_width
    open_y = {"crew": 1.52, "v": 2.05, "collar": 1.75, "wide": 1.85}[t.neckline]
    half = {"crew": 1.15, "v": 1.1, "collar": 0.95, "wide": 1.9}[t.neckline] * w
    rim = 1.38 if t.neckline != "wide" else 1.6
    neckline = {"v": [(-half, rim), (0.0, open_y), (half, rim)]}.get(
        t.neckline,
        [
            (-half, rim),
            (-0.7 * half, 0.3 * rim + 0.7 * open_y),
            (0.0, open_y),
            (0.7 * half, 0.3 * rim + 0.7 * open_y),
            (half, rim),
        ],
    )
    edge = np.array(neckline, np.float32) if t.neckline == "v" else curve(neckline, closed=False)
    shoulder = curve(
        [(half, rim), (1.05, rim + 0.18), (1.5, rim + 0.42), (1.75, 2.3), (1.85, 4.2)], closed=False
    )
    body = np.concatenate([edge, shoulder, mirror(shoulder)])
    c.fill(body, s.body, t.cloth, L.CLOTH, shade=0.18)
    within = [L.CLOTH]
    _paint_pattern(s, open_y)
    if t.neckline == "collar":
        for side in (-1, 1):
            flap = np.array(
                [
                    (half * 0.98, rim - 0.14),
                    (half * 1.25, rim + 0.1),
                    (0.75 * half, open_y + 0.3),
                    (0.1, open_y),
                ],
                np.float32,
            )
            c.fill(
                flap * np.array([side, 1], np.float32), s.body, np.minimum(t.cloth * 1.2 + 0.04, 1), L.CLOTH
            )
            c.stroke(
                (flap * np.array([side, 1], np.float32))[1:],
                s.body,
                s.shadow(t.cloth, 0.6),
                0.02 * s.scale,
                within=within,
            )
    else:
        c.stroke(edge, s.body, s.shadow(t.cloth, 0.7), 0.045 * s.scale, within=within)


def _paint_pattern(s: Scene, open_y: float) -> None:
    """Stripes, dots, or a zip from the neckline down."""
    t, c, within = s.traits, s.canvas, [L.CLOTH]
    if t.pattern == "stripes":
        for y in np.arange(1.5, 4.2, 0.3).tolist():
            line = curve([(-2, y + 0.15), (0, y), (2, y + 0.15)], closed=False)
            c.stroke(line, s.body, t.cloth2, 0.12 * s.scale, within=within)
    elif t.pattern == "dots":
        for i, y in enumerate(np.arange(1.5, 4.2, 0.26).tolist()):
            for x in np.arange(-1.9, 2.0, 0.36).tolist():
                c.fill(ellipse(x + 0.18 * (i % 2), y, 0.07, 0.07), s.body, t.cloth2, within=within)
    elif t.pattern == "zip":
        c.stroke(
            np.array([(0, open_y), (0, 4.2)], np.float32),
            s.body,
            s.shadow(t.cloth2, 0.8),
            0.06 * s.scale,
            within=within,
        )


def paint_necklace(s: Scene) -> None:
    """A chain with a pendant, a string of beads, or a choker."""
    t, c = s.traits, s.canvas
    if t.necklace == "none":
        return
    w = t.neck_width
    if t.necklace == "choker":
        band = curve(
            [(-w * 1.02, 1.2), (-0.6 * w, 1.3), (0, 1.34), (0.6 * w, 1.3), (w * 1.02, 1.2)], closed=False
        )
        c.stroke(band, s.body, t.gem, 0.12 * s.scale, L.NECKLACE, within=[L.NECK])
        c.fill(ellipse(0, 1.36, 0.085, 0.1), s.body, t.metal, L.NECKLACE, shade=0.3)
        return
    low = 1.66 + 0.25 * (t.jaw - 0.5)
    line = curve(
        [(-w * 1.2, 1.26), (-0.85 * w, 1.48), (0, low), (0.85 * w, 1.48), (w * 1.2, 1.26)], closed=False
    )
    if t.necklace == "chain":
        c.stroke(line, s.body, t.metal, 0.075 * s.scale, L.NECKLACE)
        c.stroke(line[::3], s.body, s.shadow(t.metal, 0.65), 0.02 * s.scale, within=[L.NECKLACE])
        c.fill(ellipse(0, low + 0.1, 0.13, 0.15), s.body, t.metal, L.NECKLACE, shade=0.3)
        c.fill(ellipse(0, low + 0.1, 0.075, 0.09), s.body, t.gem, within=[L.NECKLACE], shade=0.4)
        return
    steps = np.hypot(*np.diff(line, axis=0).T).cumsum()
    at = np.searchsorted(steps, np.arange(0, steps[-1], 0.125))
    for x, y in line[at].tolist():
        c.fill(ellipse(x, y, 0.075, 0.075), s.body, t.gem, L.NECKLACE, shade=0.3)
        c.fill(ellipse(x + 0.02 * c.light[0], y - 0.025, 0.02, 0.02), s.body, WHITE, shade=0, opacity=0.8)


def paint_earrings(s: Scene) -> None:
    """Studs, hoops or drops below both ears; the far one of a turned head is hidden."""
    t, c = s.traits, s.canvas
    if t.earrings == "none":
        return
    for side in (-1, 1):
        if side * t.look.yaw > 0.25:
            continue
        x, y = side * (t.width + 0.02), 0.06 + t.ear_size
        if t.earrings == "stud":
            c.fill(ellipse(x, y, 0.12, 0.12), s.ears, t.metal, L.EARRING, shade=0.35)
            c.fill(ellipse(x, y, 0.06, 0.06), s.ears, t.gem, within=[L.EARRING], shade=0.4)
        elif t.earrings == "hoop":
            c.stroke(ellipse(x, y + 0.17, 0.15, 0.18), s.ears, t.metal, 0.085 * s.scale, L.EARRING)
            c.stroke(
                ellipse(x - 0.01, y + 0.16, 0.15, 0.18),
                s.ears,
                np.minimum(t.metal * 1.3, 1),
                0.02 * s.scale,
                within=[L.EARRING],
            )
        else:
            c.fill(ellipse(x, y, 0.065, 0.065), s.ears, t.metal, L.EARRING)
            drop = curve([(x, y), (x + 0.12, y + 0.28), (x, y + 0.4), (x - 0.12, y + 0.28)])
            c.fill(drop, s.ears, t.gem, L.EARRING, shade=0.4)
            c.fill(
                ellipse(x - 0.03, y + 0.25, 0.025, 0.05),
                s.ears,
                WHITE,
                within=[L.EARRING],
                shade=0,
                opacity=0.7,
            )


def paint_glasses(s: Scene) -> None:
    """Frames, bridge and temples, with lenses that are clear or dark."""
    t, c = s.traits, s.canvas
    if t.glasses == "none":
        return
    g, y = t.eye_gap + 0.015, -0.05
    rx = min(g - 0.075, 0.3)
    ry = {"round": rx, "square": 0.8 * rx, "wide": 0.72 * rx}[t.glasses]
    for side in (-1, 1):
        x = side * g
        if t.glasses == "round":
            lens = ellipse(x, y + 0.02, rx, ry)
        else:
            tip = 1.15 if t.glasses == "wide" else 1.0
            corners = np.array(
                [
                    (-0.95, -0.85),
                    (0, -1),
                    (tip, -1),
                    (1.02, 0.1),
                    (0.75, 0.95),
                    (0, 1.05),
                    (-0.75, 0.9),
                    (-1, 0),
                ],
                np.float32,
            )
            lens = curve(
                corners * np.array([rx * side, ry], np.float32) + np.array([x, y + 0.02], np.float32)
            )
        c.fill(lens, s.face, t.lens, L.GLASSES, shade=0.25, opacity=t.lens_opacity)
        glint = np.array(
            [
                (x - 0.5 * rx, y + 0.5 * ry),
                (x + 0.1 * rx, y - 0.6 * ry),
                (x + 0.35 * rx, y - 0.6 * ry),
                (x - 0.25 * rx, y + 0.5 * ry),
            ],
            np.float32,
        )
        c.fill(glint, s.face, WHITE, within=[L.GLASSES], shade=0, opacity=0.22)
        c.stroke(np.concatenate([lens, lens[:1]]), s.face, t.frame, 0.06 * s.scale, L.GLASSES)
        temple = np.array([(x + side * rx, y - 0.3 * ry), (side * 0.99 * t.width, -0.1)], np.float32)
        c.stroke(temple, s.face, t.frame, 0.055 * s.scale, L.GLASSES)
    bridge = curve([(-g + rx, y), (0, y - 0.05), (g - rx, y)], closed=False)
    c.stroke(bridge, s.nose, t.frame, 0.06 * s.scale, L.GLASSES)
