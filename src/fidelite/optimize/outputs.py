"""Keep values out of LiteRT's blind spots, so that they arrive in buffers that the caller has bound.

The Interpreter hands out whatever tensor it has. The CompiledModel API (LiteRT.js, Android, Python) binds a buffer to
each output before it runs, and two forms leave that buffer as it was, with whatever lay in it (LiteRT 2.3.0, by
experiment): what a RESHAPE to rank 0 makes, for its operand of new dimensions has no bytes, which makes the result
dynamic; and what a RESHAPE makes of a constant, for that is computed once when the model is prepared.
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
    """A RESHAPE to rank 0 becomes a SQUEEZE; a constant that is an output goes through a MAXIMUM with itself."""

    name: ClassVar[str] = "fill outputs"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            for operator in [o for o in graph.operators if o.op == "RESHAPE"]:
                count += _fill(graph, operator, graph is model.main)
        return count


def _fill(graph: Graph, operator: Operator, outermost: bool) -> bool:
    source, result = operator.inputs[0], operator.outputs[0]
    assert source is not None
    if source.is_constant:
        name = _ITSELF.get(source.element)
        if not outermost or not graph.is_output(result) or name is None or source.shape != result.shape:
            return False
        return _become(graph, operator, name, [source, source])
    if result.rank == 0 and source.rank > 0 and all(d == 1 for d in source.shape):
        return _become(graph, operator, "SQUEEZE", [source])
    return False


def _become(graph: Graph, operator: Operator, op: str, inputs: Sequence[Tensor]) -> bool:
    operator.op, operator.options = op, {}
    graph.set_inputs(operator, inputs)
    return True
