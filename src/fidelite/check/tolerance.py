"""How far a result may lie from its source. Every bound has a name and is stated in the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fidelite.errors import UsageError


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Bounds on one output, over all samples. None: not asked.

    Too far from the source (mismatch):
    `max_abs_of_scale`: the largest error may be this share of the output's largest magnitude, plus `floor`.
    `relative_rms`: the rms error may be this share of the output's rms. `cosine`: at least this.

    Too near to what a wrong result would show (not proven): `rms_of_variation`: the rms error may be this
    share of what the output varies between samples, which is the root of the mean over elements of the
    variance over samples. `max_of_variation`: the largest error may be this share of the largest range over
    samples of any element.

    For indices and booleans that are judged on the scores behind them: an element may differ where the
    scores do by no more than `tie_of_scale` of the largest score, in at most `ties` of all places.

    For outputs on a grid, `step` is what lies between two of its values (1 for the stored integers, which are then
    compared as numbers): where no error is larger than that, none of the bounds on closeness are asked.
    """

    name: str = "float32"
    max_abs_of_scale: float | None = 1e-4
    floor: float = 1e-7
    relative_rms: float | None = None
    cosine: float | None = None
    rms_of_variation: float = 0.02
    max_of_variation: float | None = 0.02
    tie_of_scale: float = 1e-4
    ties: float = 0.01
    step: float | None = None

    @staticmethod
    def for_precision(name: str) -> Tolerance:
        """The bounds for a precision. Raises `UsageError` where none are set."""
        if name not in _TOLERANCES:
            known = ", ".join(_TOLERANCES)
            raise UsageError(f"no tolerance is set for precision '{name}'; there are {known}")
        return _TOLERANCES[name]

    @staticmethod
    def loosest(names: Sequence[str]) -> Tolerance:
        """The bounds of several names together: of each the widest, and none where one of the names asks none."""
        found = [Tolerance.for_precision(name) for name in names if name != "float32" or len(names) == 1]

        def widest(values: Iterable[float | None], of: Callable[[Iterable[float]], float] = max) -> float | None:
            known = list(values)
            return None if None in known else of([v for v in known if v is not None])

        return Tolerance(
            " + ".join(t.name for t in found), widest(t.max_abs_of_scale for t in found), max(t.floor for t in found),
            widest(t.relative_rms for t in found), widest((t.cosine for t in found), min),
            max(t.rms_of_variation for t in found), widest(t.max_of_variation for t in found),
            max(t.tie_of_scale for t in found), max(t.ties for t in found))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_TOLERANCES = {
    t.name: t
    for t in (
        Tolerance(),
        Tolerance(
            "float16",
            max_abs_of_scale=0.05,
            relative_rms=0.01,
            cosine=0.9999,
            rms_of_variation=0.05,
            max_of_variation=0.1,
            tie_of_scale=0.02,
            ties=0.02,
        ),
        # Approximations (`optimize/approximate.py`). Other sample points: every edge moves by up to half a pixel.
        Tolerance("align-corners", max_abs_of_scale=None, relative_rms=0.2, cosine=0.98, rms_of_variation=0.3,
                  max_of_variation=None, tie_of_scale=0.2, ties=0.2),
        # |difference| < 5e-4 where GELU is applied.
        Tolerance("gelu-tanh", max_abs_of_scale=0.02, relative_rms=0.01, cosine=0.9999, rms_of_variation=0.05,
                  max_of_variation=0.1, tie_of_scale=0.02, ties=0.02),
        Tolerance(
            "quantized-source",  # beside the proof of each step (`check.grids`): what roundings may come to together
            max_abs_of_scale=None,
            relative_rms=0.5,
            cosine=0.9,
            rms_of_variation=1.0,  # what is unrelated differs by 1.4 times the variation
            max_of_variation=None,
            tie_of_scale=0.1,
            ties=0.35,
        ),
        Tolerance(
            "dynamic-int8",
            max_abs_of_scale=None,
            relative_rms=0.15,
            cosine=0.985,
            rms_of_variation=0.5,
            max_of_variation=None,
            tie_of_scale=0.15,
            ties=0.35,  # classes whose scores lie close change places: what counts is that none beyond a tie does
        ),
        Tolerance(
            "weight-int8",
            max_abs_of_scale=None,
            relative_rms=0.15,
            cosine=0.985,
            rms_of_variation=0.5,
            max_of_variation=None,
            tie_of_scale=0.15,
            ties=0.35,
        ),
        Tolerance(
            "int16x8",
            max_abs_of_scale=None,
            relative_rms=0.15,
            cosine=0.985,
            rms_of_variation=0.5,
            max_of_variation=None,
            tie_of_scale=0.15,
            ties=0.35,
        ),
        Tolerance(
            "int8",
            max_abs_of_scale=None,
            relative_rms=0.5,
            cosine=0.9,
            rms_of_variation=1.0,  # what is unrelated differs by 1.4 times the variation
            max_of_variation=None,
            tie_of_scale=0.25,
            ties=0.5,
        ),
    )
}
