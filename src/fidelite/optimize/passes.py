"""What a pass is, and the runner that applies them: verified after each, with a record of what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from fidelite.errors import InternalError
from fidelite.tflite.graph import Model, Operator, Tensor
from fidelite.tflite.verifier import check_model

MAX_ROUNDS = 8


class Pass(Protocol):
    """A rewrite of a model. Passes are frozen dataclasses whose fields are their options."""

    name: ClassVar[str]

    def run(self, model: Model, log: Log) -> int:
        """Rewrite `model` in place; returns how many places changed."""
        ...


@dataclass
class Log:
    """What passes did, and, where asked for, why they did not."""

    changes: dict[str, int] = field(default_factory=dict[str, int])
    refusals: list[str] = field(default_factory=list[str])
    explain: bool = False

    def refuse(self, name: str, reason: str) -> None:
        """Note why `name` left a place alone (shown by --explain)."""
        if self.explain:
            self.refusals.append(f"{name}: {reason}")


def run_passes(model: Model, passes: Sequence[Pass], log: Log | None = None) -> Log:
    """Run `passes` in order, and all again until nothing changes. Raises InternalError if they do not settle."""
    log = log or Log()
    for _ in range(MAX_ROUNDS):
        changed = 0
        for one in passes:
            count = one.run(model, log)
            if count:
                for graph in model.graphs:
                    graph.sort()
                check_model(model, after=one.name)
                log.changes[one.name] = log.changes.get(one.name, 0) + count
                changed += count
        if not changed:
            return log
    raise InternalError(f"the passes {[p.name for p in passes]} change the model for ever")


def only_user(tensor: Tensor, outputs: set[Tensor]) -> Operator | None:
    """The one operator that reads `tensor`; None where there are several, or it is an output of the graph."""
    return next(iter(tensor.users)) if len(tensor.users) == 1 and tensor not in outputs else None
