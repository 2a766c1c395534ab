"""What it takes to convert BiSeNet: everyone in turn, several times over, beside the floor."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.conversions import Tell
from benchmarks.models import SPECS, Models
from benchmarks.peers import Converter, Fidelite, Job, with_proof
from benchmarks.work import ROOT, Unavailable, Usage, measured, median_usage

MODEL = "bisenet"
FLOOR, PLAIN, PROVEN = "floor", "fidelite", "fidelite with proof"


def _floor(fidelite: Fidelite, job: Job, folder: Path) -> Usage:
    if fidelite.missing is not None:
        raise Unavailable(fidelite.missing)
    command = [fidelite.environment.python, ROOT / "benchmarks" / "floor.py",
               job.models.onnx(MODEL), folder / "floor.bin"]
    return measured(command, folder, name="floor", cwd=folder.parent)


def measure(work: Path, fidelite: Fidelite, peers: Sequence[Converter], models: Models, runs: int,
            tell: Tell) -> dict[str, Any]:
    """Usage of each in `runs` rounds. A round runs everyone once, and each round starts with another."""
    job = Job(SPECS[MODEL], models)
    # Peers convert as they do best: onnx2tf with its own channels-last I/O.
    contestants: dict[str, Callable[[Path], Usage]] = {
        FLOOR: lambda folder: _floor(fidelite, job, folder),
        PLAIN: lambda folder: with_proof(fidelite, False).convert(job, folder)[1],
        PROVEN: lambda folder: with_proof(fidelite, True).convert(job, folder)[1],
    }
    for peer in peers:
        best = replace(job, layout="nhwc") if peer.name.startswith("onnx2tf") else job
        contestants[peer.name] = lambda folder, p=peer, j=best: p.convert(j, folder)[1]
    usages: dict[str, list[Usage]] = {name: [] for name in contestants}
    reasons: dict[str, str] = {}
    names = list(contestants)
    for round_ in range(runs):
        for name in names[round_ % len(names):] + names[: round_ % len(names)]:
            if name in reasons:
                continue
            tell(f"conversion, round {round_ + 1} of {runs}: {name}")
            folder = work / "cost" / name.split()[0]
            folder.mkdir(parents=True, exist_ok=True)
            try:
                usages[name].append(contestants[name](folder))
            except Unavailable as reason:
                reasons[name] = str(reason)
    return {name: _summary(name, usages, reasons) for name in names}


def _summary(name: str, usages: dict[str, list[Usage]], reasons: dict[str, str]) -> dict[str, Any]:
    if name in reasons:
        return {"reason": reasons[name]}
    found: dict[str, Any] = {"median": median_usage(usages[name]), "runs": [u.to_json() for u in usages[name]]}
    floor = usages[FLOOR]
    if name != FLOOR and floor and FLOOR not in reasons:
        pairs = list(zip(usages[name], floor, strict=True))
        found["cpu_over_floor"] = statistics.median(u.cpu / f.cpu for u, f in pairs)
        found["peak_over_floor"] = statistics.median(u.peak / f.peak for u, f in pairs)
    return found
