"""The outcome of a proof, as plain data: per output, with the figures and the bounds that decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fidelite.check.compare import Figures, OutputComparison, json_number
from fidelite.check.ties import Ties
from fidelite.check.tolerance import Tolerance
from fidelite.check.variation import Variation
from fidelite.errors import Mismatch, NotProven

Verdict = Literal["proven", "mismatch", "not proven"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure and what it may be: `figure` names it, `of` says what the limit was made from."""

    figure: str
    value: float
    limit: float
    of: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """False for NaN too."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        relation = "below" if self.at_least else "above"
        word = f"not {relation}" if self.holds else relation
        return f"{self.figure} {self.value:.4g} is {word} {self.limit:.4g} ({self.of})"

    def to_json(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "value": json_number(self.value),
            "limit": json_number(self.limit),
            "of": self.of,
            "at_least": self.at_least,
            "holds": self.holds,
        }


@dataclass(frozen=True, slots=True)
class OutputVerdict:
    """One output's verdict. `reason` is a clause that completes "output 'x' ...".

    `figures` are over all samples, `samples` the comparisons one by one, `worst` the number (from 0) of the
    sample with the largest error. `ties` is there where indices or booleans were judged on their scores.
    """

    name: str
    verdict: Verdict
    reason: str
    tolerance: Tolerance
    dtype: str = ""
    shape: tuple[int, ...] = ()
    figures: Figures | None = None
    variation: Variation | None = None
    bounds: tuple[Bound, ...] = ()
    samples: tuple[OutputComparison, ...] = ()
    worst: int | None = None
    ties: tuple[Ties, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": self.verdict,
            "reason": self.reason,
            "tolerance": self.tolerance.to_json(),
            "dtype": self.dtype,
            "shape": list(self.shape),
            "figures": None if self.figures is None else self.figures.to_json(),
            "variation": None if self.variation is None else self.variation.to_json(),
            "bounds": [b.to_json() for b in self.bounds],
            "samples": [s.to_json() for s in self.samples],
            "worst": self.worst,
            "ties": [t.to_json() for t in self.ties],
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What running source and result on the same inputs showed. `problems` concern no single output."""

    outputs: tuple[OutputVerdict, ...]
    source: str
    result: str
    samples: int
    problems: tuple[str, ...] = ()
    exported: Verification | None = None
    """Where the source is a PyTorch network: the same comparison of the ONNX model that was exported from it."""

    @property
    def verdict(self) -> Verdict:
        """The worst of the outputs' verdicts. Without outputs, nothing was proven."""
        if self.problems or (self.exported is not None and self.exported.verdict == "mismatch"):
            return "mismatch"
        found = {o.verdict for o in self.outputs}
        if "mismatch" in found:
            return "mismatch"
        return "proven" if found == {"proven"} else "not proven"

    @property
    def proven(self) -> bool:
        return self.verdict == "proven"

    def raise_for_verdict(self) -> None:
        """Raise `Mismatch` or `NotProven`, with output, figure and bound, unless all is proven."""
        verdict = self.verdict
        if verdict == "proven":
            return
        if self.exported is not None and self.exported.verdict == "mismatch":
            raise self._export_differs(self.exported)
        parts = [f"output '{o.name}' {o.reason}" for o in self.outputs if o.verdict == verdict]
        parts = [*self.problems, *parts] or ["the model has no outputs to compare"]
        more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
        details = {"verification": self.to_json()}
        if verdict == "mismatch":
            raise Mismatch(
                f"{self.result} does not give what {self.source} gives: {'; '.join(parts[:3])}{more}.",
                remedy="fidelite verify MODEL OUT.tflite --bisect",
                details=details,
            )
        raise NotProven(
            f"Comparing {self.result} with {self.source} proves nothing: {'; '.join(parts[:3])}{more}.",
            remedy="give inputs that the model answers differently: --samples FILE.npz",
            details=details,
        )

    def raise_for_export(self) -> None:
        """As `raise_for_verdict`, of an exported model against the PyTorch network that it came from."""
        if self.verdict == "mismatch":
            raise self._export_differs(self)
        self.raise_for_verdict()

    def _export_differs(self, exported: Verification) -> Mismatch:
        """The exporter's fault, named as such, with what it means for the result."""
        parts = [*exported.problems,
                 *(f"output '{o.name}' {o.reason}" for o in exported.outputs if o.verdict == "mismatch")]
        more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
        return Mismatch(
            f"The ONNX model that PyTorch's exporter made does not give what the PyTorch network gives: "
            f"{'; '.join(parts[:3])}{more}. The fault is the exporter's: the conversion starts from a wrong model.",
            code="F511", remedy="try the other exporter (--exporter torchscript or dynamo), or a newer PyTorch: "
                                "pip install --upgrade torch onnxscript", details={"verification": self.to_json()})

    def summary(self) -> list[dict[str, Any]]:
        """A row per output for a table: name, verdict, the figures worth showing, and the reason."""
        rows: list[dict[str, Any]] = []
        exported = {o.name: o for o in self.exported.outputs} if self.exported is not None else {}
        for o in self.outputs:
            f = o.figures
            rows.append(
                {
                    "output": o.name,
                    "dtype": o.dtype,
                    "shape": list(o.shape),
                    "verdict": o.verdict,
                    "max_abs": None if f is None else json_number(f.max_abs),
                    "max_rel": None if f is None else json_number(f.max_rel),
                    "cosine": None if f is None else json_number(f.cosine),
                    "sqnr_db": None if f is None else json_number(f.sqnr_db),
                    "differing": None if f is None else f.differing,
                    "argmax_agreement": None if f is None else f.argmax_agreement,
                    "reason": o.reason,
                }
            )
            if (behind := exported.get(o.name)) is not None:
                rows[-1]["exported"] = _exported_row(behind)
        return rows

    def brief(self) -> dict[str, Any]:
        """For a file's manifest: what was compared with what, and each output's verdict and largest error."""
        told: dict[str, Any] = {
            "verdict": self.verdict, "source": self.source, "samples": self.samples,
            "outputs": {r["output"]: {k: r[k] for k in ("verdict", "max_abs", "cosine")} for r in self.summary()}}
        if self.exported is not None:
            told["exported"] = self.exported.brief()
        return told

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "source": self.source,
            "result": self.result,
            "samples": self.samples,
            "problems": list(self.problems),
            "outputs": [o.to_json() for o in self.outputs],
            "exported": None if self.exported is None else self.exported.to_json(),
        }


def _exported_row(found: OutputVerdict) -> dict[str, Any]:
    f = found.figures
    return {"verdict": found.verdict, "reason": found.reason,
            "max_abs": None if f is None else json_number(f.max_abs),
            "cosine": None if f is None else json_number(f.cosine),
            "argmax_agreement": None if f is None else f.argmax_agreement}
