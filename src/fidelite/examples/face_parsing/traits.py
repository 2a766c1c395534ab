"""What a drawn person looks like: every choice of the generator, taken from one random generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from fidelite.examples.face_parsing.canvas import Floats, Pose

__all__ = ["Look", "Style", "Traits", "draw_traits", "look_pose"]

Style = Literal["usual", "other"]
HairCut = Literal["bald", "short", "bob", "long", "curls", "bun"]
HatKind = Literal["none", "beanie", "cap", "brimmed", "bowler"]

_Name = TypeVar("_Name", bound=str)

_SKIN = ["fbe3d2", "f6d3b8", "eebf9c", "e0a981", "cf9468", "b97c50", "9a6340", "7c4c31", "5e3926", "46291c"]
_HAIR = [
    "17130f",
    "2b1d14",
    "46301f",
    "6b4526",
    "94652f",
    "c2954f",
    "e3c27e",
    "a8431f",
    "7d2b1b",
    "8f8f92",
    "d9d6d0",
]
_IRIS = ["4a2f1c", "6b4a26", "3f6a3a", "3c6f9f", "7f9fb4", "5a5f52"]
_LIPS = ["b4585a", "c26d68", "a34350", "cf4058", "8e3a3c", "d98a80"]
_VIVID = [
    "d8412f",
    "e88a1a",
    "f2c230",
    "5fae4a",
    "1f8a70",
    "2a78c8",
    "3b3f94",
    "7d4aa8",
    "d05c9a",
    "f0ede4",
    "2a2d34",
    "8a5a3b",
]
_METAL = ["e8c34a", "d7dbe2", "f3f0ea", "c98b5a", "57c7c0", "e0526a"]
_OTHER_SKIN = ["ffd9c9", "c9d8b6", "b7cfe8", "f3c5e0", "e8d27a", "d2b3f0"]
_OTHER_HAIR = ["2f6fd0", "ef476f", "06a77d", "ff9f1c", "6a4c93", "f4f1de"]


def _hex(text: str) -> Floats:
    return np.array([int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32)


@dataclass(frozen=True)
class Look:
    """How the head is held: its centre and scale (fractions of the picture), its turns in radians."""

    x: float
    y: float
    scale: float
    roll: float
    yaw: float
    pitch: float


@dataclass(frozen=True)
class Traits:
    """One drawn person. Lengths are in head units: the chin lies at y = 1, the crown at y = -1."""

    style: Style
    look: Look
    skin: Floats
    hair: Floats
    brow: Floats
    iris: Floats
    lips: Floats
    cloth: Floats
    cloth2: Floats
    hat: Floats
    hat2: Floats
    metal: Floats
    gem: Floats
    frame: Floats
    lens: Floats
    lens_opacity: float
    jaw: float
    width: float
    eye_size: float
    eye_open: float
    eye_gap: float
    brow_y: float
    brow_size: float
    brow_tilt: float
    nose_size: float
    nose_length: float
    mouth_y: float
    mouth_width: float
    mouth_open: float
    smile: float
    lip_size: float
    ear_size: float
    neck_width: float
    hair_cut: HairCut
    hairline: float
    parting: float
    hat_kind: HatKind
    glasses: Literal["none", "round", "square", "wide"]
    earrings: Literal["none", "stud", "hoop", "drop"]
    necklace: Literal["none", "chain", "beads", "choker"]
    neckline: Literal["crew", "v", "collar", "wide"]
    pattern: Literal["plain", "stripes", "dots", "zip"]
    freckles: bool
    blush: float
    line: float


def _tint(rng: np.random.Generator, names: Sequence[str], spread: float = 0.06) -> Floats:
    """One of the colours named, moved a little."""
    base = _hex(names[int(rng.integers(len(names)))])
    moved = base * rng.uniform(1 - 2 * spread, 1 + 2 * spread) + rng.normal(0, spread / 2, 3)
    return np.clip(moved, 0.02, 1).astype(np.float32)


def _skin(rng: np.random.Generator, names: Sequence[str]) -> Floats:
    """A tone somewhere between two neighbours of a row of tones."""
    at = float(rng.uniform(0, len(names) - 1))
    i = min(int(at), len(names) - 2)
    mixed = _hex(names[i]) * (i + 1 - at) + _hex(names[i + 1]) * (at - i)
    return np.clip(mixed + rng.normal(0, 0.012, 3), 0.03, 1).astype(np.float32)


def _one_of(rng: np.random.Generator, options: tuple[_Name, ...], weights: tuple[float, ...]) -> _Name:
    """One of the options, with the weights given."""
    return options[int(rng.choice(len(options), p=np.asarray(weights) / sum(weights)))]


def _look(rng: np.random.Generator) -> Look:
    """A head somewhere near the middle, turned a little each way."""
    scale = float(rng.uniform(0.23, 0.335))
    x, y = float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.4, 0.5))
    roll = float(np.clip(rng.normal(0, 0.16), -0.45, 0.45))
    return Look(x, y, scale, roll, float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.12, 0.12)))


def draw_traits(rng: np.random.Generator, style: Style) -> Traits:
    """Draw a person at random. `other` has colours, proportions and poses of its own."""
    other = style == "other"

    def u(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    skin = _tint(rng, _OTHER_SKIN) if other else _skin(rng, _SKIN)
    hair = _tint(rng, _OTHER_HAIR) if other else _tint(rng, _VIVID if u(0, 1) < 0.12 else _HAIR)
    lips = _tint(rng, _LIPS)
    lips = (0.55 * lips + 0.45 * skin * np.array([0.95, 0.6, 0.6], np.float32)) if u(0, 1) < 0.6 else lips
    return Traits(
        style=style,
        look=_look(rng),
        skin=skin,
        hair=hair,
        brow=np.clip(hair * u(0.45, 0.8), 0.04, 0.75).astype(np.float32),
        iris=_tint(rng, _IRIS),
        lips=np.clip(lips, 0, 1).astype(np.float32),
        cloth=_tint(rng, _VIVID),
        cloth2=_tint(rng, _VIVID),
        hat=_tint(rng, _VIVID),
        hat2=_tint(rng, _VIVID),
        metal=_tint(rng, _METAL),
        gem=_tint(rng, _VIVID + _METAL),
        frame=_tint(rng, ["1b1a1e", "3a2418", "7a4a22", "8c1f2c", "24406e", "c9a23e", "d5d8dc", "2f5d4a"]),
        lens=_tint(rng, ["1e2028", "3a2a22", "9fc7e0", "cfe3ea", "2a4a52"]),
        lens_opacity=u(0.15, 0.4) if u(0, 1) < 0.6 else u(0.75, 0.97),
        jaw=u(0.3, 0.5) if other else u(0.42, 0.66),
        width=u(0.84, 0.98) if other else u(0.68, 0.84),
        eye_size=u(0.25, 0.31) if other else u(0.165, 0.215),
        eye_open=u(0.5, 0.75) if other else u(0.36, 0.56),
        eye_gap=u(0.36, 0.42) if other else u(0.31, 0.37),
        brow_y=u(-0.38, -0.31),
        brow_size=u(0.09, 0.15),
        brow_tilt=u(-0.05, 0.045),
        nose_size=u(0.1, 0.14) if other else u(0.14, 0.21),
        nose_length=u(0.3, 0.36) if other else u(0.34, 0.43),
        mouth_y=u(0.64, 0.7),
        mouth_width=u(0.22, 0.42) if other else u(0.26, 0.38),
        mouth_open=u(0.07, 0.2) if u(0, 1) < 0.6 else 0.0,
        smile=u(-0.04, 0.12),
        lip_size=u(0.085, 0.13),
        ear_size=u(0.19, 0.25),
        neck_width=u(0.3, 0.4) if other else u(0.38, 0.52),
        hair_cut=_one_of(
            rng, ("bald", "short", "bob", "long", "curls", "bun"), (0.07, 0.33, 0.14, 0.22, 0.1, 0.14)
        ),
        hairline=u(-0.78, -0.52),
        parting=u(-0.4, 0.4),
        hat_kind=_one_of(rng, ("none", "beanie", "cap", "brimmed", "bowler"), (0.56, 0.12, 0.12, 0.1, 0.1)),
        glasses=_one_of(rng, ("none", "round", "square", "wide"), (0.58, 0.15, 0.15, 0.12)),
        earrings=_one_of(rng, ("none", "stud", "hoop", "drop"), (0.45, 0.17, 0.19, 0.19)),
        necklace=_one_of(rng, ("none", "chain", "beads", "choker"), (0.5, 0.2, 0.18, 0.12)),
        neckline=_one_of(rng, ("crew", "v", "collar", "wide"), (0.3, 0.25, 0.2, 0.25)),
        pattern=_one_of(rng, ("plain", "stripes", "dots", "zip"), (0.45, 0.22, 0.18, 0.15)),
        freckles=u(0, 1) < 0.15,
        blush=u(0, 0.35),
        line=u(0.005, 0.008) if other else 0.0,
    )


def look_pose(look: Look, *, depth: float = 0.0, round_by: float = 0.0, body: bool = False) -> Pose:
    """Where points of the head lie in the picture.

    Features sit on a rounded face: `round_by` is how far its middle stands out, so that turning the head
    moves them and narrows those on the far side. `depth` moves a part as a whole, back (negative) or forth.
    The body turns with the head only a little.
    """
    roll = look.roll * (0.25 if body else 1.0)
    yaw = look.yaw * (0.15 if body else 1.0)
    pitch = 0.0 if body else look.pitch
    cos, sin = np.cos(roll), np.sin(roll)
    turn = np.array([[cos, sin], [-sin, cos]], np.float32)

    def pose(points: Floats) -> Floats:
        x, y = points[:, 0], points[:, 1]
        z = depth + round_by * np.sqrt(np.clip(1 - (x / 0.95) ** 2 - (y / 1.6) ** 2, 0, 1))
        moved = np.stack([x * np.cos(yaw) ** 0.5 + z * np.sin(yaw), y + z * pitch], 1)
        return (moved @ turn * look.scale + np.array([look.x, look.y])).astype(np.float32)

    return pose
