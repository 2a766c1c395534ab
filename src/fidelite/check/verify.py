"""The proof: source and result run on the same samples, and every output gets a verdict.

What makes it one: at least three samples go through one session of the result, and the first again at the
end, so that state carried from run to run shows; and an output that hardly varies between samples proves
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fidelite.check.compare import OutputComparison, compare_arrays, is_float
from fidelite.check.judge import Evidence, judge
from fidelite.check.ties import Scores as Scores
from fidelite.check.ties import Ties, judge_ties
from fidelite.check.tolerance import Tolerance
from fidelite.check.verdict import OutputVerdict, Verification
from fidelite.errors import BadSample
from fidelite.runtime.protocol import Array, Arrays, Session, check_feeds

Transform = Callable[[Arrays], Arrays]
ScoresOf = Callable[[str, Arrays], Scores | None]
Progress = Callable[[str, int, int], None]

STEADY = 1e-6
"""Two answers to one input are the same if floats differ by no more than this share of the largest."""


def verify_sessions(
    source: Callable[[], Session],
    result: Callable[[], Session],
    samples: Sequence[Arrays],
    *,
    transform_source: Transform | None = None,
    transform_in: Transform | None = None,
    transform_out: Transform | None = None,
    tolerance: Tolerance | Mapping[str, Tolerance] | None = None,
    constant_outputs: Collection[str] = (),
    scores: ScoresOf | None = None,
    class_axes: Mapping[str, int] | None = None,
    steady_source: bool = False,
    on_progress: Progress | None = None,
) -> Verification:
    """Run `source`, close it, run `result`, and compare.

    `source` and `result` make the sessions; only one is alive at a time. From each sample,
    `transform_source` makes the source's feeds and `transform_in` the result's. `transform_out` turns all
    outputs of the source into what the result must give: its names, order, layout and types. Without them,
    both sides are alike.

    `tolerance` holds for all outputs, or maps a name ('' for the rest) to its own. `constant_outputs`
    depend on no input: they need not vary. `scores(name, source's outputs)` gives the values behind an
    output of indices or booleans, with which ties are told from errors. `class_axes` says where an output
    has class scores. `steady_source` says that the source gives the same answer each time (it has no random operators):
    then it is not asked twice. `on_progress(what, done, total)` is called before each run.

    Raises `BadSample` where there are no samples or they do not fit, `RuntimeCrash` where a runtime fails.
    """
    if not samples:
        raise BadSample("there are no samples to compare on")
    with source() as session:
        again = [] if steady_source else [samples[0]]
        asked = _ask_source(session, samples, again, transform_source, transform_out, scores, on_progress)
    names = list(asked.expected[0])
    seen = {n: _Seen(_tolerance(tolerance, n), (class_axes or {}).get(n)) for n in names}
    with result() as session:
        runtime = session.runtime
        problems = _port_problems(asked.inputs, names, session)
        common = [n for n in names if any(p.name == n for p in session.outputs)]
        if common:
            problems += _ask_result(session, samples, transform_in, asked, common, seen, on_progress)
    outputs: list[OutputVerdict] = []
    for name in common:
        if seen[name].comparisons:
            constant = not asked.inputs or name in constant_outputs
            outputs.append(seen[name].verdict(name, asked, constant))
    return Verification(tuple(outputs), asked.runtime, runtime, len(samples), tuple(problems))


@dataclass(frozen=True, slots=True)
class _Asked:
    """The source's answers: per sample what the result must give, and the scores behind it."""

    runtime: str
    inputs: tuple[str, ...]
    expected: list[dict[str, Array]]
    scores: list[dict[str, Scores]]
    unsteady: dict[str, str]


