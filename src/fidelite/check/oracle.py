"""The source as an oracle: ONNX Runtime on the file as it is, or the reference evaluator where that cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fidelite.errors import RuntimeCrash
from fidelite.runtime.protocol import Array, Arrays, Port, Session

if TYPE_CHECKING:
    from fidelite.source.load import Source
    from fidelite.source.pytorch.program import Program


class SelectedOutputs:
    """A session of which only some outputs are asked, in an order of their own."""

    def __init__(self, session: Session, names: Sequence[str]) -> None:
        self._session = session
        ports = {p.name: p for p in session.outputs}
        self._outputs = tuple(ports[name] for name in names)
        self.runtime = session.runtime

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._session.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._outputs

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        return self._session.run(feeds, outputs or [p.name for p in self._outputs])

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def open_source(content: Path | bytes, outputs: Sequence[str], extra_outputs: Sequence[str] = ()) -> Session:
    """The model in ONNX Runtime. Raises RuntimeCrash with its words where neither it nor the reference can run it.

    With `extra_outputs`, inner values are put out too, and the graph runs node by node as it is written.
    """
    from fidelite.runtime.onnx_runtime import OnnxSession

    try:
        session: Session = OnnxSession(content, extra_outputs=extra_outputs, optimize=not extra_outputs)
    except RuntimeCrash as crash:
        session = _reference(content, crash)
    return SelectedOutputs(session, [*outputs, *extra_outputs])


def source_content(source: Source, *, moved_weights: bool = False) -> Path | bytes:
    """The model for a runtime: its own file where its weights lie where it says, else the whole of it in memory."""
    if source.path is not None and not moved_weights:
        return source.path
    import onnx_ir

    whole = source.as_it_came().clone()
    onnx_ir.external_data.load_to_model(whole)
    return onnx_ir.to_proto(whole).SerializeToString()


def open_program(program: Program, inputs: Sequence[str]) -> Session:
    """The PyTorch network itself. `inputs` are those that the exported model has: what it does not use is fixed.

    Raises RuntimeCrash.
    """
    from fidelite.runtime.pytorch import TorchSession, port_of

    open_axes = [{axis: str(getattr(dim, "__name__", dim)) for axis, dim in row.items()} for row in program.dims]
    open_axes += [{}] * (len(program.inputs) - len(open_axes))
    ports = [port_of(n, t, a) for n, t, a in zip(program.inputs, program.examples, open_axes, strict=True)]
    outputs = [port_of(n, t) for n, t in zip(program.outputs, program.ask(*program.examples), strict=True)]
    fixed = dict(zip(program.inputs, program.examples, strict=True))
    return TorchSession(program.ask, program.inputs, [p for p in ports if p.name in inputs], outputs, fixed)


class Remembered:
    """A source that is asked the same questions in the same order more than once, and answers the first time only."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._ports: tuple[tuple[Port, ...], tuple[Port, ...]] | None = None
        self._runtime = ""
        self._answers: list[dict[str, Array]] = []

    def __call__(self) -> Session:
        """A session: the real one the first time, then one that repeats its answers."""
        if self._ports is None:
            session = self._make()
            self._ports, self._runtime = (session.inputs, session.outputs), session.runtime
            return _Listened(session, self._answers)
        return _Replayed(*self._ports, self._runtime, list(self._answers))


class _Listened(SelectedOutputs):
    def __init__(self, session: Session, answers: list[dict[str, Array]]) -> None:
        super().__init__(session, [p.name for p in session.outputs])
        self._answers = answers

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        found = super().run(feeds, outputs)
        self._answers.append(found)
        return dict(found)


class _Replayed:
    def __init__(self, inputs: tuple[Port, ...], outputs: tuple[Port, ...], runtime: str,
                 answers: list[dict[str, Array]]) -> None:
        self.inputs, self.outputs, self.runtime = inputs, outputs, runtime
        self._answers = answers

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        return dict(self._answers.pop(0))

    def close(self) -> None:
        self._answers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def _reference(content: Path | bytes, crash: RuntimeCrash) -> Session:
    from fidelite.runtime.reference import ReferenceSession

    try:
        return ReferenceSession(content)
    except RuntimeCrash:
        raise crash from None
