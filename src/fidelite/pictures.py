"""Pictures in: any format that Pillow reads, upright, in RGB, at a model's size."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fidelite.errors import BadSample, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]

RESIZE_RULE = "bilinear (smoothed where it shrinks), aspect ratio not kept"
MAX_PIXELS = 200_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, upright: RGB [height, width, 3] of 0..255. `notes` say what was done to get there."""

    pixels: Pixels
    name: str = "picture"
    notes: tuple[str, ...] = field(default=())

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def resized(self, width: int, height: int) -> Pixels:
        """The pixels at that size, by `RESIZE_RULE`."""
        from PIL import Image

        if (width, height) == (self.width, self.height):
            return self.pixels
        small = Image.fromarray(self.pixels).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(small, np.uint8)


def read_picture(path: Path) -> Picture:
    """A picture from a file.

    Raises BadSample: F231 there is no such file, F232 it is no picture, F233 it is damaged, F234 it is too large.
    """
    from PIL import Image, UnidentifiedImageError

    details = {"path": str(path)}
    if not path.exists():
        raise BadSample(f"there is no picture '{path}'", code="F231", remedy="check the path", details=details)
    if path.is_dir():
        raise BadSample(f"'{path}' is a folder", code="F231", remedy="name a picture in it", details=details)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise BadSample(f"'{path}' has {image.width} x {image.height} pixels", code="F234",
                                    remedy="make it smaller first", details=details)
                return from_image(image, path.stem)
    except UnidentifiedImageError as error:
        raise BadSample(f"'{path}' is no picture that Pillow can read", code="F232",
                        remedy="give a .jpg, .png, .webp, .bmp or .tif; arrays come as .npz",
                        details=details) from error
    except Image.DecompressionBombError as error:
        raise BadSample(f"'{path}' has too many pixels", code="F234", remedy="make it smaller first",
                        details=details) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadSample(f"'{path}' is a damaged picture: {error}", code="F233", remedy="copy or save it again",
                        details=details) from error


def from_image(image: Image, name: str = "picture") -> Picture:
    """A Pillow image made upright and RGB."""
    from PIL import ImageOps

    notes: list[str] = []
    orientation = image.getexif().get(0x0112, 1)
    if orientation not in (0, 1, None):
        image = ImageOps.exif_transpose(image)
        notes.append(f"turned upright (EXIF orientation {orientation})")
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"the first of its {getattr(image, 'n_frames', 1)} frames")
    if image.mode.startswith("I") or image.mode == "F":
        pixels, note = _wide_grey(np.asarray(image))
        notes.append(note)
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        pixels = _on_white(image)
        notes.append("transparent parts put on white")
    else:
        if image.mode in ("L", "1"):
            notes.append("grey")
        elif image.mode not in ("RGB", "P"):
            notes.append(f"converted from {image.mode}")
        pixels = np.asarray(image.convert("RGB"), np.uint8)
    return Picture(np.ascontiguousarray(pixels), name, tuple(notes))


def _on_white(image: Image) -> Pixels:
    from PIL import Image as images

    layer = image.convert("RGBA")
    ground = images.new("RGBA", layer.size, (255, 255, 255, 255))
    return np.asarray(images.alpha_composite(ground, layer).convert("RGB"), np.uint8)


def _wide_grey(values: NDArray[Any]) -> tuple[Pixels, str]:
    """Grey of 16 or 32 bits, or of floats, to RGB of 8 bits."""
    floats = np.nan_to_num(values.astype(np.float64))
    top = float(floats.max(initial=0.0))
    if np.issubdtype(values.dtype, np.floating) and top <= 1.0:
        scaled, note = floats * 255.0, "grey of 0..1"
    elif top > 255.0:
        scaled, note = floats * (255.0 / 65535.0), "grey of 16 bits"
    else:
        scaled, note = floats, "grey"
    grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2), note


def from_array(array: NDArray[Any]) -> Picture:
    """An array [height, width], [height, width, 1 or 3 or 4] of uint8 as a picture. Raises UsageError (F244)."""
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise UsageError(f"a picture is uint8 [height, width, 3], and this is {array.dtype} {list(array.shape)}",
                         code="F244",
                         remedy="give a path, a Pillow image, or such an array; or run_arrays({NAME: array})")
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return from_image(Image.fromarray(flat))
