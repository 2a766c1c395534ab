"""Masks at the picture's own size, colours, legend."""

from __future__ import annotations

import numpy as np
import pytest

from fidelite.errors import UsageError
from fidelite.pictures import from_array
from fidelite.segmentation import class_axis, from_indices, from_scores, legend_of

PICTURE = from_array(np.full((40, 60, 3), 100, np.uint8))


@pytest.mark.parametrize(
    ("shape", "size", "last", "expected"),
    [
        ((1, 19, 512, 512), (512, 512), False, 1),
        ((1, 512, 512, 19), (512, 512), True, 3),
        ((1, 19, 64, 64), (512, 512), False, 1),
        ((1, 19, 64, 32), (512, 256), False, 1),
        ((1, 19, 64, 32), (256, 512), False, None),
        ((1, 19, 16, 16), (512, 512), False, None),
        ((1, 3, 512, 512), (512, 512), False, None),
        ((1, 1, 512, 512), (512, 512), False, None),
        ((1, 255, 80, 80), (640, 640), False, None),
        ((2, 19, 512, 512), (512, 512), False, None),
        ((1, 1000), (224, 224), False, None),
        ((1, 32, 32, 32), (32, 32), True, 3),
        ((1, 32, 32, 32), (32, 32), False, 1),
    ],
)
def test_class_axis(shape: tuple[int, ...], size: tuple[int, int], last: bool, expected: int | None) -> None:
    assert class_axis(shape, size, prefer_last=last) == expected


def test_three_channels_are_classes_only_with_labels() -> None:
    assert class_axis((1, 3, 8, 8), (8, 8), prefer_last=False, labels=3) == 1


def test_scores_are_resized_before_the_largest_is_taken() -> None:
    scores = np.zeros((1, 3, 2, 3), np.float32)
    scores[0, 1, :, 0], scores[0, 2, :, 2] = 4, 1
    found = from_scores("y", scores, 1, PICTURE, None)
    assert found.mask.shape == (40, 60)
    assert found.mask[0, 0] == 1
    assert found.mask[0, -1] == 2
    assert (found.mask == 1).sum() > (found.mask == 2).sum() * 0.9
    last = from_scores("y", scores.transpose(0, 2, 3, 1), 3, PICTURE, None)
    np.testing.assert_array_equal(found.mask, last.mask)


def test_indices_take_the_nearest() -> None:
    found = from_indices("y", np.array([[[0, 5], [5, 5]]], np.int32), PICTURE, None)
    assert set(np.unique(found.mask)) == {0, 5}
    assert [row[0] for row in found.shares] == [5, 0]
    assert sum(share for *_, share in found.shares) == pytest.approx(1)
    assert found.labels[5] == "class 5"


def test_overlay_keeps_the_background() -> None:
    found = from_indices("y", np.array([[[0, 1]]], np.int64), PICTURE, ["background", "thing"])
    overlay = found.overlay(PICTURE)
    assert overlay.shape[0] >= 40
    assert overlay.shape[1] > 60
    assert overlay[5, 5].tolist() == [100, 100, 100]
    assert overlay[5, 55].tolist() != [100, 100, 100]
    assert found.coloured().shape == (40, 60, 3)


def test_legend() -> None:
    names, palette = legend_of(19, None)
    assert names[17] == "hair"
    assert len(set(palette)) == 19
    names, palette = legend_of(150, None)
    assert names[7] == "class 7"
    assert len(set(palette)) > 140
    with pytest.raises(UsageError) as caught:
        legend_of(5, ["a", "b"])
    assert caught.value.code == "F245"
