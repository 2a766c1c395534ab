"""A SavedModel in TensorFlow as a session, and a session whose ports have other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fidelite.errors import MissingExtra
from fidelite.runtime.process import Worker
from fidelite.runtime.protocol import Array, Arrays, Port, Session, check_feeds, pick
from fidelite.saving.places import missing_tensorflow

_SECONDS = 3600.0


class TensorFlow:
    """TensorFlow in a worker process. Raises MissingExtra (F226) where it is not installed, RuntimeCrash where it dies
    or refuses."""

    def __init__(self) -> None:
        self._worker = Worker("TensorFlow", timeout=_SECONDS, module="fidelite.saving.worker")

    def ask(self, header: dict[str, Any], arrays: Sequence[Array] = (), *,
            doing: str) -> tuple[dict[str, Any], list[Array]]:
        try:
            return self._worker.request(header, arrays, doing=doing)
        except MissingExtra as error:
            raise missing_tensorflow(error.reason) from error

    def close(self) -> None:
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class SavedModelSession:
    """A SavedModel's signature, with ports as the model that it was made of has them.

    `names` says what the SavedModel calls an input. Closing frees the model; the process stays.
    """

    runtime = "TensorFlow"

    def __init__(self, tensorflow: TensorFlow, folder: Path, inputs: Sequence[Port], outputs: Sequence[Port],
                 names: Mapping[str, str]) -> None:
        self._tensorflow, self._inputs, self._outputs = tensorflow, tuple(inputs), tuple(outputs)
        called = [names.get(p.name, p.name) for p in inputs]
        header = {"do": "load", "folder": str(folder), "inputs": called}
        answer, _ = tensorflow.ask(header, doing="loading the SavedModel")
        self._handle = int(answer["handle"])

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
        header = {"do": "run", "handle": self._handle, "outputs": names}
        _, arrays = self._tensorflow.ask(header, [feeds[p.name] for p in self._inputs], doing="running the SavedModel")
        return dict(zip(names, arrays, strict=True))

    def close(self) -> None:
        self._tensorflow.ask({"do": "unload", "handle": self._handle}, doing="closing the SavedModel")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self.close()


class Renamed:
    """A session whose inputs have other names and another order. `names`: from the new name to the session's."""

    def __init__(self, session: Session, inputs: Sequence[Port], outputs: Sequence[Port],
                 names: Mapping[str, str]) -> None:
        self._session, self._names = session, names
        own_inputs, own_outputs = ({p.name: p for p in ports} for ports in (session.inputs, session.outputs))
        self._inputs = tuple(Port(p.name, own_inputs[names[p.name]].dtype, own_inputs[names[p.name]].shape)
                             for p in inputs if names[p.name] in own_inputs)
        self._outputs = tuple(own_outputs[p.name] for p in outputs if p.name in own_outputs)
        self.runtime = f"{session.runtime} on TensorFlow's own conversion of it"

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._outputs

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        renamed = {self._names[name]: array for name, array in feeds.items()}
        return self._session.run(renamed, outputs or [p.name for p in self._outputs])

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
