"""Keyword arguments and command-line words to checked options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fidelite.errors import UsageError
from fidelite.options import ConvertOptions


def checked_options(arguments: Mapping[str, Any]) -> ConvertOptions:
    """ConvertOptions from keyword arguments. Raises UsageError for unknown names and values."""
    known = {f.name for f in fields(ConvertOptions)}
    if unknown := sorted(set(arguments) - known):
        raise UsageError(f"there is no option '{unknown[0]}'", code="F205", remedy=f"options: {', '.join(sorted(known))}")
    values = dict(arguments)
    for name in ("weights", "samples"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    return ConvertOptions(**values)
