"""The source as an oracle: ONNX Runtime on the file as it is, or the reference evaluator where that cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fidelite.errors import RuntimeCrash
from fidelite.runtime.protocol import Array, Arrays, Port, Session

if TYPE_CHECKING:
    from fidelite.source.load import Source


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

    whole = source.model.clone()
    onnx_ir.external_data.load_to_model(whole)
    return onnx_ir.to_proto(whole).SerializeToString()


def _reference(content: Path | bytes, crash: RuntimeCrash) -> Session:
    from fidelite.runtime.reference import ReferenceSession

    try:
        return ReferenceSession(content)
    except RuntimeCrash:
        raise crash from None
