"""The nineteen classes of face parsing, their colours, and how a picture is normalised before the network.

Order and names are those of CelebAMask-HQ as the public face-parsing.PyTorch checkpoint has them. In this
project's drawings `l_` means the side that lies on the left of the picture, `r_` the side on its right.
"""

from __future__ import annotations

from typing import Final

CLASSES: Final[tuple[str, ...]] = (
    "background",
    "skin",
    "l_brow",
    "r_brow",
    "l_eye",
    "r_eye",
    "eye_g",
    "l_ear",
    "r_ear",
    "ear_r",
    "nose",
    "mouth",
    "u_lip",
    "l_lip",
    "neck",
    "neck_l",
    "cloth",
    "hair",
    "hat",
)
"""Class names; a class's number is its place. `eye_g` is glasses, `ear_r` an earring, `neck_l` a necklace."""

(
    BACKGROUND,
    SKIN,
    L_BROW,
    R_BROW,
    L_EYE,
    R_EYE,
    GLASSES,
    L_EAR,
    R_EAR,
    EARRING,
    NOSE,
    MOUTH,
    UPPER_LIP,
    LOWER_LIP,
    NECK,
    NECKLACE,
    CLOTH,
    HAIR,
    HAT,
) = range(len(CLASSES))

SIDED: Final[tuple[tuple[int, int], ...]] = ((L_BROW, R_BROW), (L_EYE, R_EYE), (L_EAR, R_EAR))
"""Pairs of classes that change places when a picture is mirrored."""

PALETTE: Final[tuple[tuple[int, int, int], ...]] = (
    (24, 26, 34),
    (244, 194, 160),
    (148, 92, 52),
    (196, 128, 66),
    (48, 160, 240),
    (20, 108, 200),
    (120, 236, 222),
    (226, 128, 128),
    (198, 92, 112),
    (255, 221, 64),
    (236, 150, 104),
    (130, 20, 50),
    (236, 76, 110),
    (208, 44, 84),
    (210, 158, 138),
    (255, 170, 32),
    (86, 132, 96),
    (112, 72, 160),
    (220, 84, 220),
)
"""RGB of each class, for masks and overlays."""

IMAGENET_MEAN: Final[tuple[float, float, float]] = (0.485, 0.456, 0.406)
"""Mean of each RGB channel, of pictures scaled to 0..1, that the networks expect to have been subtracted."""

IMAGENET_STD: Final[tuple[float, float, float]] = (0.229, 0.224, 0.225)
"""Standard deviation of each RGB channel that the networks expect to have been divided by."""
