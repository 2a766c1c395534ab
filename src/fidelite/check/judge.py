"""From measurements to a verdict on one output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fidelite.check.compare import Figures, OutputComparison, combine, is_float
from fidelite.check.ties import Ties
from fidelite.check.tolerance import Tolerance
from fidelite.check.variation import Variation, measure_variation
from fidelite.check.verdict import Bound, OutputVerdict, Verdict
from fidelite.runtime.protocol import Array

MIN_SAMPLES = 3
STEP_AND_A_BIT = 1.01
"""One step of a grid, and the float32 arithmetic around it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was seen of one output.

    `expected` and `comparisons` have one entry per sample, `ties` too where the output was judged on scores.
    `repeat` compares the result's first answer with its answer to the same input at the end, `source_repeat`
    the source's. `constant`: the output depends on no input.
    """

    name: str
    expected: Sequence[Array]
    comparisons: Sequence[OutputComparison]
    ties: Sequence[Ties]
    repeat_differs: str
    source_repeat_differs: str
    constant: bool


def judge(evidence: Evidence, tolerance: Tolerance) -> OutputVerdict:
    """The verdict: first what cannot be right, then whether right could have been told from wrong."""
    comparisons, first = evidence.comparisons, evidence.expected[0]
    floats = is_float(first.dtype) or tolerance.step is not None
    measured = [c.figures for c in comparisons if c.figures is not None]
    figures = combine(measured) if measured else None
    variation = measure_variation(evidence.expected)
    close = _closeness(figures, evidence.ties, tolerance, floats) if figures else ()
    apart = _separation(figures, variation, tolerance) if figures and floats else ()
    bounds = close if evidence.constant else (*close, *apart)
    verdict, reason = _decide(evidence, figures, variation, close, () if evidence.constant else apart)
    return OutputVerdict(
        evidence.name,
        verdict,
        reason,
        tolerance,
        first.dtype.name,
        first.shape,
        figures,
        variation,
        bounds,
        tuple(comparisons),
        _worst(comparisons),
        tuple(evidence.ties),
    )


def _decide(
    evidence: Evidence,
    figures: Figures | None,
    variation: Variation,
    close: Sequence[Bound],
    apart: Sequence[Bound],
) -> tuple[Verdict, str]:
    comparisons = evidence.comparisons
    if evidence.repeat_differs:
        return "mismatch", (
            "changes when the first input comes again at the end: the result keeps state from one run to the "
            f"next, or reads memory that it never wrote ({evidence.repeat_differs})"
        )
    for number, comparison in enumerate(comparisons):
        if comparison.problem:
            return "mismatch", f"does not fit in sample {number}: {comparison.problem}"
    for bound in close:
        if not bound.holds:
            return "mismatch", f"differs (most in sample {_worst(comparisons)}): {bound}"
    if evidence.source_repeat_differs:
        return "not proven", f"is not the same twice in the source itself ({evidence.source_repeat_differs})"
    if evidence.constant:
        return "proven", "agrees, and depends on no input"
    if figures is None:
        empty = not any(e.size for e in evidence.expected)
        return "not proven", "has no elements" if empty else "has no finite value"
    if len(comparisons) < MIN_SAMPLES:
        return (
            "not proven",
            f"was compared on {len(comparisons)} sample(s); at least {MIN_SAMPLES} are needed",
        )
    if variation.varying == 0:
        return "not proven", "is the same for all samples, so that agreement says nothing"
    for bound in apart:
        if not bound.holds:
            return "not proven", f"hardly varies between samples: {bound}"
    return "proven", "agrees"


def _closeness(figures: Figures, ties: Sequence[Ties], tolerance: Tolerance, floats: bool) -> tuple[Bound, ...]:
    """Bounds that a right result keeps."""
    if ties:
        return _tie_bounds(ties, tolerance)
    if not floats:
        return (Bound("the number of differing elements", figures.differing, 0, "exactly equal"),)
    bounds: list[Bound] = []
    if tolerance.step is not None and figures.max_abs <= (limit := STEP_AND_A_BIT * tolerance.step):
        return (Bound("the largest error", figures.max_abs, limit, f"one step of {tolerance.step:.4g}"),)
    if (share := tolerance.max_abs_of_scale) is not None:
        limit = share * figures.scale + tolerance.floor
        of = f"{share:g} of the largest magnitude {figures.scale:.4g}"
        bounds.append(Bound("the largest error", figures.max_abs, limit, of))
    if (share := tolerance.relative_rms) is not None:
        limit = share * figures.expected_rms + tolerance.floor
        of = f"{share:g} of the rms {figures.expected_rms:.4g}"
        bounds.append(Bound("the rms error", figures.rms, limit, of))
    if tolerance.cosine is not None:
        bounds.append(Bound("the cosine", figures.cosine, tolerance.cosine, tolerance.name, at_least=True))
    return tuple(bounds)


def _tie_bounds(ties: Sequence[Ties], tolerance: Tolerance) -> tuple[Bound, ...]:
    worst = max(ties, key=lambda t: t.gap)
    share = sum(t.differing for t in ties) / max(sum(t.elements for t in ties), 1)
    of = f"elsewhere than at ties, where scores differ by at most {worst.limit:.4g}"
    return (
        Bound("the number of differing elements", sum(t.beyond for t in ties), 0, of),
        Bound("the share of elements decided by a tie", share, tolerance.ties, tolerance.name),
    )


def _separation(figures: Figures, variation: Variation, tolerance: Tolerance) -> tuple[Bound, ...]:
    """Bounds without which a wrong result might pass for a right one."""
    share = tolerance.rms_of_variation
    of = f"{share:g} of the rms variation {variation.rms:.4g}"
    bounds = [Bound("the rms error", figures.rms, share * variation.rms, of)]
    if (share := tolerance.max_of_variation) is not None:
        of = f"{share:g} of the largest variation {variation.peak:.4g}"
        bounds.append(Bound("the largest error", figures.max_abs, share * variation.peak, of))
    return tuple(bounds)


def _worst(comparisons: Sequence[OutputComparison]) -> int | None:
    """The sample with the largest error."""
    errors = {i: c.figures.max_abs for i, c in enumerate(comparisons) if c.figures is not None}
    return max(errors, key=errors.__getitem__) if errors else None