@dataclass(slots=True)
class _Seen:
    """What the result's runs showed of one output so far."""

    tolerance: Tolerance
    class_axis: int | None
    comparisons: list[OutputComparison] = field(default_factory=list[OutputComparison])
    ties: list[Ties] = field(default_factory=list[Ties])
    first: Array | None = None
    repeat: str = ""

    def add(self, expected: Array, actual: Array, scores: Scores | None) -> None:
        comparison = compare_arrays(expected, actual, class_axis=self.class_axis)
        if self.first is None:
            self.first = actual
        if scores is not None and not comparison.problem:
            t = self.tolerance
            self.ties.append(judge_ties(expected, actual, scores, t.tie_of_scale, t.floor))
        self.comparisons.append(comparison)

    def again(self, actual: Array) -> None:
        assert self.first is not None
        self.repeat = _change(self.first, actual)

    def verdict(self, name: str, asked: _Asked, constant: bool) -> OutputVerdict:
        expected = [e[name] for e in asked.expected]
        unsteady = asked.unsteady.get(name, "")
        evidence = Evidence(name, expected, self.comparisons, self.ties, self.repeat, unsteady, constant)
        return judge(evidence, self.tolerance)


def _ask_source(
    session: Session,
    samples: Sequence[Arrays],
    again: Sequence[Arrays],
    transform_source: Transform | None,
    transform_out: Transform | None,
    scores: ScoresOf | None,
    on_progress: Progress | None,
) -> _Asked:
    asked = _Asked(session.runtime, tuple(p.name for p in session.inputs), [], [], {})
    for number, sample in enumerate([*samples, *again]):
        if on_progress:
            on_progress(session.runtime, number, len(samples) + len(again))
        found = session.run(transform_source(sample) if transform_source else sample)
        expected = dict(transform_out(found) if transform_out else found)
        if number == len(samples):
            changes = {n: _change(asked.expected[0][n], value) for n, value in expected.items()}
            asked.unsteady.update({n: change for n, change in changes.items() if change})
            break
        asked.expected.append(expected)
        behind: dict[str, Scores] = {}
        for name, value in expected.items():
            score = None if scores is None or is_float(value.dtype) else scores(name, found)
            if score is not None:
                behind[name] = score
        asked.scores.append(behind)
    return asked


def _ask_result(
    session: Session,
    samples: Sequence[Arrays],
    transform_in: Transform | None,
    asked: _Asked,
    names: Sequence[str],
    seen: Mapping[str, _Seen],
    on_progress: Progress | None,
) -> list[str]:
    """Run the result on each sample and on the first again. Returns why it does not take them, if so."""
    for number, sample in enumerate([*samples, samples[0]]):
        if on_progress:
            on_progress(session.runtime, number, len(samples) + 1)
        feeds = transform_in(sample) if transform_in else sample
        try:
            check_feeds(session.inputs, feeds, session.runtime)
        except BadSample as error:
            return [f"the result does not take the source's inputs: {error.reason}"]
        found = session.run(feeds, names)
        for name in names:
            if number == len(samples):
                seen[name].again(found[name])
            else:
                scores = asked.scores[number].get(name)
                seen[name].add(asked.expected[number][name], found[name], scores)
    return []


def _port_problems(inputs: Sequence[str], names: Sequence[str], session: Session) -> list[str]:
    """Clauses on names and order that the result has otherwise."""
    problems: list[str] = []
    taken, given = ([p.name for p in ports] for ports in (session.inputs, session.outputs))
    if taken != list(inputs) and sorted(taken) == sorted(inputs):
        problems.append(f"the result's inputs come in the order {_list(taken)} instead of {_list(inputs)}")
    if given != list(names):
        what = "come in the order" if sorted(given) == sorted(names) else "are"
        problems.append(f"the result's outputs {what} {_list(given)} instead of {_list(names)}")
    return problems


def _change(before: Array, after: Array) -> str:
    """How an answer differs from the one given before; '' if it does not, but for `STEADY`."""
    if before.dtype == after.dtype and np.array_equal(before, after):
        return ""
    comparison = compare_arrays(before, after)
    if comparison.problem:
        return comparison.problem
    figures = comparison.figures
    if figures is None or not figures.differing:
        return ""
    if not is_float(before.dtype):
        return f"{figures.differing} of {before.size} elements differ"
    if figures.max_abs <= STEADY * figures.scale:
        return ""
    return f"by {figures.max_abs:.4g}, where the largest magnitude is {figures.scale:.4g}"


def _tolerance(tolerance: Tolerance | Mapping[str, Tolerance] | None, name: str) -> Tolerance:
    if isinstance(tolerance, Tolerance):
        return tolerance
    known = tolerance or {}
    return known.get(name) or known.get("") or Tolerance()


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"'{n}'" for n in names) or "none"
