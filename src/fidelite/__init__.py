"""fidelite turns a PyTorch or ONNX model into a LiteRT (.tflite) model that computes the same thing, and proves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from fidelite.inspection import Inspection
    from fidelite.optable import OpSupport
    from fidelite.pipeline import AnyModel, Conversion
    from fidelite.verification import Verified

__version__ = "0.1.0"


def convert(model: AnyModel, *, on_progress: Callable[[str, float], None] | None = None,
            **options: Any) -> Conversion:
    """Convert an ONNX model. See `fidelite.options.ConvertOptions` for the keyword arguments."""
    from fidelite import pipeline

    return pipeline.convert(model, pipeline.options_of(options), on_progress)


def verify(model: Path | str, tflite: Path | str, **options: Any) -> Verified:
    """Compare a `.tflite` file with the ONNX file it came from. See `fidelite.verification.verify`."""
    from fidelite import verification

    return verification.verify(model, tflite, **options)


def inspect(model: Path | str, *, shapes: Mapping[str, Sequence[int]] | None = None,
            weights: Path | str | None = None) -> Inspection:
    """What an `.onnx` or `.tflite` file holds, and whether it converts. See `fidelite.inspection.inspect`."""
    from fidelite import inspection

    return inspection.inspect(model, shapes=shapes, weights=weights)


def describe(result: Conversion, file: Path | str | None = None, *, delegation: bool = True) -> dict[str, Any]:
    """Figures of a conversion as plain data, for reports. See `fidelite.summary.describe`."""
    from fidelite import summary

    return summary.describe(result, file, delegation=delegation)


def ops() -> list[OpSupport]:
    """Every operator that converts, in which schema versions, and what of it is refused."""
    from fidelite import optable

    return optable.ops()
