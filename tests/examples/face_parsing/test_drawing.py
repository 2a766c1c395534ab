"""The drawn faces: repeatable, complete, and true to their labels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fidelite.examples.face_parsing import labels
from fidelite.examples.face_parsing.drawing import Style, draw_face, normalise


@pytest.mark.parametrize("style", ["usual", "other"])
def test_same_seed_same_drawing(style: Style) -> None:
    first, second = draw_face(7, 96, style=style), draw_face(7, 96, style=style)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_other_seed_or_style_is_another_drawing() -> None:
    picture, mask = draw_face(7, 96)
    for other_picture, other_mask in (draw_face(8, 96), draw_face(7, 96, style="other")):
        assert np.abs(picture.astype(int) - other_picture).mean() > 10
        assert (mask != other_mask).mean() > 0.05


def test_shape_type_and_range() -> None:
    picture, mask = draw_face(0, 64)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert mask.shape == (64, 64)
    assert mask.dtype == np.uint8
    assert mask.max() < len(labels.CLASSES)


def test_the_size_changes_the_resolution_only() -> None:
    _, small = draw_face(3, 128)
    _, large = draw_face(3, 256)
    assert (large[1::2, 1::2] == small).mean() > 0.96


@pytest.mark.parametrize("style", ["usual", "other"])
def test_every_class_occurs_soon(style: Style) -> None:
    seen = np.zeros(len(labels.CLASSES), int)
    for seed in range(24):
        seen += np.bincount(draw_face(seed, 128, style=style)[1].ravel(), minlength=len(seen)) > 0
    rare = {name: int(n) for name, n in zip(labels.CLASSES, seen, strict=True) if n < 5}
    assert not rare, f"in fewer than 5 of 24 drawings: {rare}"


def test_left_lies_left() -> None:
    for seed in range(8):
        _, mask = draw_face(seed, 128)
        left, right = (np.nonzero(mask == brow)[1].mean() for brow in (labels.L_BROW, labels.R_BROW))
        assert left < right


def test_normalise_is_imagenets() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 1] = 255
    tensor = normalise(picture)
    assert tensor.shape == (1, 3, 2, 3)
    assert tensor.dtype == np.float32
    mean, std = np.array(labels.IMAGENET_MEAN), np.array(labels.IMAGENET_STD)
    np.testing.assert_allclose(tensor[0, :, 0, 1], (1 - mean) / std, rtol=1e-6)
    np.testing.assert_allclose(tensor[0, :, 1, 1], -mean / std, rtol=1e-6)


def test_labels_fit_together() -> None:
    assert len(labels.CLASSES) == len(labels.PALETTE) == 19
    assert len(set(labels.CLASSES)) == len(set(labels.PALETTE)) == 19
    names = [labels.CLASSES[i] for pair in labels.SIDED for i in pair]
    assert names == ["l_brow", "r_brow", "l_eye", "r_eye", "l_ear", "r_ear"]
    assert (labels.CLASSES[labels.HAIR], labels.CLASSES[labels.NECKLACE]) == ("hair", "neck_l")


def test_drawing_needs_numpy_and_pillow_only() -> None:
    code = (
        "import sys; from fidelite.examples.face_parsing.drawing import draw_face; draw_face(0, 64); "
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'ai_edge_litert') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
