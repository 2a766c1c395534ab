"""Integer inference from a float graph: calibrated activations, weights on grids, and what keeps the results close."""

from __future__ import annotations

from fidelite.quantize.static.apply import Quantized, quantize_static
from fidelite.quantize.static.recipe import STATIC, StaticRecipe

__all__ = ["STATIC", "Quantized", "StaticRecipe", "quantize_static"]
