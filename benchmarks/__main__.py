"""python -m benchmarks: measure, and write JSON, a table and a plot. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import conversions, cost, footprint, latency, peers, scaling
from benchmarks.models import SPECS, make_models
from benchmarks.report import markdown
from benchmarks.work import DEFAULT_WORK, ROOT, Environment, Unavailable, logged, publishable, this_version

PARTS = ("install", "cost", "results", "latency", "scaling")
RESULTS = ROOT / "benchmarks" / "results"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = "Measure fidelite beside other converters and beside the floor."
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=words)
    parser.add_argument("--quick", action="store_true", help="few runs: to see whether everything works")
    parser.add_argument("--only", action="append", choices=(*PARTS, *SPECS), metavar="NAME", default=[],
                        help=f"a part ({', '.join(PARTS)}) or a model ({', '.join(SPECS)}); may be repeated")
    parser.add_argument("--runs", type=int, help="rounds of the conversion benchmark (5; 1 with --quick)")
    parser.add_argument("--no-peers", action="store_true", help="measure fidelite and the floor only")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help="folder for environments, models and results")
    parser.add_argument("--out", type=Path, help="folder for latest.json, .md and .png: benchmarks/results, or "
                        "partial/ in the work folder where only a part is measured")
    options = parser.parse_args(arguments)
    if options.out is None:
        whole = not (options.quick or options.only or options.no_peers)
        options.out = RESULTS if whole else options.work / "partial"
    return options


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _parts(only: Sequence[str]) -> tuple[str, ...]:
    """The parts that were asked for; latency needs the results."""
    asked = [name for name in only if name in PARTS] or list(PARTS)
    if "latency" in asked and "results" not in asked:
        asked.append("results")
    return tuple(part for part in PARTS if part in asked)


def _measure(options: argparse.Namespace, results: dict[str, Any], save: Callable[[], None]) -> None:
    work: Path = options.work.resolve()
    runs = results["runs"]
    fidelite = peers.Fidelite(work)
    others = [] if options.no_peers else peers.peers(work)
    for converter in (fidelite, *others):
        _tell(f"environment of {converter.name}")
        peers.install([converter])
        if converter.missing is not None:
            _tell(f"  {converter.missing}")
            results["missing"][converter.name] = converter.missing
    results["peers"] = [peer.name for peer in others]
    names = [name for name in options.only if name in SPECS] or list(SPECS)
    parts = _parts(options.only)
    _tell("models")
    models = make_models(work, sorted({*names, *([cost.MODEL] if "cost" in parts else [])}))
    converted: list[conversions.Result] = []
    for part in parts:
        if part == "install":
            results[part] = footprint.measure([fidelite, *others])
        elif part == "cost":
            results[part] = cost.measure(work, fidelite, others, models, runs, _tell)
        elif part == "results":
            converted = conversions.convert_all(work, [fidelite, *others], models, names, _tell)
            results[part] = [result.to_json() for result in converted]
        elif part == "latency":
            python = fidelite.environment.python
            results[part] = latency.measure(python, converted, _tell, quick=options.quick)
        else:
            results[part] = scaling.measure(work, fidelite, 1 if options.quick else 3, _tell)
        save()


def _plot(work: Path, source: Path, target: Path) -> str | None:
    """Draw in an environment with matplotlib; a note where that fails, for it is no figure."""
    try:
        python = Path(sys.executable)
        if find_spec("matplotlib") is None:
            environment = Environment(work / "envs" / "plot", ("matplotlib",), (this_version(),))
            environment.make()
            python = environment.python
        logged([python, "-m", "benchmarks.plot", source, target], work / "plot.log")
    except Unavailable as reason:
        _tell(f"no plot: {reason}")
        return None
    return target.name


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "latest.json"
    start = _load()
    results: dict[str, Any] = {
        "machine": {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count() or 1,
                    "python": platform.python_version()},
        "runs": options.runs or (1 if options.quick else 5),
        "peers": [],
        "missing": {},
    }

    def save() -> None:
        end = _load()
        results["machine"]["load_average"] = None if start is None or end is None else [start, end]
        target.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        target.with_suffix(".md").write_text(markdown(results), "utf-8")

    try:
        _measure(options, results, save)
    except Unavailable as reason:
        _tell(publishable(f"cannot go on: {reason}"))
        return 1
    results["plot"] = _plot(options.work.resolve(), target, target.with_suffix(".png"))
    save()
    print(target.with_suffix(".md").read_text("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
