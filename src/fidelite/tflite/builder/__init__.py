"""The Builder: how lowerings and passes make TFLite operators. Methods are named after the operators.

`core` holds emission, constants, casts and shapes as operands; `elementwise`, `movement` and `network` the families.
"""

from __future__ import annotations

from fidelite.tflite.builder.control import ControlBuilder
from fidelite.tflite.builder.indexing import IndexingBuilder
from fidelite.tflite.builder.network import window_size
from fidelite.tflite.builder.quantizing import QuantizingBuilder

__all__ = ["Builder", "window_size"]


class Builder(QuantizingBuilder, IndexingBuilder, ControlBuilder):
    """All Builder methods together."""
