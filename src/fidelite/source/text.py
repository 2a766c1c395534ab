"""How sizes, paths and lists of names are written in messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import PurePath

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./\\:+=@,%")


def quoted(argument: str | PurePath) -> str:
    """`argument` as it can be pasted into a shell: in double quotes, which all shells know, where needed."""
    text = str(argument)
    return text if text and all(c in _PLAIN or ord(c) > 127 for c in text) else f'"{text}"'


def size_text(count: int) -> str:
    """Bytes for people, with two significant digits or whole megabytes: `0.11 MB`, `1.5 MB`, `53 MB`."""
    if count < 1000:
        return f"{count} bytes"
    if count < 10_000:
        return f"{count / 1e3:.1f} KB"
    if count < 100_000:
        return f"{count / 1e3:.0f} KB"
    if count < 1_000_000:
        return f"{count / 1e6:.2f} MB"
    if count < 10_000_000:
        return f"{count / 1e6:.1f} MB"
    if count < 10_000_000_000:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.1f} GB"


def some(names: Sequence[str], limit: int = 4) -> str:
    """The first few of `names`, quoted, and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    rest = len(names) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Those of `known` that `name` was most likely meant to be, best first."""
    choices = list(known)
    found = difflib.get_close_matches(name, choices, n=limit, cutoff=0.5)
    if found:
        return found
    folded = name.casefold()
    return [c for c in choices if folded and (folded in c.casefold() or c.casefold() in folded)][:limit]


def plural(count: int, noun: str) -> str:
    """`1 tensor`, `2 tensors`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
