"""Keep values out of LiteRT's blind spots, so that they arrive in buffers that the caller has bound.

The Interpreter hands out whatever tensor it has. The CompiledModel API (LiteRT.js, Android, Python) binds a buffer to
each output before it runs, and two forms leave that buffer as it was, with whatever lay in it (LiteRT 2.3.0, by
experiment): what a RESHAPE to rank 0 makes, for its operand of new dimensions has no bytes, which makes the result
dynamic; and what RESHAPE, CONCATENATION and others make of constants alone, for they compute that once, when the model
is prepared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fidelite.optimize.passes import Log
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.types import ElementType

# What gives a value itself, of itself twice, and is evaluated each time: by element type.
_ITSELF = {ElementType.BOOL: "LOGICAL_OR"} | dict.fromkeys(
    (ElementType.FLOAT32, ElementType.INT8, ElementType.UINT8, ElementType.INT16, ElementType.INT32,
     ElementType.INT64), "MAXIMUM")


@dataclass(frozen=True)
class FillOutputs:
    """A RESHAPE to rank 0 becomes a SQUEEZE; an output that constants alone make goes through a MAXIMUM with itself."""

    name: ClassVar[str] = "fill outputs"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            for operator in [o for o in graph.operators if o.op == "RESHAPE"]:
                count += _squeeze(graph, operator)
        for result in model.main.outputs:
            count += _evaluate(model.main, result)
        model.main.sort()
        return count


def _squeeze(graph: Graph, operator: Operator) -> bool:
    source, result = operator.inputs[0], operator.outputs[0]
    assert source is not None
    if source.is_constant or result.rank or not source.rank or any(d != 1 for d in source.shape):
        return False
    return _become(graph, operator, "SQUEEZE", [source])


def _evaluate(graph: Graph, result: Tensor) -> bool:
    """Let an operator that LiteRT runs each time make an output that would be computed while it prepares."""
    maker, name = result.producer, _ITSELF.get(result.element)
    if maker is None or name is None or maker.op == name or not all(t is None or t.is_constant for t in maker.inputs):
        return False
    source = maker.inputs[0] if maker.inputs else None
    if maker.op == "RESHAPE" and source is not None and source.shape == result.shape:
        return _become(graph, maker, name, [source, source])
    inner = Tensor(f"{result.name}/constant", result.element, result.shape, quantization=result.quantization)
    graph.set_outputs(maker, [inner if t is result else t for t in maker.outputs])
    graph.append(Operator(name, [inner, inner], [result], nodes=maker.nodes, made_by=FillOutputs.name))
    return True


def _become(graph: Graph, operator: Operator, op: str, inputs: Sequence[Tensor]) -> bool:
    operator.op, operator.options = op, {}
    graph.set_inputs(operator, inputs)
    return True
