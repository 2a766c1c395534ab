"""Sizes to write into a file for dimensions that only the run time knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import lcm

from fidelite.tflite.dims import Counted, Dim, Opaque, Shape, SymbolicDim, evaluate, symbols

_DIVIDED, _LARGEST, _MOST_DOUBLINGS = 64, 1024, 8


def placeholders(shapes: Iterable[Shape], equations: Iterable[tuple[Dim, Dim]] = ()) -> dict[str, int]:
    """A size for each symbol at which all `shapes` make sense together, the least that is found.

    LiteRT plans a model when it loads it, at the sizes written in the file, and refuses windows that do not fit.
    What a stride divides gets a power of two, so that halves and doubles of it still match, and a multiple of what
    else divides it (SPACE_TO_DEPTH by 3). `equations` are pairs of dimensions that the model takes to be equal;
    each is solved for one of its symbols.
    """
    dims = {d for shape in shapes for d in shape if isinstance(d, SymbolicDim)}
    values = dict.fromkeys(sorted(symbols(dims)), 1)
    divided = [atom for d in dims for atom in d.atoms() if isinstance(atom, Opaque) and atom.kind == "floordiv"]
    size = lcm(_DIVIDED, *(atom.right for atom in divided if isinstance(atom.right, int) and atom.right > 0))
    values |= dict.fromkeys(sorted(symbols(atom.left for atom in divided)), size if size <= _LARGEST else _DIVIDED)
    for left, right in equations:
        values |= _solution(left - right, values)
    for _ in range(_MOST_DOUBLINGS):
        small = [d for d in dims if not _positive(d, values)]
        if not small:
            break
        for name in symbols(small):
            values[name] *= 2
    return values


def _solution(dim: Dim, values: Mapping[str, int]) -> dict[str, int]:
    """Another value for one symbol, at which `dim` is 0 with the others as they are; empty if that is needless, or
    not to be had."""
    if _value(dim, values) in (0, None):
        return {}
    names = sorted(symbols([dim]), key=lambda name: (name in _inputs_of(dim), name))
    for name in names:
        at = [_value(dim, {**values, name: size}) for size in (1, 2)]
        if at[0] is None or at[1] is None or at[0] == at[1]:
            continue
        size = 1 - at[0] // (at[1] - at[0])
        if size > 0 and _value(dim, {**values, name: size}) == 0:
            return {name: size}
    return {}


def _inputs_of(dim: Dim) -> set[str]:
    """The symbols that are not merely counted, so that the others are solved for first."""
    return {name for name in symbols([dim]) if not isinstance(name, Counted)}


def _value(dim: Dim, values: Mapping[str, int]) -> int | None:
    try:
        return evaluate(dim, values)
    except ZeroDivisionError:
        return None


def _positive(dim: Dim, values: Mapping[str, int]) -> bool:
    value = _value(dim, values)
    return value is not None and value > 0
