"""Which constants are stored how: a pure decision, made before anything changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fidelite.errors import QuantizationError
from fidelite.quantize.recipe import Recipe
from fidelite.tflite.graph import Model, Operator, Tensor
from fidelite.tflite.types import ElementType

INT8_MAX = 127
FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Storage:
    """How one weight operand is stored: `scale` per channel of `axis` for integers, empty for float16."""

    operator: Operator
    position: int
    axis: int
    scale: tuple[float, ...] = ()


@dataclass
class Plan:
    recipe: Recipe
    storages: list[Storage] = field(default_factory=list[Storage])
    kept: list[tuple[Operator, str]] = field(default_factory=list[tuple[Operator, str]])
    """Operators with weights that stay float32, each with the reason."""


def plan_weights(model: Model, recipe: Recipe) -> Plan:
    """Decide for every operator with weights. Reads each weight once, to find its range.

    Raises QuantizationError (F462) for weights that the type cannot hold.
    """
    plan = Plan(recipe)
    for graph in model.graphs:
        for operator in graph.operators:
            if operator.op in recipe.operators:
                _plan_operator(plan, operator)
            elif _has_weights(operator):
                plan.kept.append((operator, f"no kernel takes {recipe.weights.name.lower()} weights as fast"))
    return plan


def _has_weights(operator: Operator) -> bool:
    return operator.op in ("DEPTHWISE_CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE")


def _plan_operator(plan: Plan, operator: Operator) -> None:
    position, axis = plan.recipe.operators[operator.op]
    weights = operator.inputs[position] if len(operator.inputs) > position else None
    if weights is None or weights.constant is None or weights.element is not ElementType.FLOAT32:
        return
    if weights.constant.size < plan.recipe.least_elements:
        if _has_weights(operator) or axis >= 0:
            plan.kept.append((operator, f"only {weights.constant.size} weights"))
        return
    values = weights.constant.numpy()
    if not np.isfinite(values).all():
        raise QuantizationError(f"the weights '{weights.name}' hold NaN or infinity", code="F462",
                                remedy="check the checkpoint, or use --precision float32")
    if plan.recipe.weights is ElementType.FLOAT16:
        _check_float16(values, weights)
        plan.storages.append(Storage(operator, position, axis))
    else:
        plan.storages.append(Storage(operator, position, axis, channel_scales(values, axis)))


def _check_float16(values: np.ndarray, weights: Tensor) -> None:
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest > FLOAT16_MAX:
        raise QuantizationError(f"the weights '{weights.name}' reach {largest:.4g}, and float16 ends at 65504",
                                code="F462", remedy="use --precision float32 or dynamic-int8")


def channel_scales(values: np.ndarray, axis: int) -> tuple[float, ...]:
    """Symmetric scales per channel: max |w| / 127, so that -127..127 is used and 0 is exact."""
    others = tuple(a for a in range(values.ndim) if a != axis)
    largest = np.max(np.abs(values), axis=others).astype(np.float64)
    scale = np.where(largest > 0, largest / INT8_MAX, 1.0).astype(np.float32)
    return tuple(float(s) for s in np.maximum(scale, np.finfo(np.float32).tiny))
