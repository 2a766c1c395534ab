"""TensorFlow Lite Micro's interpreter (PyPI package `tflite-micro`), in a worker process: it may abort."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fidelite.errors import MissingExtra
from fidelite.runtime.process import Worker
from fidelite.runtime.protocol import Array, Arrays, Port, check_feeds, pick

PACKAGE = "tflite_micro"


@dataclass(frozen=True, slots=True)
class Arena:
    """Bytes of the tensor arena, as the interpreter counts them on this machine.

    `values` are inputs, outputs, inner values and scratch; `structures` are the interpreter's own, which hold pointers
    and are smaller where those have 32 bits. `smallest` is the least arena with which the model was seen to run here.
    """

    values: int
    structures: int
    smallest: int

    def to_json(self) -> dict[str, int]:
        return {"values": self.values, "structures": self.structures, "smallest": self.smallest}


def installed() -> bool:
    """Whether the interpreter's package is there. Nothing is imported."""
    return find_spec(PACKAGE) is not None


class MicroSession:
    """A `.tflite` model (file or bytes) in TensorFlow Lite Micro's interpreter.

    Inputs and outputs are the main graph's, under the names of the signature `serving_default` where there is one.
    State that operators keep is reset before each run. `arena` is the size of the tensor arena in bytes; None takes one
    that is large enough for anything. With `worker`, that process is used and left running.

    Raises `RuntimeCrash` where the interpreter dies or says no (with its words), `MissingExtra` where the package is
    not installed.
    """

    runtime = "TensorFlow Lite Micro"

    def __init__(self, model: Path | bytes, *, arena: int | None = None, timeout: float | None = 1800.0,
                 worker: Worker | None = None) -> None:
        if worker is None and not installed():
            raise MissingExtra("TensorFlow Lite Micro's interpreter is not installed", code="F222",
                               remedy='pip install "fidelite[micro]"')
        self._own = worker is None
        self._worker = worker or Worker(self.runtime, timeout=timeout)
        self._temporary = None
        self._handle: int | None = None
        if isinstance(model, bytes):
            descriptor, name = tempfile.mkstemp(prefix="fidelite-", suffix=".tflite")
            with os.fdopen(descriptor, "wb") as file:
                file.write(model)
            model = self._temporary = Path(name)
        header = {"do": "load", "kind": "micro", "path": os.fspath(model.absolute()), "arena": arena}
        try:
            answer, _ = self._worker.request(header, doing="loading the model")
        except BaseException:
            self.close()
            raise
        self._handle, self._generation = int(answer["handle"]), self._worker.generation
        self._inputs = tuple(Port(p["name"], p["dtype"], tuple(p["shape"])) for p in answer["inputs"])
        self._outputs = tuple(Port(p["name"], p["dtype"], tuple(p["shape"])) for p in answer["outputs"])

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
        _, arrays = self._ask(header, [feeds[p.name] for p in self._inputs], "running the model")
        return dict(zip(names, arrays, strict=True))

    def arena(self) -> Arena:
        """What the arena must hold; call it after a run. Found by the interpreter's own record and by trying."""
        answer, _ = self._ask({"do": "arena"}, (), "measuring the arena")
        return Arena(answer["values"], answer["structures"], answer["smallest"])

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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
