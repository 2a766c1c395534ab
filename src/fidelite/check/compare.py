"""Two arrays side by side: shape and type first, then how far the values lie apart."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fidelite.errors import InternalError
from fidelite.runtime.protocol import Array

_BLOCK = 1 << 16
_MOST_PLANES = 256


@dataclass(frozen=True, slots=True)
class Figures:
    """How far `actual` lies from `expected`, over the elements that are finite in both. Never a placeholder.

    `max_abs`: the largest |actual - expected|. `max_rel`: the largest |actual - expected| / max(|expected|,
    rms of expected), so that values near zero do not blow it up. `rms`: the root of the mean squared error.
    `cosine`: of the angle between both, taken as vectors; 1 where both are all zero, 0 where one is.
    `sqnr_db`: 10 log10 of the energy of expected over that of the error. `scale`: the largest |expected|.
    `differing`: elements that are not equal, `nonfinite`: those that are the same NaN or infinity in both.
    `argmax_agreement`: the share of places where the largest value along the class axis is at the same
    index; None without a class axis. A complex number counts as two elements.
    """

    elements: int
    max_abs: float
    max_rel: float
    rms: float
    cosine: float
    sqnr_db: float
    scale: float
    expected_rms: float
    actual_rms: float
    differing: int
    nonfinite: int
    argmax_agreement: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {n: json_number(getattr(self, n)) for n in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """What comparing two arrays found.

    `problem` says in a clause why they cannot agree: shape, type, or where NaN and infinities are. `figures`
    is None where there was nothing to measure: another shape or type, or no finite element.
    """

    expected_dtype: str
    actual_dtype: str
    expected_shape: tuple[int, ...]
    actual_shape: tuple[int, ...]
    problem: str = ""
    figures: Figures | None = None

    def measured(self) -> Figures:
        """The figures. Raises `InternalError` where there are none: what was not measured is never 0."""
        if self.figures is None:
            raise InternalError(f"no figures were measured: {self.problem or 'no finite element'}")
        return self.figures

    def to_json(self) -> dict[str, Any]:
        return {
            "expected": {"dtype": self.expected_dtype, "shape": list(self.expected_shape)},
            "actual": {"dtype": self.actual_dtype, "shape": list(self.actual_shape)},
            "problem": self.problem,
            "figures": None if self.figures is None else self.figures.to_json(),
        }


def compare_arrays(expected: Array, actual: Array, *, class_axis: int | None = None) -> OutputComparison:
    """Compare two arrays. `class_axis` is where class scores lie, for the agreement of their argmax."""
    about = (expected.dtype.name, actual.dtype.name, expected.shape, actual.shape)
    if expected.shape != actual.shape:
        return OutputComparison(*about, f"its shape is {_shape(actual)} instead of {_shape(expected)}")
    if expected.dtype != actual.dtype:
        return OutputComparison(*about, f"its type is {actual.dtype.name} instead of {expected.dtype.name}")
    if expected.dtype.kind in "OSU":
        return OutputComparison(*about, "it holds text, which is not compared")
    finite = _all_finite(expected) and _all_finite(actual)
    problem = "" if finite else _nonfinite_problem(expected, actual)
    figures = _measure(expected, actual, finite=finite)
    if figures is not None and class_axis is not None and expected.size:
        agreement = float(np.mean(_argmax(expected, class_axis) == _argmax(actual, class_axis)))
        figures = _with_agreement(figures, agreement)
    return OutputComparison(*about, problem, figures)


def combine(parts: Sequence[Figures]) -> Figures:
    """The figures of several comparisons as those of one. `max_rel` is the largest, the argmax a mean."""
    count = sum(p.elements for p in parts)
    error = sum(p.elements * p.rms**2 for p in parts)
    wanted = sum(p.elements * p.expected_rms**2 for p in parts)
    given = sum(p.elements * p.actual_rms**2 for p in parts)
    dot = sum(p.elements * p.cosine * p.expected_rms * p.actual_rms for p in parts)
    agreements = [p.argmax_agreement for p in parts if p.argmax_agreement is not None]
    return Figures(
        count,
        _largest(p.max_abs for p in parts),
        _largest(p.max_rel for p in parts),
        math.sqrt(error / count),
        _cosine(dot, wanted, given),
        _decibels(wanted, error),
        _largest(p.scale for p in parts),
        math.sqrt(wanted / count),
        math.sqrt(given / count),
        sum(p.differing for p in parts),
        sum(p.nonfinite for p in parts),
        sum(agreements) / len(agreements) if agreements else None,
    )


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether values of that type are compared by distance: floats of any width, and complex numbers."""
    return dtype.name.startswith(("float", "bfloat", "complex"))


def blocks(*arrays: Array) -> Iterator[tuple[NDArray[np.float64], ...]]:
    """Pieces of arrays of one shape and type, as float64, so that no large copies are made."""
    flat = [a.reshape(-1) for a in arrays]
    for start in range(0, flat[0].size, _BLOCK):
        yield tuple(_as_float64(f[start : start + _BLOCK]) for f in flat)


