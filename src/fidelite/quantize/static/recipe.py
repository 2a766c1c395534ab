"""The integer precisions, and what is done to keep them accurate, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fidelite.tflite.types import ElementType


@dataclass(frozen=True, slots=True)
class StaticRecipe:
    """Element types of activations and of weights (per output channel, symmetric)."""

    name: str
    activations: ElementType
    weights: ElementType = ElementType.INT8


STATIC: Mapping[str, StaticRecipe] = {
    "int8": StaticRecipe("int8", ElementType.INT8),
    "int16x8": StaticRecipe("int16x8", ElementType.INT16),
}
