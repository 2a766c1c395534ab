"""Does the result compute what the source computes? Inputs to ask with, comparison, and the verdict.

Importing this package loads nothing: each name is fetched from its module when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fidelite.check.compare import Figures as Figures
    from fidelite.check.compare import OutputComparison as OutputComparison
    from fidelite.check.compare import compare_arrays as compare_arrays
    from fidelite.check.inputs import InputHint as InputHint
    from fidelite.check.inputs import make_inputs as make_inputs
    from fidelite.check.samples import load_samples as load_samples
    from fidelite.check.tolerance import Tolerance as Tolerance
    from fidelite.check.verdict import Bound as Bound
    from fidelite.check.verdict import OutputVerdict as OutputVerdict
    from fidelite.check.verdict import Verification as Verification
    from fidelite.check.verify import Scores as Scores
    from fidelite.check.verify import verify_sessions as verify_sessions

_HOMES = {
    "Bound": "verdict",
    "Figures": "compare",
    "InputHint": "inputs",
    "OutputComparison": "compare",
    "OutputVerdict": "verdict",
    "Scores": "verify",
    "Tolerance": "tolerance",
    "Verification": "verdict",
    "compare_arrays": "compare",
    "load_samples": "samples",
    "make_inputs": "inputs",
    "verify_sessions": "verify",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
