"""Passes over the TFLite graph: layout, views, fusion, sharing, dead code. They know traits, never models."""

from __future__ import annotations

from fidelite.optimize.passes import Log, Pass, run_passes

__all__ = ["Log", "Pass", "optimize", "run_passes"]


def optimize(model: object, *, explain: bool = False, target: str = "cpu") -> Log:
    """Run the standard passes, and those of the target, on `model` in place; returns what they did."""
    from fidelite.optimize.standard import STANDARD, TARGETED
    from fidelite.tflite.graph import Model
    from fidelite.tflite.verifier import check_memory

    assert isinstance(model, Model)
    log = Log(explain=explain)
    for group in (*STANDARD, *TARGETED.get(target, ())):
        run_passes(model, group, log)
    check_memory(model)
    return log
