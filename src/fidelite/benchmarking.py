"""Models side by side: latency, load time, memory, and what XNNPACK takes. `fidelite.benchmark`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fidelite.errors import BadSample, LoadError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fidelite.runtime import Delegation, Measurement, Port

    Feeds = Mapping[str, np.ndarray[Any, Any]]

WARMUP = 3


@dataclass(frozen=True, slots=True)
class Contender:
    """One model's figures over all rounds. Times in seconds, memory in bytes."""

    path: Path
    runtime: str
    file_bytes: int
    rounds: tuple[Measurement, ...]
    delegation: Delegation | None

    @property
    def runs(self) -> list[float]:
        return [t for m in self.rounds for t in m.runs]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def p90(self) -> float:
        """The time that nine of ten runs do not exceed (nearest rank)."""
        ordered = sorted(self.runs)
        return ordered[-(-9 * len(ordered) // 10) - 1]

    @property
    def load(self) -> float:
        return statistics.median(m.load for m in self.rounds)

    @property
    def first(self) -> float:
        return statistics.median(m.first for m in self.rounds)

    @property
    def peak_memory(self) -> int | None:
        """The most that the process ever held, runtime included."""
        return _largest(m.peak_memory for m in self.rounds)

    @property
    def own_memory(self) -> int | None:
        """The peak less what the process held before the model."""
        found = [m.peak_memory - m.resting_memory for m in self.rounds
                 if m.peak_memory is not None and m.resting_memory is not None]
        return max(found) if found else None

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path), "runtime": self.runtime, "file_bytes": self.file_bytes,
            "median_seconds": self.median, "p90_seconds": self.p90, "min_seconds": min(self.runs),
            "load_seconds": self.load, "first_seconds": self.first, "peak_memory_bytes": self.peak_memory,
            "own_memory_bytes": self.own_memory, "runs": len(self.runs),
            "round_medians_seconds": [m.median for m in self.rounds],
            "xnnpack": None if self.delegation is None else self.delegation.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All contenders, in the order given."""

    contenders: tuple[Contender, ...]
    threads: int
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {"threads": self.threads, "notes": list(self.notes),
                "models": [c.to_json() for c in self.contenders]}


def benchmark(
    models: Sequence[Path | str],
    *,
    threads: int = 1,
    runs: int = 20,
    rounds: int = 3,
    shapes: Mapping[str, Sequence[int]] | None = None,
    samples: Path | str | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Benchmark:
    """Measure `.onnx` and `.tflite` files in turns, each in a process of its own.

    Every round measures every model, in an order that turns around from round to round, so that a machine that
    slows down slows all of them. Inputs with the same name and shape are the same for all.

    Args:
        models: The files.
        threads: For each runtime.
        runs: Timed runs per model and round, after a warm-up of 3.
        rounds: Rounds.
        shapes: Sizes for free dimensions, by input; 1 otherwise.
        samples: An .npz with the inputs, where they matter; its first sample is used.
        on_progress: Called with what is being done and how much of all is done.

    Raises:
        UsageError: There is nothing to measure. LoadError, BadSample, RuntimeCrash.
    """
    from fidelite.runtime import measure

    paths = [Path(m) for m in models]
    if not paths or runs < 1 or rounds < 1 or threads < 1:
        raise UsageError("a benchmark needs at least one model, run, round and thread", code="F246",
                         remedy="fidelite benchmark model.onnx model.tflite")
    tell = on_progress or (lambda what, done: None)
    looked = [_look(path, shapes or {}, Path(samples) if samples is not None else None, threads) for path in paths]
    found: list[list[Measurement]] = [[] for _ in paths]
    for number in range(rounds):
        order = list(enumerate(looked))
        for step, (index, (path, kind, feeds, _)) in enumerate(order if number % 2 == 0 else reversed(order)):
            tell(f"round {number + 1}: {path.name}", (number * len(paths) + step) / (rounds * len(paths)))
            found[index].append(measure(path, feeds, kind=kind, runs=runs, warmup=WARMUP, threads=threads))
    contenders = tuple(
        Contender(path, measurements[0].runtime, _size(path, kind), tuple(measurements), delegation)
        for (path, kind, _, delegation), measurements in zip(looked, found, strict=True)
    )
    return Benchmark(contenders, threads, _notes(looked))


def _look(path: Path, shapes: Mapping[str, Sequence[int]], samples: Path | None, threads: int) -> tuple[Any, ...]:
    """The path, its kind, what to feed it, and what XNNPACK takes of it."""
    from fidelite.check import load_samples, make_inputs
    from fidelite.runtime import LiteRtSession, OnnxSession

    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise LoadError(f"'{path}' cannot be read: {error.strerror or error}", code="F306",
                        remedy="check the path") from error
    delegation = None
    if head[4:8] == b"TFL3":
        with LiteRtSession(path, threads=threads) as session:
            ports = session.inputs
            delegation = session.delegated()
    else:
        from fidelite.source.load import load

        load(path).close()
        with OnnxSession(path, threads=threads) as session:
            ports = session.inputs
    if samples is not None:
        feeds = load_samples(samples, ports)[0]
    else:
        feeds = make_inputs(ports, count=1, symbols=_sizes(ports, shapes))[0]
    return path, "litert" if head[4:8] == b"TFL3" else "onnx", feeds, delegation


def _sizes(ports: Sequence[Port], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    for name in shapes:
        if all(p.name != name for p in ports):
            raise BadSample(f"there is no input '{name}'; the inputs are {', '.join(p.name for p in ports)}",
                            code="F247", remedy="--shape NAME=1,3,512,512")
    found = {f"{p.name}:{a}": 1 for p in ports for a, d in enumerate(p.shape) if not isinstance(d, int)}
    for name, dims in shapes.items():
        found.update({f"{name}:{axis}": dim for axis, dim in enumerate(dims)})
    return found


def _size(path: Path, kind: str) -> int:
    """Bytes of the file, with the data files of an ONNX model."""
    if kind == "litert":
        return path.stat().st_size
    from fidelite.source.load import load

    source = load(path)
    source.close()
    return source.total_size


def _notes(looked: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    shapes = {tuple(sorted((name, array.shape) for name, array in feeds.items())) for _, _, feeds, _ in looked}
    notes = ["peak: the most memory that the process ever held; growth: that, less what it held before the model"]
    if len(shapes) > 1:
        notes.append("the models differ in their inputs' names or shapes: they do not compute the same")
    return tuple(notes)


def _largest(values: Any) -> int | None:
    found = [v for v in values if v is not None]
    return max(found) if found else None
