"""The head itself: neck, ears, skin, mouth, nose, eyes and brows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fidelite.examples.face_parsing import labels as L
from fidelite.examples.face_parsing.canvas import Canvas, Floats, curve, ellipse, mirror
from fidelite.examples.face_parsing.traits import Traits, look_pose

__all__ = ["Scene", "paint_ears", "paint_features", "paint_head", "paint_neck"]

WHITE = np.array([0.97, 0.96, 0.95], np.float32)
INK = np.array([0.09, 0.07, 0.08], np.float32)
MOUTH_RED = np.array([0.33, 0.06, 0.09], np.float32)
TONGUE = np.array([0.78, 0.32, 0.36], np.float32)
BLUSH = np.array([0.9, 0.33, 0.33], np.float32)


@dataclass
class Scene:
    """A canvas, the person to draw on it, and the poses of the person's parts."""

    canvas: Canvas
    traits: Traits
    rng: np.random.Generator

    def __post_init__(self) -> None:
        look = self.traits.look
        self.head = look_pose(look)
        self.face = look_pose(look, round_by=0.5)
        self.nose = look_pose(look, round_by=0.5, depth=0.1)
        self.ears = look_pose(look, depth=-0.12)
        self.body = look_pose(look, body=True)
        self.scale = look.scale

    def outline(self, grow: float = 0.0) -> Floats:
        """The head's outline, `grow` head units wider all around."""
        t = self.traits
        w, jaw = t.width, t.jaw
        right = [
            (0.0, -1.0),
            (0.62 * w, -0.9),
            (0.97 * w, -0.5),
            (w, -0.02),
            (0.93 * w, 0.36),
            (jaw, 0.76),
            (0.4 * jaw, 0.98),
        ]
        points = np.array([*right, (0.0, 1.0), *[(-x, y) for x, y in right[:0:-1]]], np.float32)
        return curve(points * (1 + grow))

    def shadow(self, colour: Floats, amount: float = 0.75) -> Floats:
        """The colour in shadow: darker, and a little cooler."""
        return (colour * amount * np.array([0.98, 0.95, 1.0], np.float32)).astype(np.float32)


def paint_neck(s: Scene) -> None:
    """The neck, with the chin's shadow."""
    t, c = s.traits, s.canvas
    w = t.neck_width
    side = [(w, 0.3), (w * 0.96, 1.1), (w * 1.12, 1.45), (w * 1.9, 1.75), (w * 1.6, 2.6)]
    neck = np.concatenate([curve(side, closed=False), mirror(curve(side, closed=False))])
    c.fill(neck, s.body, s.shadow(t.skin, 0.93), L.NECK)
    dim = s.outline() * np.array([0.95, 1.0], np.float32) + np.array([0.0, 0.18], np.float32)
    c.fill(dim, s.head, s.shadow(t.skin, 0.7), within=[L.NECK], shade=0, opacity=0.75)


def paint_ears(s: Scene) -> None:
    """Both ears; the head, painted later, hides the far one of a turned head."""
    t, c = s.traits, s.canvas
    for side, label in ((-1, L.L_EAR), (1, L.R_EAR)):
        h = t.ear_size
        ear = np.array(
            [
                (0, -h * 1.1),
                (0.6 * h, -h * 1.2),
                (0.95 * h, -0.6 * h),
                (0.75 * h, 0.3 * h),
                (0.4 * h, h * 1.1),
                (-0.1, h),
            ]
        )
        at = np.array([t.width - 0.06, 0.02], np.float32)
        flip = np.array([side, 1], np.float32)
        c.fill(
            curve(((ear + at) * flip).astype(np.float32)), s.ears, s.shadow(t.skin, 0.95), label, shade=0.15
        )
        inner = curve(((ear * 0.55 + at + np.array([0.04, -0.02])) * flip).astype(np.float32))
        c.fill(inner, s.ears, s.shadow(t.skin, 0.72), within=[label], shade=0, opacity=0.8)


