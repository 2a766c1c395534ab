"""fidelite turns a PyTorch or ONNX model into a LiteRT (.tflite) model that computes the same thing, and proves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

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
