"""Keep values from being overwritten while they are still needed (see `tflite.memory` for LiteRT's fault).

A view of a view is made from the tensor that owns the memory, whose readers LiteRT does count; where arithmetic lies
between, the view gets a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fidelite.optimize.passes import Log
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Graph, Model, Tensor
from fidelite.tflite.memory import Overwrite, overwrites

_SHAPING = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE"})


@dataclass(frozen=True)
class KeepValues:
    """Break the sharing between each value that may be overwritten and the view of it."""

    name: ClassVar[str] = "keep values"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            while found := overwrites(graph):
                _break(graph, found[0])
                graph.sort()
                count += 1
        return count


def _break(graph: Graph, found: Overwrite) -> None:
    view = found.view
    source = found.owner if view.op == "RESHAPE" and _only_reshaped(found.victim, found.owner) else None
    if source is None:
        b = Builder(graph)
        b.nodes, b.made_by = view.nodes, KeepValues.name
        zeros = b.int32([0] * found.victim.rank)
        whole = b.int32([-1] * found.victim.rank)
        source = b.one("SLICE", [found.victim, zeros, whole], found.victim.element, found.victim.shape)
    graph.set_inputs(view, [source, *view.inputs[1:]])


def _only_reshaped(tensor: Tensor, owner: Tensor) -> bool:
    """Whether `tensor` is `owner` in another shape, and nothing else."""
    while tensor is not owner:
        maker = tensor.producer
        if maker is None or maker.op not in _SHAPING or maker.inputs[0] is None:
            return False
        tensor = maker.inputs[0]
    return True
