"""LiteRT on a CPU: whatever fidelite writes runs there, for LiteRT itself is what proves it."""

from __future__ import annotations

from fidelite.targets.profile import Finding, Profile, Rule
from fidelite.tflite.graph import Model

BUILTIN = Rule(
    "builtin-operators", "operators of LiteRT's builtin resolver only: no custom operators, no TensorFlow operators",
    "tflite/core/kernels/register.cc of LiteRT",
)


def check(model: Model) -> list[Finding]:
    """Nothing to say: the graph in memory has builtin operators only, and the proof runs it."""
    return []


PROFILE = Profile(
    name="cpu",
    title="LiteRT on a CPU (XNNPACK)",
    rules=(BUILTIN,),
    check=check,
    run_here="run here: every proof runs the file in LiteRT",
)
