"""What each precision means, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fidelite.errors import QuantizationError
from fidelite.options import PRECISIONS
from fidelite.tflite.types import ElementType


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are stored. `operators` maps an operator to (position of its weights, axis of the output channels;
    -1: per tensor). Constants below `least_elements` stay as they are: they would save nothing."""

    name: str
    weights: ElementType
    operators: Mapping[str, tuple[int, int]]
    least_elements: int
    dequantize: bool
    """Whether a DEQUANTIZE turns the weights back to float32 before the operator (else its kernel takes them)."""


_WEIGHTED = {"CONV_2D": (1, 0), "DEPTHWISE_CONV_2D": (1, 3), "TRANSPOSE_CONV": (1, 0), "CONV_3D": (1, 4),
             "FULLY_CONNECTED": (1, 0)}

RECIPES: Mapping[str, Recipe] = {
    "float16": Recipe("float16", ElementType.FLOAT16,
                      {**_WEIGHTED, "BATCH_MATMUL": (1, -1), "GATHER": (0, -1), "ADD": (1, -1), "MUL": (1, -1)},
                      256, dequantize=True),
    # DEPTHWISE_CONV_2D is left out: XNNPACK does not take int8 weights there, so that it would run slower than in
    # float32, and its weights are few. CONV_3D has no such kernel.
    "dynamic-int8": Recipe("dynamic-int8", ElementType.INT8,
                           {op: _WEIGHTED[op] for op in ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")},
                           1024, dequantize=False),
    # Unpacked while the network runs, which takes its time: for files that are to be small, not fast.
    "weight-int8": Recipe("weight-int8", ElementType.INT8,
                          {op: _WEIGHTED[op] for op in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV",
                                                        "FULLY_CONNECTED")},
                          1024, dequantize=True),
}


def recipe_of(precision: str) -> Recipe | None:
    """The recipe of a precision; None for float32. Raises QuantizationError (F461) for those that are not there."""
    if precision == "float32":
        return None
    if precision not in RECIPES:
        raise QuantizationError(f"the precision {precision} is not available in this version", code="F461",
                                remedy=f"choose one of: {', '.join(p for p in PRECISIONS if p != precision)}")
    return RECIPES[precision]
