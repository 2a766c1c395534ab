"""Permutations of axes. `p` as a label of a tensor means: it is stored as `tensor.transpose(p)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fidelite.tflite.dims import Dim

Permutation = tuple[int, ...]


def identity(rank: int) -> Permutation:
    return tuple(range(rank))


def is_identity(p: Permutation) -> bool:
    return p == tuple(range(len(p)))


def compose(first: Permutation, second: Permutation) -> Permutation:
    """`x.transpose(first).transpose(second) == x.transpose(compose(first, second))`."""
    return tuple(first[axis] for axis in second)


def inverse(p: Permutation) -> Permutation:
    result = [0] * len(p)
    for position, axis in enumerate(p):
        result[axis] = position
    return tuple(result)


def restrict(p: Permutation, axes: Iterable[int]) -> Permutation:
    """The order that `p` gives to `axes` alone, with `axes` renumbered 0.. in their own order."""
    number = {axis: i for i, axis in enumerate(sorted(axes))}
    return tuple(number[axis] for axis in p if axis in number)


def moved_axes(p: Permutation, shape: Sequence[Dim]) -> Permutation:
    """The axes that are not of unit size, in `p`'s order: equal for permutations that store the same bytes."""
    return tuple(axis for axis in p if shape[axis] != 1)


def same_bytes(p: Permutation, q: Permutation, shape: Sequence[Dim]) -> bool:
    """Whether labels `p` and `q` store a tensor of `shape` in the same order (up to unit dimensions)."""
    return p == q or moved_axes(p, shape) == moved_axes(q, shape)
