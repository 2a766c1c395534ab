"""Pictures of every kind come out upright, RGB and 8 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fidelite.errors import BadSample, UsageError
from fidelite.pictures import from_array, from_image, read_picture

# 2 wide, 3 high: each pixel of its own.
PIXELS = np.arange(18, dtype=np.uint8).reshape(3, 2, 3) * 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, tmp_path: Path) -> None:
    stored = {
        1: PIXELS, 2: PIXELS[:, ::-1], 3: PIXELS[::-1, ::-1], 4: PIXELS[::-1], 5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS), 7: PIXELS[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(PIXELS, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    assert (len(picture.notes) == 1) == (orientation != 1)


def test_transparent_parts_are_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, [0, 128, 255]
    picture = from_image(Image.fromarray(rgba))
    assert picture.pixels[0, 0].tolist() == [255, 255, 255]
    assert picture.pixels[0, 2].tolist() == [200, 0, 0]
    assert 220 < picture.pixels[0, 1, 0] < 235
    assert "white" in picture.notes[0]
    grey = from_image(Image.fromarray(np.array([[[9, 0], [9, 255]]], np.uint8), "LA"))
    assert grey.pixels[0].tolist() == [[255] * 3, [9] * 3]


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS).quantize(6)
    image.save(tmp_path / "p.png", transparency=image.getpixel((0, 0)))
    picture = read_picture(tmp_path / "p.png")
    assert picture.pixels[0, 0].tolist() == [255, 255, 255]
    assert picture.pixels[2, 1].tolist() == PIXELS[2, 1].tolist()


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "P", "YCbCr", "HSV"])
def test_modes(mode: str) -> None:
    image = Image.fromarray(np.zeros((4, 5, 3), np.uint8)).convert(mode)
    picture = from_image(image)
    assert picture.pixels.shape == (4, 5, 3)
    assert picture.pixels.max() <= 2


def test_sixteen_bits(tmp_path: Path) -> None:
    wide = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    picture = read_picture(tmp_path / "wide.png")
    assert picture.pixels[0, :, 0].tolist() == [0, 100, 255]
    assert picture.pixels.shape == (1, 3, 3)
    floats = from_image(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)))
    assert floats.pixels[0, :, 1].tolist() == [0, 128, 255]


def test_name_with_blanks_and_letters(awkward_folder: Path) -> None:
    path = awkward_folder / "f\u00e4ce \u6a21.png"
    Image.fromarray(PIXELS).save(path)
    picture = read_picture(path)
    assert picture.name == "f\u00e4ce \u6a21"
    assert (picture.width, picture.height) == (2, 3)


def test_resizing() -> None:
    picture = from_array(np.full((30, 40, 3), 7, np.uint8))
    assert picture.resized(8, 6).shape == (6, 8, 3)
    assert (picture.resized(64, 64) == 7).all()
    assert picture.resized(40, 30) is picture.pixels


def test_no_pictures(tmp_path: Path) -> None:
    def code(path: Path) -> str:
        with pytest.raises(BadSample) as caught:
            read_picture(path)
        return caught.value.code

    text = tmp_path / "face.jpg"
    text.write_text("this is no picture", "utf-8")
    assert code(text) == "F232"
    assert code(tmp_path / "none.jpg") == "F231"
    assert code(tmp_path) == "F231"
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    text.write_bytes(whole.read_bytes()[:4000])
    assert code(text) == "F233"


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    monkeypatch.setattr("fidelite.pictures.MAX_PIXELS", 5)
    with pytest.raises(BadSample) as caught:
        read_picture(tmp_path / "x.png")
    assert caught.value.code == "F234"


def test_arrays() -> None:
    assert from_array(np.zeros((4, 5), np.uint8)).pixels.shape == (4, 5, 3)
    assert from_array(np.zeros((4, 5, 1), np.uint8)).pixels.shape == (4, 5, 3)
    with pytest.raises(UsageError, match="float32"):
        from_array(np.zeros((4, 5, 3), np.float32))
