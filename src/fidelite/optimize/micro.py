"""Exact rewrites for TensorFlow Lite Micro."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fidelite.optimize.approximate import gelu_by_tanh
from fidelite.optimize.passes import Log
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model
from fidelite.tflite.types import ElementType


@dataclass(frozen=True)
class WriteOutGelu:
    """A GELU that is stated in its tanh form (ONNX's `approximate="tanh"`) as the MUL, ADD and TANH that it is."""

    name: ClassVar[str] = "write out gelu"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            b = Builder(graph)
            b.made_by = self.name
            for operator in graph.operators:
                x = operator.inputs[0] if operator.inputs else None
                if operator.op != "GELU" or x is None or x.element is not ElementType.FLOAT32 or x.quantization:
                    continue
                if not operator.options.get("approximate"):
                    log.refuse(self.name, "the exact GELU is no tanh: --approximate gelu-tanh takes it for one")
                    continue
                b.nodes = operator.nodes
                result = operator.outputs[0]
                graph.remove(operator)
                made = gelu_by_tanh(b, x).producer
                assert made is not None
                graph.set_outputs(made, [result])
                count += 1
        return count