def json_number(value: float | int | None) -> float | int | str | None:
    """JSON knows no infinity and no NaN: those become text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _as_float64(piece: Array) -> NDArray[np.float64]:
    if piece.dtype.kind == "c":
        return piece.astype(np.complex128).view(np.float64)
    return piece.astype(np.float64)


def _all_finite(array: Array) -> bool:
    return not is_float(array.dtype) or bool(np.isfinite(array).all())


@np.errstate(over="ignore", invalid="ignore")
def _measure(expected: Array, actual: Array, *, finite: bool) -> Figures | None:
    """None where no element is finite in both. `finite` says that all are, which saves looking."""
    count, nonfinite, scale, largest = 0, 0, 0.0, 0.0
    wanted, given, error, dot = 0.0, 0.0, 0.0, 0.0
    gaps: list[float] = []
    for e, a in blocks(expected, actual):
        if not finite:
            both = np.isfinite(e) & np.isfinite(a)
            nonfinite += int(np.count_nonzero(~both & ((e == a) | (np.isnan(e) & np.isnan(a)))))
            e, a = e[both], a[both]
        gap = a - e
        count += e.size
        scale = max(scale, float(np.max(np.abs(e), initial=0.0)))
        gaps.append(float(np.max(np.abs(gap), initial=0.0)))
        wanted, given = wanted + _dot(e, e), given + _dot(a, a)
        error, dot = error + _dot(gap, gap), dot + _dot(e, a)
    if not count:
        return None
    largest = max(gaps)
    differing = int(np.count_nonzero(expected != actual)) - (0 if finite else _shared_nans(expected, actual))
    if differing and not is_float(expected.dtype):
        largest = max(largest, 1.0)  # int64 beyond 2^53: the difference may vanish in float64
    mean = math.sqrt(wanted / count)
    return Figures(
        count,
        largest,
        _relative(expected, actual, mean, gaps) if error else 0.0,
        math.sqrt(error / count),
        _cosine(dot, wanted, given),
        _decibels(wanted, error),
        scale,
        mean,
        math.sqrt(given / count),
        differing,
        nonfinite,
    )


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Without BLAS, whose threads cost more than they bring, and may add in another order each time."""
    return float(np.einsum("i,i->", a, b))


def _relative(expected: Array, actual: Array, mean: float, gaps: Sequence[float]) -> float:
    """The largest error relative to the expected value, or to the mean where that is larger.

    `gaps` has the largest error of each block: no block can reach more than that over the mean, so that most need not
    be looked at again.
    """
    if mean == 0:
        return math.inf
    largest = 0.0
    flat = expected.reshape(-1), actual.reshape(-1)
    for number in sorted(range(len(gaps)), key=lambda i: -gaps[i]):
        if gaps[number] / mean <= largest:
            break
        piece = slice(number * _BLOCK, (number + 1) * _BLOCK)
        e, a = (_as_float64(f[piece]) for f in flat)
        part = np.abs(a - e) / np.maximum(np.abs(e), mean)
        largest = max(largest, float(np.max(part, where=np.isfinite(part), initial=0.0)))
    return largest


def _shared_nans(expected: Array, actual: Array) -> int:
    if not is_float(expected.dtype):
        return 0
    return int(np.count_nonzero(np.isnan(expected) & np.isnan(actual)))


def _nonfinite_problem(expected: Array, actual: Array) -> str:
    """A clause on NaN and infinities that are in one array and not in the other; '' if there are none."""
    missing, extra, other = 0, 0, 0
    for e, a in blocks(expected, actual):
        e_fine, a_fine = np.isfinite(e), np.isfinite(a)
        missing += int(np.count_nonzero(~e_fine & a_fine))
        extra += int(np.count_nonzero(e_fine & ~a_fine))
        other += int(np.count_nonzero(~e_fine & ~a_fine & (e != a) & ~(np.isnan(e) & np.isnan(a))))
    if extra:
        return f"{extra} of {expected.size} values are NaN or infinite where a number is expected"
    if missing:
        return f"{missing} of {expected.size} values are numbers where NaN or infinity is expected"
    return f"{other} of {expected.size} values are another NaN or infinity" if other else ""


def _argmax(array: Array, axis: int) -> NDArray[np.intp]:
    """The first index of the largest value along `axis` (NaN never wins), plane by plane: numpy's argmax along an axis
    that is not the last takes several times as long."""
    planes = np.moveaxis(array if array.dtype.isbuiltin == 1 else array.astype(np.float32), axis, 0)
    if len(planes) > _MOST_PLANES:
        return np.argmax(planes, axis=0)
    best, index = planes[0].copy(), np.zeros(planes.shape[1:], np.intp)
    for number, plane in enumerate(planes[1:], 1):
        better = plane > best
        np.copyto(best, plane, where=better)
        np.copyto(index, number, where=better)
    return index


def _with_agreement(figures: Figures, agreement: float) -> Figures:
    return dataclasses.replace(figures, argmax_agreement=agreement)


def _cosine(dot: float, wanted: float, given: float) -> float:
    if wanted == 0 or given == 0:
        return 1.0 if wanted == given else 0.0
    cosine = dot / (math.sqrt(wanted) * math.sqrt(given))
    return max(-1.0, min(1.0, cosine)) if math.isfinite(cosine) else math.nan


def _decibels(wanted: float, error: float) -> float:
    if error == 0:
        return math.inf
    return 10 * math.log10(wanted / error) if wanted > 0 else -math.inf


def _largest(values: Iterator[float] | Sequence[float]) -> float:
    return float(np.max(np.fromiter(values, np.float64)))


def _shape(array: Array) -> str:
    return f"[{', '.join(map(str, array.shape))}]"
