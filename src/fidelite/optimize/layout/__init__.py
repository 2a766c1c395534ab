"""Where tensors live: one decision for the whole graph about the order of every value's axes.

`rules` says how operators commute with a permutation, `problem` what a choice costs, `decide` chooses, `apply`
rewrites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fidelite.optimize.layout.apply import apply
from fidelite.optimize.layout.decide import decide
from fidelite.optimize.layout.problem import build
from fidelite.optimize.passes import Log
from fidelite.tflite.graph import Model


@dataclass(frozen=True)
class ChooseLayout:
    """Place the TRANSPOSEs of a graph where they cost least."""

    name: ClassVar[str] = "layout"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            before = _transposes(graph.operators)
            problem = build(graph)
            if not problem.views:
                continue
            labels = decide(problem)
            apply(problem, labels)
            graph.sort()  # also where nothing is gained: the TRANSPOSEs that stay were made anew
            after = _transposes(graph.operators)
            if before != after or any(label != tuple(range(len(label))) for label in labels.values()):
                count += 1
        return count


def _transposes(operators: object) -> int:
    return sum(1 for o in operators if o.op == "TRANSPOSE")  # type: ignore[attr-defined]
