"""Passes over the TFLite graph: layout, views, fusion, sharing, dead code. They know traits, never models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fidelite.optimize.passes import Log, Pass, run_passes

if TYPE_CHECKING:
    from fidelite.tflite.graph import Model

__all__ = ["Log", "Pass", "optimize", "run_passes", "tidy"]


def optimize(model: Model, *, explain: bool = False, target: str = "cpu") -> Log:
    """Run the standard passes, and those of the target, on `model` in place; returns what they did."""
    from fidelite.optimize.standard import STANDARD, TARGETED
    from fidelite.tflite.verifier import check_memory

    log = Log(explain=explain)
    for group in (*STANDARD, *TARGETED.get(target, ())):
        run_passes(model, group, log)
    check_memory(model)
    return log


def tidy(model: Model, log: Log) -> None:
    """What must be done again after later changes: equal operators shared, dead ones dropped, values kept."""
    from fidelite.optimize.standard import TIDY
    from fidelite.tflite.verifier import check_memory, check_model

    check_model(model, after="the last change")
    for group in TIDY:
        run_passes(model, group, log)
    check_memory(model)
