"""Prove a result against its source: the samples to ask with, the edge between the two, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from fidelite.check.exported import compare_exported
from fidelite.check.grids import computes_on_grids, tolerances
from fidelite.check.indices import Choice, choices_of
from fidelite.check.oracle import Remembered, SelectedOutputs, open_program, open_source
from fidelite.check.questions import sample_sets
from fidelite.check.stored import RealValues, stored_ports
from fidelite.check.tolerance import Tolerance
from fidelite.check.verdict import Verification
from fidelite.check.verify import Scores, verify_sessions
from fidelite.edge import Edge
from fidelite.errors import RuntimeCrash
from fidelite.options import CALIBRATED
from fidelite.runtime.litert import Delegation, LiteRtSession
from fidelite.runtime.protocol import Arrays, Port, Session
from fidelite.tflite.graph import Graph, Tensor
from fidelite.tflite.grid import Grid

if TYPE_CHECKING:
    import onnx_ir

    from fidelite.source.pytorch.program import Program

Progress = Callable[[str, int, int], None]

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
    program: Program | None = None
    """The PyTorch network that `source` was exported from: then it is what the result must agree with, and of a float32
    result `source` must agree with it too."""
    own: Sequence[Arrays] = ()
    """Samples to ask with where the user gave no file of them: an integer file is asked with the user's own data."""

    def run(self, tflite: Path, on_progress: Progress | None = None,
            on_delegation: Callable[[Delegation], None] | None = None,
            session: Callable[[Path], Session] | None = None) -> Verification:
        """Compare `tflite` with the source. `on_delegation` is told which operators XNNPACK takes, by the same process
        that ran them. `session` opens the file in another runtime than LiteRT. Raises RuntimeCrash, BadSample."""
        opened = session or (lambda path: _Told(path, on_delegation))
        stored = self._stored
        if stored:
            plain = opened
            opened = lambda path: RealValues(plain(path), stored)  # noqa: E731
        names = [t.name for t in self.graph.outputs]
        ports = self._ports
        last: RuntimeCrash | None = None
        for samples in self._samples(ports):
            try:
                oracle, exported = self._oracle(names, samples, on_progress)
                found = verify_sessions(
                    oracle, lambda: opened(tflite), samples,
                    transform_source=self.edge.to_source,
                    transform_out=lambda found: self.edge.from_source({n: found[n] for n in names}),
                    tolerance=self.tolerance or self._tolerance(),
                    constant_outputs=_constant_outputs(self.graph), scores=self._scores,
                    class_axes=self.class_axes(), steady_source=self._is_steady, on_progress=on_progress)
                return replace(found, exported=exported)
            except RuntimeCrash as crash:
                if all(isinstance(d, int) for p in ports for d in p.shape) or self.samples is not None:
                    raise
                last = crash  # a free dimension may need another size
        assert last is not None
        raise last

    @property
    def _is_steady(self) -> bool:
        return self.program is None and _is_steady(self.model)

    def _oracle(self, names: Sequence[str], samples: Sequence[Arrays], on_progress: Progress | None) \
            -> tuple[Callable[[], Session], Verification | None]:
        """What the result must agree with; with PyTorch at hand, also whether the exported model agrees with it."""
        program = self.program
        if program is None:
            behind = list(dict.fromkeys(c.scores for c in self._choices.values() if c.scores not in names))
            return lambda: open_source(self.source, names, behind), None
        inputs = [t.name for t in self.graph.inputs]
        oracle = Remembered(lambda: SelectedOutputs(open_program(program, inputs), names))
        if self.precision != "float32":
            return oracle, None  # its float graph was proven before, from the exported model on
        return oracle, compare_exported(oracle, self.source, self.model, [self.edge.to_source(s) for s in samples],
                                        names, _constant_outputs(self.graph), on_progress)

    @property
    def _stored(self) -> Mapping[str, Grid]:
        """Inputs and outputs that are float32 in the source and integers in the file."""
        return stored_ports(self.graph) if self.precision in CALIBRATED else {}

    @property
    def _ports(self) -> list[Port]:
        ports = [port_of(t) for t in self.graph.inputs]
        return [replace(p, dtype="float32") if p.name in self._stored else p for p in ports]

    @property
    def came_quantized(self) -> bool:
        """Whether the result is the source's own integers: nothing else stores values as such in float32."""
        return self.precision == "float32" and computes_on_grids(self.graph)

    def _tolerance(self) -> Tolerance | Mapping[str, Tolerance]:
        return tolerances(self.graph) if self.came_quantized else Tolerance.for_precision(self.precision)

    def first_samples(self) -> Sequence[Arrays]:
        """Samples for the result, of the kind that `run` asks with."""
        return self._samples(self._ports)[0]

    def _samples(self, ports: Sequence[Port]) -> Sequence[Sequence[Arrays]]:
        """Sets of samples to try, of values that the source's own element types have."""
        sets = [self.own] if self.own and self.samples is None else sample_sets(ports, self.model, self.edge,
                                                                                self.samples)
        return [[self.edge.representable(sample) for sample in samples] for samples in sets]

    def _scores(self, name: str, answers: Arrays) -> Scores | None:
        """The scores behind an output of indices, which the edge or the source itself made."""
        edge = self.edge.outputs.get(name)
        if edge is not None and edge.argmax_axis is not None:
            return Scores(answers[name], edge.argmax_axis)
        choice = self._choices.get(name)
        return None if choice is None or choice.scores not in answers else Scores(answers[choice.scores], choice.axis)

    @cached_property
    def _choices(self) -> Mapping[str, Choice]:
        """Outputs that the source makes as indices, where the edge leaves their axes alone."""
        plain = [t.name for t in self.graph.outputs
                 if t.name not in self.edge.outputs or not self.edge.outputs[t.name].permutation]
        return choices_of(self.model, plain)

    def class_axes(self) -> dict[str, int]:
        """Where outputs have what may be class scores: the channels, wherever the edge puts them."""
        axes: dict[str, int] = {}
        for tensor in self.graph.outputs:
            edge = self.edge.outputs.get(tensor.name)
            axis = tensor.rank - 1 if edge is not None and edge.permutation else 1
            real = tensor.element.is_float or tensor.name in self._stored
            if tensor.rank >= 2 and real and tensor.rank > axis:
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


def port_of(tensor: Tensor) -> Port:
    """A graph's input or output as sessions have it; a symbolic dimension by its text."""
    shape = tuple(d if isinstance(d, int) else str(d) for d in tensor.shape)
    return Port(tensor.name, tensor.element.dtype.name, shape)


def _constant_outputs(graph: Graph) -> list[str]:
    """Outputs that no input reaches."""
    reached: set[Tensor] = set(graph.inputs)
    for operator in graph.operators:
        if any(t in reached for t in operator.inputs if t is not None):
            reached.update(operator.outputs)
    return [t.name for t in graph.outputs if t not in reached]
