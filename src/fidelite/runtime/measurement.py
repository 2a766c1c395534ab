"""How long a model takes, and how much memory, in a process that does nothing else."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fidelite.errors import UsageError
from fidelite.runtime.process import Worker
from fidelite.runtime.protocol import Arrays, Port, check_feeds

Kind = Literal["litert", "onnx"]
_RUNTIMES = {"litert": "LiteRT", "onnx": "ONNX Runtime"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times in seconds, memory in bytes; None where the system does not tell.

    `load` runs from the file to a model that is ready, loading the runtime's library not counted. `first` is
    the first run, `runs` those after the warm-up, in order. Inputs are set before the clock starts; for ONNX
    Runtime a run includes allocating its outputs. `resting_memory` is what the process held before the model,
    with the runtime's library loaded; `peak_memory` the most it ever held.
    """

    runtime: str
    threads: int
    load: float
    first: float
    runs: tuple[float, ...]
    resting_memory: int | None
    peak_memory: int | None

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def percentile(self, share: float) -> float:
        """The run time that `share` (0..1) of the runs do not exceed (nearest rank)."""
        ordered = sorted(self.runs)
        return ordered[min(len(ordered) - 1, max(0, -(-round(share * 1e6) * len(ordered) // 1_000_000) - 1))]

    def to_json(self) -> dict[str, Any]:
        return {
            "runtime": self.runtime,
            "threads": self.threads,
            "load_seconds": self.load,
            "first_seconds": self.first,
            "run_seconds": list(self.runs),
            "median_seconds": self.median,
            "p90_seconds": self.percentile(0.9),
            "resting_memory_bytes": self.resting_memory,
            "peak_memory_bytes": self.peak_memory,
        }


def measure(
    model: Path,
    feeds: Arrays,
    *,
    kind: Kind,
    runs: int = 20,
    warmup: int = 3,
    threads: int = 1,
    xnnpack: bool = True,
    timeout: float | None = 600.0,
) -> Measurement:
    """Load the model in a fresh worker, run it once, `warmup` times, and `runs` times by the clock.

    Raises `BadSample` where the feeds do not fit, `RuntimeCrash` where the runtime fails.
    """
    if runs < 1 or warmup < 0 or threads < 1:
        raise UsageError("a measurement needs at least one run and one thread, and no negative warm-up")
    label = f"'{model.name}'"
    with Worker(_RUNTIMES[kind], timeout=timeout) as worker:
        load = {
            "do": "load",
            "kind": kind,
            "path": os.fspath(model.absolute()),
            "threads": threads,
            "xnnpack": xnnpack,
            "preserve": False,
        }
        loaded, _ = worker.request(load, doing=f"loading {label}")
        inputs = [Port(p["name"], p["dtype"], tuple(p["shape"])) for p in loaded["inputs"]]
        check_feeds(inputs, feeds, kind)
        request = {
            "do": "measure",
            "handle": loaded["handle"],
            "inputs": [p.name for p in inputs],
            "runs": runs,
            "warmup": warmup,
        }
        found, _ = worker.request(request, [feeds[p.name] for p in inputs], doing=f"measuring {label}")
    return Measurement(
        _RUNTIMES[kind],
        threads,
        loaded["seconds"],
        found["first"],
        tuple(found["seconds"]),
        loaded["resting"],
        found["peak"],
    )