def paint_head(s: Scene) -> None:
    """The skin of the face, lit from the light's side, with cheeks and freckles."""
    t, c = s.traits, s.canvas
    c.fill(s.outline(), s.head, t.skin, L.SKIN, shade=0.2)
    lx, ly = c.light
    c.glow((0.35 * lx, 0.3 * ly - 0.2), s.head, 0.75 * s.scale, np.minimum(t.skin * 1.22, 1), 0.55, [L.SKIN])
    for side in (-1, 1):
        c.glow((side * 0.45, 0.32), s.face, 0.36 * s.scale, 0.5 * (BLUSH + t.skin), t.blush, [L.SKIN])
        c.glow((side * t.eye_gap, -0.06), s.face, 0.36 * s.scale, s.shadow(t.skin, 0.72), 0.4, [L.SKIN])
    c.glow((0.0, t.mouth_y + 0.24), s.face, 0.24 * s.scale, s.shadow(t.skin, 0.76), 0.45, [L.SKIN])
    if t.freckles:
        for x, y in s.rng.normal((0, 0.2), (0.3, 0.1), (26, 2)).tolist():
            c.fill(
                ellipse(x, y, 0.013, 0.013),
                s.face,
                s.shadow(t.skin, 0.7),
                within=[L.SKIN],
                shade=0,
                opacity=0.7,
            )


def paint_features(s: Scene) -> None:
    """Mouth, nose, eyes and brows."""
    _paint_mouth(s)
    _paint_nose(s)
    for side in (-1, 1):
        _paint_eye(s, side)
        _paint_brow(s, side)


def _paint_mouth(s: Scene) -> None:
    """Upper lip, lower lip, and, where the mouth is open, what lies between."""
    t, c = s.traits, s.canvas
    y, w, gap, lip = t.mouth_y, t.mouth_width, t.mouth_open, t.lip_size
    corner = y - t.smile
    top = [(-w, corner), (-0.5 * w, y - 0.75 * lip), (-0.16 * w, y - lip), (0, y - 0.82 * lip)]
    upper_edge = curve([*top, (0.16 * w, y - lip), (0.5 * w, y - 0.75 * lip), (w, corner)], closed=False)
    inner_top = curve(
        [(-w, corner), (-0.5 * w, y + 0.03), (0, y + 0.04), (0.5 * w, y + 0.03), (w, corner)], closed=False
    )
    low = y + 0.04 + gap
    inner_low = curve(
        [(-w, corner), (-0.55 * w, low - 0.2 * gap), (0, low), (0.55 * w, low - 0.2 * gap), (w, corner)],
        closed=False,
    )
    if not gap:
        inner_low = inner_top
    base = low + 1.1 * lip
    lower_edge = curve(
        [(-w, corner), (-0.6 * w, base - 0.4 * lip), (0, base), (0.6 * w, base - 0.4 * lip), (w, corner)],
        closed=False,
    )
    if gap:
        c.fill(np.concatenate([inner_top, inner_low[::-1]]), s.face, MOUTH_RED, L.MOUTH, shade=0)
        c.fill(ellipse(0, low - 0.02, 0.5 * w, 0.5 * gap), s.face, TONGUE, within=[L.MOUTH])
        teeth = np.concatenate(
            [inner_top, (inner_top * np.array([0.9, 1]) + np.array([0, 0.38 * gap]))[::-1]]
        )
        c.fill(teeth.astype(np.float32), s.face, WHITE, within=[L.MOUTH], shade=0.05)
    c.fill(
        np.concatenate([inner_low, lower_edge[::-1]]),
        s.face,
        np.minimum(t.lips * 1.08, 1),
        L.LOWER_LIP,
        shade=0.15,
    )
    c.fill(
        np.concatenate([upper_edge, inner_top[::-1]]), s.face, s.shadow(t.lips, 0.86), L.UPPER_LIP, shade=0.1
    )
    c.glow((0.12 * c.light[0], low + 0.5 * lip), s.face, 0.1 * s.scale, WHITE, 0.3, [L.LOWER_LIP])
    if not gap:
        c.stroke(inner_top, s.face, s.shadow(t.lips, 0.5), 0.022 * s.scale, opacity=0.9)


def _paint_nose(s: Scene) -> None:
    """The nose from between the eyes to its wings, lit on one side, with nostrils."""
    t, c = s.traits, s.canvas
    w, n = t.nose_size, t.nose_length
    right = [
        (0.33 * w, -0.06),
        (0.38 * w, 0.4 * n),
        (0.78 * w, 0.74 * n),
        (w, 0.95 * n),
        (0.72 * w, 1.13 * n),
        (0.3 * w, 1.14 * n),
    ]
    nose = curve([(0, -0.08), *right, (0, 1.2 * n), *[(-x, y) for x, y in right[::-1]]])
    c.fill(nose, s.nose, s.shadow(t.skin, 0.93), L.NOSE, shade=0.14)
    lit = 1.0 if c.light[0] > 0 else -1.0
    dark = curve([(-lit * x, y) for x, y in [(0.1 * w, 0.0), *right[1:5], (0.2 * w, 0.9 * n)]])
    c.fill(dark, s.nose, s.shadow(t.skin, 0.76), within=[L.NOSE], shade=0, opacity=0.6)
    c.glow(
        (0.02 * lit, 0.9 * n), s.nose, 0.8 * w * s.scale, np.minimum(t.skin * 1.3 + 0.05, 1), 0.7, [L.NOSE]
    )
    for side in (-1, 1):
        c.fill(
            ellipse(side * 0.45 * w, 1.06 * n, 0.2 * w, 0.1 * w),
            s.nose,
            s.shadow(t.skin, 0.4),
            within=[L.NOSE],
            shade=0,
        )


