"""The proof of a model that came quantized: the whole, and each step on the source's own values.

Rounding goes either way at a half, so that two right runtimes part by a step here and there, and a network carries
that on. Each step alone must give the source's own integers to within one step of their grid.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fidelite.check.bisect import Bisection, steps_of, tensor_bytes
from fidelite.check.proof import Proof
from fidelite.check.verdict import Verification
from fidelite.tflite.graph import Model

if TYPE_CHECKING:
    import onnx_ir

MANY_BYTES = 256 << 20
"""Of the source's values: beyond that one sample is taken, else all."""


def source_values(source: onnx_ir.Model) -> set[str]:
    """The names of the values that the source can be asked for."""
    names = {v.name for node in source.graph for v in node.outputs} | {v.name for v in source.graph.inputs}
    return {name for name in names if name}


def with_steps(found: Verification, proof: Proof, model: Model) -> Verification:
    """`found`, and what the steps show: one that differs is a problem of the whole. `model` has origins."""
    source: Path | bytes = proof.source
    known = source_values(proof.model)
    steps = steps_of(model.main, known)
    size = sum(tensor_bytes(t) for step in steps for t in (step.target, *step.feeds))
    samples = proof.first_samples()
    bisection = Bisection(model, source, proof.edge, known, proof.precision)
    for sample in samples if size <= MANY_BYTES else samples[:1]:
        divergence = bisection.run(sample)
        if divergence is not None:
            return replace(found, problems=(*found.problems, str(divergence)))
    return found
