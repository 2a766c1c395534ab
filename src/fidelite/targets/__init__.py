"""Targets: what each place that a model goes to takes, as tables with their sources.

A target is a file here with a `PROFILE`, and a row in `HOMES`. Nothing of it is loaded before it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from fidelite.errors import UsageError
from fidelite.options import TARGETS
from fidelite.targets.profile import Finding, Profile, Rule

__all__ = ["HOMES", "Finding", "Profile", "Rule", "available", "profile_of"]

# Target -> the module with its PROFILE.
HOMES: Mapping[str, str] = {
    "cpu": "fidelite.targets.cpu",
    "web": "fidelite.targets.web",
    "mediapipe": "fidelite.targets.mediapipe",
    "micro": "fidelite.targets.micro",
    "gpu": "fidelite.targets.gpu",
}


def available() -> tuple[str, ...]:
    """The targets that this version has, in the order of `options.Target`."""
    return tuple(name for name in TARGETS if name in HOMES)


def profile_of(target: str) -> Profile:
    """The profile of a target. Raises UsageError: F205 for an unknown name, F216 for one that is not there yet."""
    if target not in TARGETS:
        raise UsageError(f"'{target}' is no target", code="F205", remedy=f"one of: {', '.join(TARGETS)}")
    if target not in HOMES:
        raise UsageError(f"the target {target} is not available in this version", code="F216",
                         remedy=f"choose one of: {', '.join(available())}")
    found = importlib.import_module(HOMES[target]).PROFILE
    assert isinstance(found, Profile)
    return found