def _paint_eye(s: Scene, side: int) -> None:
    """An eye between its lids, with iris, pupil, a spark of light and the line of the lashes."""
    t, c = s.traits, s.canvas
    label = L.L_EYE if side < 0 else L.R_EYE
    x, y, w = side * t.eye_gap, -0.06, t.eye_size
    h = w * t.eye_open
    upper = [
        (x - w, y + 0.1 * h),
        (x - 0.5 * w, y - 0.8 * h),
        (x, y - 1.08 * h),
        (x + 0.5 * w, y - 0.85 * h),
        (x + w, y - 0.05 * h),
    ]
    lower = [(x + 0.45 * w, y + 0.75 * h), (x - 0.1 * w, y + 0.92 * h), (x - 0.6 * w, y + 0.6 * h)]
    c.fill(curve([*upper, *lower]), s.face, WHITE * 0.97, label, shade=0.06)
    gaze = 0.3 * w * float(np.clip(t.look.yaw * 2 + 0.3 * np.sin(37 * t.jaw), -1, 1))
    r = 0.95 * h if t.style == "other" else 1.02 * h
    within = [label]
    c.fill(ellipse(x + gaze, y - 0.08 * h, r, r), s.face, s.shadow(t.iris, 0.7), within=within, shade=0)
    c.fill(
        ellipse(x + gaze, y - 0.08 * h, 0.82 * r, 0.82 * r),
        s.face,
        np.minimum(t.iris * 1.25, 1),
        within=within,
        shade=0.2,
    )
    c.fill(ellipse(x + gaze, y - 0.08 * h, 0.45 * r, 0.45 * r), s.face, INK, within=within, shade=0)
    spark = ellipse(x + gaze + 0.35 * r * c.light[0], y - 0.08 * h - 0.4 * r, 0.2 * r, 0.2 * r)
    c.fill(spark, s.face, WHITE, within=within, shade=0)
    c.stroke(curve(upper, closed=False), s.face, INK, 0.045 * s.scale, within=[*within, L.SKIN], opacity=0.9)
    fold = (np.array(upper, np.float32) - np.array([0, 0.07], np.float32))[1:]
    c.stroke(
        curve(fold, closed=False), s.face, s.shadow(t.skin, 0.6), 0.02 * s.scale, within=[L.SKIN], opacity=0.6
    )


def _paint_brow(s: Scene, side: int) -> None:
    """A brow that swells from its inner end and tapers outwards."""
    t, c = s.traits, s.canvas
    b, y = t.brow_size, t.brow_y - (0.1 if t.style == "other" else 0.0)
    inner, outer = t.eye_gap - 0.2, t.eye_gap + 0.26
    mid = 0.4 * inner + 0.6 * outer
    arch = [
        (inner, y + t.brow_tilt + 0.3 * b),
        (0.5 * (inner + mid), y - 0.45 * b),
        (mid, y - 0.75 * b),
        (outer, y + 0.35 * b),
    ]
    under = [
        (outer - 0.02, y + 0.55 * b),
        (mid, y + 0.15 * b),
        (0.5 * (inner + mid), y + 0.55 * b),
        (inner, y + t.brow_tilt + b),
    ]
    points = np.array(arch + under, np.float32) * np.array([side, 1], np.float32)
    label = L.L_BROW if side < 0 else L.R_BROW
    c.fill(curve(points), s.face, t.brow, label, shade=0.15)
    for at in np.linspace(0.1, 0.85, 7).tolist():
        px = (inner + at * (outer - inner)) * side
        hair = np.array([(px, y + b), (px + 0.05 * side, y - b)], np.float32)
        c.stroke(hair, s.face, s.shadow(t.brow, 0.6), 0.014 * s.scale, within=[label], opacity=0.5)
