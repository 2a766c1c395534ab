"""Drop operators whose results nobody reads, and graphs that nobody calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fidelite.optimize.passes import Log
from fidelite.tflite.graph import Model, with_called
from fidelite.tflite.ops import OPS


@dataclass(frozen=True)
class DropDeadOperators:
    """Walk backwards, so that one walk takes whole chains."""

    name: ClassVar[str] = "drop dead operators"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            for operator in reversed(graph.operators):
                if OPS[operator.op].stateful or any(t.users or t in outputs for t in operator.outputs):
                    continue
                graph.remove(operator)
                count += 1
        if count:
            _drop_uncalled(model)
        return count


def _drop_uncalled(model: Model) -> None:
    """Forget graphs that no operator calls any more."""
    called = set(with_called(model.main, *(s.graph for s in model.signatures)))
    model.graphs[:] = [graph for graph in model.graphs if graph in called]
