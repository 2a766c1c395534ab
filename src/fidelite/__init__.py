"""fidelite turns a PyTorch or ONNX model into a LiteRT (.tflite) model that computes the same thing, and proves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fidelite.pipeline import AnyModel, Conversion

__version__ = "0.1.0"


def convert(model: AnyModel, *, on_progress: Callable[[str, float], None] | None = None,
            **options: Any) -> Conversion:
    """Convert an ONNX model. See `fidelite.options.ConvertOptions` for the keyword arguments."""
    from fidelite import pipeline

    return pipeline.convert(model, pipeline.options_of(options), on_progress)
