"""fidelite's file against each peer's with the same edge, run in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.conversions import Result, Tell
from benchmarks.stats import paired_ratio
from benchmarks.work import ROOT, Unavailable, environment_of, publishable


def pairs_of(results: Sequence[Result]) -> Iterator[tuple[Result, Result]]:
    """Every peer's result beside fidelite's of the same model, export and layout."""
    ours = {(r.model, r.exporter, r.layout): r for r in results if r.converter == "fidelite"}
    for result in results:
        if result.converter == "fidelite" or result.exporter != "dynamo":
            continue
        partner = ours.get((result.model, result.exporter, result.layout))
        if partner is not None:
            yield partner, result


def _process(python: Path, ours: Path, theirs: Path, pairs: int, seconds: float, seed: int) -> dict[str, Any]:
    command = [python, "-m", "benchmarks.pair_worker", ours, theirs, pairs, seconds, seed]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=environment_of(), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=900, check=False)
    if done.returncode != 0:
        words = publishable(done.stderr).strip().splitlines() or ["it said nothing"]
        raise Unavailable(f"LiteRT ended with exit code {done.returncode}: {words[-1][:300]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "reason" in found:
        raise Unavailable(found["reason"])
    return found


def timed(python: Path, file: Path, reference: Path, pairs: int, seconds: float) -> dict[str, float]:
    """The median run time of `file` over that of `reference`, and both. Raises Unavailable."""
    run = _process(python, file, reference, pairs, seconds, 0)
    ours, theirs = statistics.median(run["ours"]), statistics.median(run["theirs"])
    ratio = statistics.median(a / b for a, b in zip(run["ours"], run["theirs"], strict=True))
    return {"ratio": ratio, "seconds": ours, "float_seconds": theirs}


def compare(python: Path, ours: Result, theirs: Result, *, processes: int, pairs: int,
            seconds: float) -> dict[str, Any]:
    """The paired ratio of run times, or the reason why there is none."""
    row: dict[str, Any] = {"model": ours.model, "layout": ours.layout, "peer": theirs.converter}
    missing = [f"{r.converter}: {r.reason}" for r in (ours, theirs) if r.path is None]
    if ours.path is None or theirs.path is None:
        return row | {"reason": "; ".join(missing)}
    try:
        runs = [_process(python, ours.path, theirs.path, pairs, seconds, seed) for seed in range(processes)]
    except (Unavailable, subprocess.TimeoutExpired) as reason:
        return row | {"reason": publishable(str(reason))}
    return row | {
        "ratio": paired_ratio([(run["ours"], run["theirs"]) for run in runs]).to_json(),
        "ratio_per_process": [statistics.median(run["ours"]) / statistics.median(run["theirs"]) for run in runs],
        "ours_seconds": statistics.median(t for run in runs for t in run["ours"]),
        "theirs_seconds": statistics.median(t for run in runs for t in run["theirs"]),
        "largest_relative_difference": max(d for run in runs for d in run["difference"]),
    }


def measure(python: Path, results: Sequence[Result], tell: Tell, *, quick: bool) -> list[dict[str, Any]]:
    processes, pairs, seconds = (1, 30, 5.0) if quick else (5, 200, 30.0)
    rows: list[dict[str, Any]] = []
    for ours, theirs in pairs_of(results):
        tell(f"latency: {ours.model}, layout {ours.layout}, beside {theirs.converter}")
        rows.append(compare(python, ours, theirs, processes=processes, pairs=pairs, seconds=seconds))
    return rows
