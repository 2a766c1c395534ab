"""How numbers are written for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./\\:+=@,%")


def size(count: int | None) -> str:
    """Bytes in decimal units with three significant digits: `0.114 MB`, `13.4 MB`, `116 MB`."""
    if count is None:
        return "?"
    if count < 1000:
        return f"{count} bytes"
    for factor, unit in ((1e3, "KB"), (1e6, "MB"), (1e9, "GB")):
        value = count / factor
        if value < 9.995:
            return f"{value:.2f} {unit}"
        if value < 99.95:
            return f"{value:.1f} {unit}"
        if value < 999.5:
            return f"{value:.0f} {unit}"
    return f"{count / 1e12:.1f} TB"


def amount(count: int | None) -> str:
    """A large number in words of three digits: `13.3 million`, `1.2 billion`."""
    if count is None:
        return "?"
    for factor, word in ((1e9, "billion"), (1e6, "million")):
        if count >= factor:
            return f"{count / factor:.3g} {word}"
    return f"{count:,}"


def seconds(value: float | None) -> str:
    """A duration: `0.8 ms`, `12 ms`, `1.25 s`, `2 min 5 s`."""
    if value is None:
        return "?"
    if value < 0.00995:
        return f"{value * 1e3:.2g} ms"
    if value < 0.9995:
        return f"{value * 1e3:.0f} ms"
    if value < 100:
        return f"{value:.3g} s"
    return f"{int(value) // 60} min {int(value) % 60} s"


def milliseconds(value: float) -> str:
    """A latency with three significant digits."""
    if value < 1e-4:
        return f"{value * 1e6:.3g} us"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value * 1e3:.0f} ms"


def number(value: float | str | None) -> str:
    """A measured figure: `3.6e-06`, `0.9987`; what JSON cannot hold comes as a word."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    return f"{value:.2e}" if abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:.4g}"


def share(value: float | str | None) -> str:
    """A share as per cent. Only 1 is written as 100 %."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if value == 1:
        return "100 %"
    if 0 < value < 5e-5:
        return "< 0.01 %"
    return f"{math.floor(value * 1e5) / 1e3:.3f} %" if value > 0.999 else f"{value * 100:.2f} %"


def shape(dims: Sequence[Any] | None) -> str:
    """`[1, 3, 512, 512]`; `?` for a dimension that is free and nameless."""
    if dims is None:
        return "(any)"
    return "[" + ", ".join("?" if d is None else str(d) for d in dims) + "]"


def count(number_: int, noun: str) -> str:
    """`1 tensor`, `2 tensors`."""
    return f"{number_:,} {noun}" if number_ == 1 else f"{number_:,} {noun}s"


def quoted(argument: str | PurePath) -> str:
    """An argument as it can be pasted into a shell: in double quotes where needed."""
    text = str(argument)
    return text if text and all(c in _PLAIN or ord(c) > 127 for c in text) else f'"{text}"'
