"""Apply a plan to a model: weights become deferred float16 or int8 constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fidelite.quantize.plan import INT8_MAX, Plan, Storage
from fidelite.tflite.constant import Cast, IntShape
from fidelite.tflite.graph import Graph, Model, Operator, Quantization, Tensor
from fidelite.tflite.types import ElementType


@dataclass(frozen=True, slots=True)
class QuantizeChannels:
    """round(w / scale), half to even, clipped to -127..127, per channel of `axis` (TFLite's symmetric scheme)."""

    axis: int
    scale: tuple[float, ...]

    def apply(self, array: np.ndarray) -> np.ndarray:
        shape = [1] * array.ndim
        shape[self.axis] = -1
        steps = np.asarray(self.scale, np.float32).reshape(shape)
        return np.clip(np.rint(array / steps), -INT8_MAX, INT8_MAX).astype(np.int8)

    def result(self, element: ElementType, shape: IntShape) -> tuple[ElementType, IntShape]:
        return ElementType.INT8, shape


def apply_plan(model: Model, plan: Plan) -> int:
    """Change the operands that the plan names; returns how many."""
    made: dict[object, Tensor] = {}
    graph_of = {operator: graph for graph in model.graphs for operator in graph.operators}
    for storage in plan.storages:
        operator = storage.operator
        graph = graph_of[operator]
        weights = operator.inputs[storage.position]
        assert weights is not None
        assert weights.constant is not None
        key = (graph.name, weights.constant.identity, storage.axis, storage.scale, plan.recipe.name)
        if key not in made:
            made[key] = _stored(graph, weights, storage, plan)
        graph.set_inputs(operator, [made[key] if i == storage.position else t for i, t in enumerate(operator.inputs)])
        if plan.recipe.name == "dynamic-int8" and operator.op == "FULLY_CONNECTED":
            operator.options["asymmetricQuantizeInputs"] = True
    for graph in model.graphs:
        graph.sort()
    return len(plan.storages)


def _stored(graph: Graph, weights: Tensor, storage: Storage, plan: Plan) -> Tensor:
    assert weights.constant is not None
    facts: Quantization | None = None
    if plan.recipe.weights is ElementType.INT8:
        constant = weights.constant.then(QuantizeChannels(storage.axis, storage.scale))
        facts = Quantization(storage.scale, (0,) * len(storage.scale), storage.axis)
    else:
        constant = weights.constant.then(Cast(plan.recipe.weights))
    if not plan.recipe.dequantize:
        return Tensor(weights.name, constant.element, constant.shape, constant=constant, quantization=facts)
    half = Tensor(f"{weights.name}/{plan.recipe.name}", constant.element, constant.shape, constant=constant,
                  quantization=facts)
    full = Tensor(weights.name, weights.element, weights.shape)
    graph.append(Operator("DEQUANTIZE", [half], [full], nodes=storage.operator.nodes, made_by="quantize"))
    return full
