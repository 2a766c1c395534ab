"""Indices and booleans, judged on the scores that they were chosen by: a tie may fall either way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fidelite.check.compare import json_number
from fidelite.runtime.protocol import Array


@dataclass(frozen=True, slots=True)
class Scores:
    """The values behind an output of indices (ArgMax, TopK) or booleans (a comparison).

    With `axis`, the output indexes that axis of `values`, and has the same shape elsewhere; the axis itself
    may be missing (ArgMax without keepdims). Without `axis`, `values` has the output's shape and says how
    far each element is from flipping: `a - b` for `a > b`.
    """

    values: Array
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Ties:
    """`differing` of `elements` differ, `beyond` of them by more than a tie.

    `gap` is the largest gap in score between what was expected and what came, `limit` the one allowed.
    """

    elements: int
    differing: int
    beyond: int
    gap: float
    limit: float

    def to_json(self) -> dict[str, Any]:
        return {n: json_number(getattr(self, n)) for n in self.__dataclass_fields__}


def judge_ties(expected: Array, actual: Array, scores: Scores, tie_of_scale: float, floor: float) -> Ties:
    """Whether the elements that differ do so at ties. Both arrays have one shape and type."""
    values = scores.values.astype(np.float64)
    finite = np.abs(values[np.isfinite(values)])
    limit = tie_of_scale * float(np.max(finite, initial=0.0)) + floor
    differs = expected != actual
    if scores.axis is None:
        gaps, lost = np.abs(np.broadcast_to(values, expected.shape)), np.zeros(expected.shape, np.bool_)
    else:
        gaps, lost = _index_gaps(expected, actual, values, scores.axis)
    gaps = np.where(differs, gaps, 0.0)
    beyond = differs & (lost | ~(gaps <= limit))
    return Ties(
        expected.size,
        int(np.count_nonzero(differs)),
        int(np.count_nonzero(beyond)),
        float(np.max(gaps, initial=0.0)),
        limit,
    )


def _index_gaps(
    expected: Array, actual: Array, values: NDArray[np.float64], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The gap between the scores at both indices, and where an index is out of range or comes twice."""
    axis %= values.ndim
    squeezed = expected.ndim == values.ndim - 1
    size = values.shape[axis]
    wanted, given = (
        np.expand_dims(a, axis) if squeezed else a for a in (expected.astype(np.int64), actual.astype(np.int64))
    )
    lost = (given < -size) | (given >= size) | (wanted < -size) | (wanted >= size)
    wanted, given = (np.where(lost, 0, a) % max(size, 1) for a in (wanted, given))
    if wanted.shape[axis] > 1:
        lost |= _repeated(given, axis) & ~_repeated(wanted, axis)
    at_wanted, at_given = (np.take_along_axis(values, a, axis) for a in (wanted, given))
    same = at_wanted == at_given
    with np.errstate(invalid="ignore"):
        gaps = np.where(same, 0.0, np.abs(at_wanted - at_given))
    return (gaps.squeeze(axis), lost.squeeze(axis)) if squeezed else (gaps, lost)


def _repeated(indices: NDArray[np.int64], axis: int) -> NDArray[np.bool_]:
    """Where an index comes more than once along the axis."""
    order = np.argsort(indices, axis=axis, kind="stable")
    ranked = np.take_along_axis(indices, order, axis)
    same = np.diff(ranked, axis=axis) == 0
    edge = np.zeros_like(np.take(ranked, [0], axis), np.bool_)
    again = np.concatenate([edge, same], axis) | np.concatenate([same, edge], axis)
    result = np.zeros_like(again)
    np.put_along_axis(result, order, again, axis)
    return result
