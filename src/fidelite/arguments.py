"""Keyword arguments and command-line words to checked options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fidelite.errors import UsageError
from fidelite.options import PRECISIONS, ConvertOptions
from fidelite.targets import profile_of


def checked_options(arguments: Mapping[str, Any]) -> ConvertOptions:
    """ConvertOptions from keyword arguments. Raises UsageError for unknown names and values."""
    known = {f.name for f in fields(ConvertOptions)}
    if unknown := sorted(set(arguments) - known):
        raise UsageError(f"there is no option '{unknown[0]}'", code="F205",
                         remedy=f"options: {', '.join(sorted(known))}")
    values = dict(arguments)
    if (precision := values.get("precision", "float32")) not in PRECISIONS:
        raise UsageError(f"'{precision}' is no precision", code="F205", remedy=f"one of: {', '.join(PRECISIONS)}")
    profile_of(values.get("target", "cpu"))
    if values.get("approximate"):
        raise UsageError("no approximation is offered in this version", code="F216", remedy="leave --approximate out")
    for name in ("outputs", "argmax"):
        if name in values:
            values[name] = (values[name],) if isinstance(values[name], str) else tuple(values[name])
    if "shapes" in values:
        values["shapes"] = {name: tuple(shape) for name, shape in dict(values["shapes"]).items()}
    for name in ("weights", "samples"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    return ConvertOptions(**values)
