"""Prove a result against its source: the samples to ask with, the edge between the two, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from fidelite.check.hints import hints_of
from fidelite.check.inputs import make_inputs
from fidelite.check.oracle import open_source
from fidelite.check.samples import load_samples
from fidelite.check.tolerance import Tolerance
from fidelite.check.verdict import Verification
from fidelite.check.verify import Scores, verify_sessions
from fidelite.edge import Edge
from fidelite.errors import RuntimeCrash
from fidelite.runtime.litert import Delegation, LiteRtSession
from fidelite.runtime.protocol import Arrays, Port, Session
from fidelite.tflite.graph import Graph, Tensor

if TYPE_CHECKING:
    import onnx_ir

Progress = Callable[[str, int, int], None]

# Sizes tried for free dimensions: of the batch (axis 0), of the spatial axes of pictures, of other axes. What a row
# does not suit (a window that is longer, a table of positions that is shorter), a later one may.
_FREE_SIZES = ((1, 64, 8), (2, 96, 12), (1, 224, 16), (2, 256, 32), (1, 512, 64), (2, 320, 300), (1, 640, 576),
               (1, 32, 1024), (2, 48, 4096))
_MOST_CLASSES = 4096


@dataclass(frozen=True)
class Proof:
    """What is compared: `source` (a file or its bytes), the graph it became, and the edge between the two."""

    source: Path | bytes
    model: onnx_ir.Model
    graph: Graph
    edge: Edge
    precision: str = "float32"
    samples: Path | None = None
    tolerance: Tolerance | None = None

    def run(self, tflite: Path, on_progress: Progress | None = None,
            on_delegation: Callable[[Delegation], None] | None = None,
            session: Callable[[Path], Session] | None = None) -> Verification:
        """Compare `tflite` with the source. `on_delegation` is told which operators XNNPACK takes, by the same process
        that ran them. `session` opens the file in another runtime than LiteRT. Raises RuntimeCrash, BadSample."""
        opened = session or (lambda path: _Told(path, on_delegation))
        names = [t.name for t in self.graph.outputs]
        ports = [_port(t) for t in self.graph.inputs]
        last: RuntimeCrash | None = None
        for samples in self._samples(ports):
            try:
                return verify_sessions(
                    lambda: open_source(self.source, names), lambda: opened(tflite), samples,
                    transform_source=self.edge.to_source, transform_out=self.edge.from_source,
                    tolerance=self.tolerance or Tolerance.for_precision(self.precision),
                    constant_outputs=_constant_outputs(self.graph), scores=self._scores,
                    class_axes=self._class_axes(), steady_source=_is_steady(self.model), on_progress=on_progress)
            except RuntimeCrash as crash:
                if all(isinstance(d, int) for p in ports for d in p.shape) or self.samples is not None:
                    raise
                last = crash  # a free dimension may need another size
        assert last is not None
        raise last

    def first_samples(self) -> Sequence[Arrays]:
        """Samples for the result, of the kind that `run` asks with."""
        return self._samples([_port(t) for t in self.graph.inputs])[0]

    def _samples(self, ports: Sequence[Port]) -> Sequence[Sequence[Arrays]]:
        """Sets of samples to try, of values that the source's own element types have."""
        return [[self.edge.representable(sample) for sample in samples] for samples in self._made_samples(ports)]

    def _made_samples(self, ports: Sequence[Port]) -> Sequence[Sequence[Arrays]]:
        """Sets of samples: the user's, or made ones; with free dimensions, several sizes."""
        if self.samples is not None:
            return [load_samples(self.samples, ports)]
        hints = hints_of(self.model, self.edge)
        if all(isinstance(d, int) for p in ports for d in p.shape):
            return [make_inputs(ports, hints=hints)]
        sets: list[Sequence[Arrays]] = []
        for i in range(len(_FREE_SIZES) - 1):
            first, second = (_sizes(ports, row) for row in _FREE_SIZES[i:i + 2])
            made = make_inputs(ports, hints=hints, symbols=first)
            sets.append([*made, *make_inputs(ports, count=1, seed=1, hints=hints, symbols=second)])
        return sets

    def _scores(self, name: str, answers: Arrays) -> Scores | None:
        """The scores behind an output that the edge turned into indices."""
        edge = self.edge.outputs.get(name)
        if edge is None or edge.argmax_axis is None:
            return None
        return Scores(answers[name], edge.argmax_axis)

    def _class_axes(self) -> dict[str, int]:
        """Where outputs have what may be class scores: the channels, wherever the edge puts them."""
        axes: dict[str, int] = {}
        for tensor in self.graph.outputs:
            edge = self.edge.outputs.get(tensor.name)
            axis = tensor.rank - 1 if edge is not None and edge.permutation else 1
            if tensor.rank >= 2 and tensor.element.is_float and tensor.rank > axis:
                size = tensor.shape[axis]
                if isinstance(size, int) and 2 <= size <= _MOST_CLASSES:
                    axes[tensor.name] = axis
        return axes


class _Told(LiteRtSession):
    """A session that tells what was delegated before it is closed in good order."""

    def __init__(self, tflite: Path, on_delegation: Callable[[Delegation], None] | None) -> None:
        super().__init__(tflite)
        self._on_delegation = on_delegation

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None and self._on_delegation is not None:
                with suppress(RuntimeCrash):  # that it cannot say is no fault of the file, which has run
                    self._on_delegation(self.delegated())
        finally:
            super().__exit__(kind, error, trace)


_UNSTEADY = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
                       "Multinomial", "Dropout"})


def _is_steady(model: onnx_ir.Model) -> bool:
    """Whether the source's operators are all of the standard and none draws random numbers."""
    return all(node.op_type not in _UNSTEADY and node.domain in ("", "ai.onnx", "fidelite")
               for node in model.graph.all_nodes())


def _port(tensor: Tensor) -> Port:
    shape = tuple(d if isinstance(d, int) else str(d) for d in tensor.shape)
    return Port(tensor.name, tensor.element.dtype.name, shape)


def _sizes(ports: Sequence[Port], row: tuple[int, int, int]) -> dict[str, int]:
    batch, picture, other = row
    sizes: dict[str, int] = {}
    for port in ports:
        for axis, dim in enumerate(port.shape):
            if isinstance(dim, str):
                sizes.setdefault(dim, batch if axis == 0 else picture if len(port.shape) == 4 else other)
    return sizes


def _constant_outputs(graph: Graph) -> list[str]:
    """Outputs that no input reaches."""
    reached: set[Tensor] = set(graph.inputs)
    for operator in graph.operators:
        if any(t in reached for t in operator.inputs if t is not None):
            reached.update(operator.outputs)
    return [t.name for t in graph.outputs if t not in reached]
