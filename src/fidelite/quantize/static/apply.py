"""From a float graph and what its values are like to integer operators."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from fidelite.quantize.calibration.observe import Calibration
from fidelite.quantize.calibration.parameters import Parameters, choose_parameters
from fidelite.quantize.integer import Integerized, annotate, integerize
from fidelite.quantize.static.correct import correct_biases
from fidelite.quantize.static.grids import constant_grids
from fidelite.quantize.static.recipe import StaticRecipe
from fidelite.tflite.graph import Model


@dataclass
class Quantized:
    """What was done: the grids, what each improvement gained, how many operators compute in integers, and why others
    do not."""

    parameters: Parameters
    integers: Integerized
    improvements: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    seen: dict[str, Any] = field(default_factory=dict[str, Any])
    """What calibration saw, for the report."""

    def kept_float(self) -> list[tuple[str, str]]:
        """Operators that compute in float32, each with the reason."""
        return [(kept.name, kept.reason) for kept in self.integers.kept]


def quantize_static(model: Model, calibration: Calibration, recipe: StaticRecipe, *, ranges: str = "mse",
                    improve: Collection[str] = ()) -> Quantized:
    """Change `model` (the float graph that was calibrated) so that it computes in integers wherever LiteRT can.

    `ranges` is one of `RANGE_METHODS`, `improve` names some of `options.IMPROVEMENTS`. Raises QuantizationError (F462).
    """
    graph = model.main
    parameters = choose_parameters(graph, calibration, recipe.activations, ranges)
    seen = parameters.to_json(calibration)
    improvements: list[dict[str, Any]] = []
    weights = constant_grids(graph, recipe.activations, recipe.weights, least_squares="mse-scales" in improve)
    if "bias-correction" in improve:
        corrections = correct_biases(graph, calibration, weights)
        largest = max((c.share for c in corrections), default=0.0)
        improvements.append({"name": "bias-correction", "operators": len(corrections), "largest_share": largest,
                             "gain": f"shifts of the mean of up to {largest:.2%} of a result's range taken back"})
    annotate(model, parameters.grids, weights)
    return Quantized(parameters, integerize(model), improvements, seen)
