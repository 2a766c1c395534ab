"""LiteRT, in a worker process."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fidelite.runtime.process import Worker
from fidelite.runtime.protocol import Array, Arrays, Port, check_feeds, pick
from fidelite.runtime.statistics import TensorStatistics, statistics_of


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor of the main graph, as LiteRT sees it."""

    index: int
    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Delegation:
    """Which operators of the main graph XNNPACK took over.

    `ops` has one entry per operator in the graph's order; `per_op` maps a type to (taken, in all).
    """

    taken: int
    total: int
    per_op: Mapping[str, tuple[int, int]]
    ops: tuple[tuple[str, bool], ...]

    def to_json(self) -> dict[str, Any]:
        per_op = {k: list(v) for k, v in self.per_op.items()}
        return {"taken": self.taken, "total": self.total, "per_op": per_op}


class LiteRtSession:
    """A `.tflite` model (file or bytes) in LiteRT's interpreter, in a process of its own.

    Inputs and outputs come in the main graph's order under the names of the signature `serving_default`
    where there is one. LiteRT shows 4-bit integers as int8. Feeds of another shape resize the model.
    `timeout` (seconds) holds for each request. `xnnpack=False` runs LiteRT's own kernels. With
    `preserve_all`, `tensors` reads inner values. With `worker`, that process is used and left running.

    Raises `RuntimeCrash` where LiteRT dies, hangs or says no, and `MissingExtra` where it is not installed.
    """

    runtime = "LiteRT"

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        xnnpack: bool = True,
        preserve_all: bool = False,
        timeout: float | None = 600.0,
        worker: Worker | None = None,
    ) -> None:
        self._own = worker is None
        self._worker = worker or Worker(timeout=timeout)
        self._label = f"'{model.name}'" if isinstance(model, Path) else "the model"
        path = model if isinstance(model, Path) else _temporary(model)
        self._temporary = None if isinstance(model, Path) else path
        self._handle: int | None = None
        header = {
            "do": "load",
            "kind": "litert",
            "path": os.fspath(path.absolute()),
            "threads": threads,
            "xnnpack": xnnpack,
            "preserve": preserve_all,
        }
        try:
            answer, _ = self._worker.request(header, doing=f"loading {self._label}")
        except BaseException:
            self.close()
            raise
        self._handle, self._generation = int(answer["handle"]), self._worker.generation
        self.load_seconds: float = answer["seconds"]
        self._inputs = tuple(_port(p) for p in answer["inputs"])
        self._outputs = tuple(_port(p) for p in answer["outputs"])

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._outputs

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """See `Session.run`."""
        check_feeds(self._inputs, feeds, self.runtime)
        names = pick(self._outputs, outputs)
        header = {"do": "run", "inputs": [p.name for p in self._inputs], "outputs": names}
        _, arrays = self._ask(header, [feeds[p.name] for p in self._inputs], f"running {self._label}")
        return dict(zip(names, arrays, strict=True))

    def tensors(self, which: Sequence[str | int]) -> list[Array]:
        """Values of inner tensors after a run, by name (the first that bears it) or index.

        Needs `preserve_all`, without which LiteRT reuses their memory. Raises `RuntimeCrash` for those that
        do not exist or were never computed.
        """
        return self._ask({"do": "tensors", "which": list(which)}, (), f"reading tensors of {self._label}")[1]

    def observe(self, feeds: Arrays, which: Sequence[int], number: int, channels: Sequence[int] = ()) -> None:
        """Run, and take the float32 tensors of these indices into statistics that the worker keeps.

        Values do not leave the worker. `number` counts the samples; it decides which values large tensors give to
        the histogram. Those of `channels` also sum each entry of their last axis. Needs `preserve_all`.
        """
        check_feeds(self._inputs, feeds, self.runtime)
        header = {"do": "observe", "inputs": [p.name for p in self._inputs], "which": list(which),
                  "channels": list(channels), "number": number}
        self._ask(header, [feeds[p.name] for p in self._inputs], f"observing {self._label}")

    def observed(self) -> dict[int, TensorStatistics]:
        """What `observe` has gathered since the model was loaded, by tensor index."""
        answer, arrays = self._ask({"do": "observed"}, (), f"reading what was observed of {self._label}")
        rows = zip(answer["tensors"].items(), arrays[::2], arrays[1::2], strict=True)
        return {int(index): statistics_of(facts, counts, sums) for (index, facts), counts, sums in rows}

    def details(self) -> tuple[TensorInfo, ...]:
        """All tensors of the main graph, those that LiteRT added for itself too."""
        answer, _ = self._ask({"do": "details"}, (), f"listing the tensors of {self._label}")
        return tuple(TensorInfo(t["index"], t["name"], t["dtype"], tuple(t["shape"])) for t in answer["tensors"])

    def delegated(self) -> Delegation:
        """What XNNPACK took. Found by loading the model again with one delegate per operator."""
        answer, _ = self._ask({"do": "delegated"}, (), f"delegating the operators of {self._label}")
        ops = tuple((str(name), bool(taken)) for name, taken in answer["ops"])
        every, taken = Counter(name for name, _ in ops), Counter(name for name, took in ops if took)
        per_op = {name: (taken[name], every[name]) for name in sorted(every)}
        return Delegation(sum(taken.values()), len(ops), per_op, ops)

    def _ask(self, header: dict[str, Any], arrays: Sequence[Array], doing: str) -> tuple[dict[str, Any], list[Array]]:
        header["handle"] = self._handle
        return self._worker.request(header, arrays, doing=doing, generation=self._generation)

    def close(self) -> None:
        """Free the model, its file where it was temporary, and the process where it is the session's own."""
        handle, self._handle = self._handle, None
        if self._own:
            self._worker.close()
        elif handle is not None:
            self._worker.release(handle, self._generation)
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self._worker.forget(self._handle or 0, self._generation)
        if getattr(self, "_temporary", None) is not None and not sys.is_finalizing():
            try:
                Path(str(self._temporary)).unlink(missing_ok=True)
            except OSError:  # Windows keeps a file that is still mapped
                pass


def _temporary(model: bytes) -> Path:
    """A file with these bytes: LiteRT maps files, and takes bytes only as one more copy."""
    descriptor, path = tempfile.mkstemp(prefix="fidelite-", suffix=".tflite")
    with os.fdopen(descriptor, "wb") as file:
        file.write(model)
    return Path(path)


def _port(data: dict[str, Any]) -> Port:
    return Port(data["name"], data["dtype"], tuple(data["shape"]))
