"""Find the first step that diverges: every step is fed the source's own values, so that drift blames nobody.

A step is what lies between tensors that hold source values. The graph is taken apart at those tensors: each becomes
an input, fed with what the source computed, and an output, compared with it. One run tells all steps; where LiteRT
dies in it, the steps are halved until the one that kills it is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fidelite.check.compare import OutputComparison, compare_arrays
from fidelite.check.grids import as_stored, step_size
from fidelite.check.judge import STEP_AND_A_BIT
from fidelite.check.oracle import open_source
from fidelite.edge import Edge
from fidelite.errors import RuntimeCrash
from fidelite.runtime.litert import LiteRtSession
from fidelite.runtime.process import Worker
from fidelite.runtime.protocol import Array, Arrays
from fidelite.tflite.graph import Graph, Model, Operator, Tensor, with_called

if TYPE_CHECKING:
    import onnx_ir

STEP_TOLERANCE: Mapping[str, float] = {"float32": 1e-4, "float16": 5e-3, "dynamic-int8": 0.1}
"""By precision: the largest error of one step, as a share of the largest magnitude of its result (plus the floor)."""
FLOOR = 1e-6
MAX_BYTES = 512 << 20
"""Values of the source kept at a time; larger graphs are taken in several passes."""


@dataclass(frozen=True, slots=True)
class Step:
    """Operators, in running order, that lead from values of the source (`feeds`) to one (`target`)."""

    target: Tensor
    operators: tuple[Operator, ...]
    feeds: tuple[Tensor, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The source nodes that the operators came from, in order."""
        return tuple(dict.fromkeys(node for operator in self.operators for node in operator.nodes))


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first step whose result differs while its inputs agree."""

    value: str
    """The source value that came out differently."""
    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    comparison: OutputComparison | None
    crash: str = ""
    step: Step | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "nodes": list(self.nodes), "operators": list(self.operators),
                "comparison": None if self.comparison is None else self.comparison.to_json(), "crash": self.crash}

    def __str__(self) -> str:
        where = f"node {', '.join(repr(n) for n in self.nodes)} ({' + '.join(self.operators)})"
        if self.crash:
            return f"{where} makes LiteRT fail: {self.crash}"
        assert self.comparison is not None
        figures = self.comparison.figures
        what = self.comparison.problem or (
            f"max error {figures.max_abs:.4g} where values reach {figures.scale:.4g}" if figures else "it differs")
        return f"{where} computes '{self.value}' differently: {what}"


@dataclass
class Bisection:
    """`model` has origins on its tensors; `source` is a file or its bytes; `sample` is fed to the result."""

    model: Model
    source: Path | bytes
    edge: Edge
    known: set[str]
    """Names of the source's values that can be asked for."""
    precision: str = "float32"

    def run(self, sample: Arrays) -> Divergence | None:
        """The first diverging step in running order, or None where every step agrees."""
        graph = self.model.main
        outputs = [t.name for t in graph.outputs]
        worker = Worker(timeout=600.0)
        try:
            for steps in _batches(steps_of(graph, self.known)):
                wanted = {t.origin.value for s in steps for t in (s.target, *s.feeds) if t.origin is not None}
                values = self._source_values(sample, outputs, sorted(wanted))
                found = self._first(steps, values, sample, worker)
                if found is not None:
                    return found
            return None
        finally:
            worker.close()

    def _source_values(self, sample: Arrays, outputs: Sequence[str], wanted: Sequence[str]) -> dict[str, Array]:
        feeds = self.edge.to_source(sample)
        extra = [name for name in wanted if name not in feeds and name not in outputs]
        with open_source(self.source, outputs, extra) as session:
            found = session.run(feeds)
        changed = self.edge.from_source({n: found[n] for n in outputs})
        return {**feeds, **found, **{f"{n}\0edge": v for n, v in changed.items()}}

    def _expected(self, tensor: Tensor, values: Mapping[str, Array]) -> Array:
        if tensor.origin is None:  # an output that the edge changed
            return values[f"{tensor.name}\0edge"]
        array = as_stored(values[tensor.origin.value], tensor)
        return array.transpose(tensor.origin.permutation) if tensor.origin.permutation else array

    def _first(self, steps: Sequence[Step], values: Mapping[str, Array], sample: Arrays,
               worker: Worker) -> Divergence | None:
        try:
            found = self._run_steps(steps, values, sample, worker)
        except RuntimeCrash as crash:
            if len(steps) == 1:
                return _divergence(steps[0], None, crash.reason)
            half = len(steps) // 2
            return self._first(steps[:half], values, sample, worker) or \
                self._first(steps[half:], values, sample, worker)
        for step in steps:
            comparison = compare_arrays(self._expected(step.target, values), found[step.target])
            share = STEP_TOLERANCE.get(self.precision, STEP_TOLERANCE["float32"])
            if _differs(comparison, share, step_size(step.target)):
                return _divergence(step, comparison, "")
        return None

    def _run_steps(self, steps: Sequence[Step], values: Mapping[str, Array], sample: Arrays,
                   worker: Worker) -> dict[Tensor, Array]:
        from fidelite.write.flatbuffer import write_model

        cut, feeds, names = explode(steps)
        stream = BytesIO()
        write_model(cut, stream)
        arrays: dict[str, Array] = {}
        for name, tensor in feeds.items():
            array = sample[tensor.name] if tensor.origin is None else self._expected(tensor, values)
            arrays[name] = np.asarray(array, order="C")
        with LiteRtSession(stream.getvalue(), worker=worker) as session:
            found = session.run(arrays)
        return {tensor: found[name] for name, tensor in names.items()}


def steps_of(graph: Graph, known: set[str]) -> list[Step]:
    """The steps of a graph, in running order. Values that the source does not show lie inside steps."""
    outputs = graph.output_set()

    def shown(tensor: Tensor) -> bool:
        return tensor.origin is not None and tensor.origin.value in known

    steps: list[Step] = []
    order = {operator: i for i, operator in enumerate(graph.operators)}
    for operator in graph.operators:
        for target in operator.outputs:
            if shown(target) or target in outputs:
                steps.append(_step(target, shown, order))
    return steps


def _step(target: Tensor, shown: Callable[[Tensor], bool], order: Mapping[Operator, int]) -> Step:
    operators: dict[Operator, None] = {}
    feeds: dict[Tensor, None] = {}
    pending = [target]
    while pending:
        maker = pending.pop().producer
        if maker is None or maker in operators:
            continue
        operators[maker] = None
        for tensor in maker.inputs:
            if tensor is None or tensor.is_constant:
                continue
            if tensor.producer is None or (shown(tensor) and tensor is not target):
                feeds[tensor] = None
            else:
                pending.append(tensor)
    return Step(target, tuple(sorted(operators, key=order.__getitem__)), tuple(feeds))


def _batches(steps: Sequence[Step]) -> list[list[Step]]:
    batches: list[list[Step]] = [[]]
    size = 0
    for step in steps:
        cost = sum(tensor_bytes(t) for t in (step.target, *step.feeds))
        if batches[-1] and size + cost > MAX_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(step)
        size += cost
    return batches


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's values; open dimensions are taken as 64."""
    return int(np.prod([d if isinstance(d, int) else 64 for d in tensor.shape])) * tensor.element.bits // 8


def explode(steps: Sequence[Step]) -> tuple[Model, dict[str, Tensor], dict[str, Tensor]]:
    """A model of unconnected steps; its inputs and its outputs by name, each with the tensor it stands for."""
    graph = Graph("main")
    inputs: dict[Tensor, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    for number, step in enumerate(steps):
        inner: dict[Tensor, Tensor] = {}

        def operand(tensor: Tensor | None, inner: dict[Tensor, Tensor] = inner, step: Step = step) -> Tensor | None:
            if tensor is None or tensor.is_constant:
                return _copy(tensor) if tensor is not None else None
            if tensor in step.feeds and tensor not in inner:
                if tensor not in inputs:
                    inputs[tensor] = Tensor(f"in{len(inputs)}", tensor.element, tensor.shape,
                                            quantization=tensor.quantization)
                    graph.inputs.append(inputs[tensor])
                return inputs[tensor]
            return inner[tensor]

        for operator in step.operators:
            results = []
            for tensor in operator.outputs:
                inner[tensor] = _copy(tensor)
                results.append(inner[tensor])
            copy = Operator(operator.op, [operand(t) for t in operator.inputs], results, operator.options,
                            graphs=operator.graphs)
            graph.append(copy)
        result = inner[step.target]
        result.name = f"out{number}"
        graph.outputs.append(result)
        outputs[result.name] = step.target
    return Model(with_called(graph)), {t.name: source for source, t in inputs.items()}, outputs


def _copy(tensor: Tensor) -> Tensor:
    return Tensor(tensor.name, tensor.element, tensor.shape, constant=tensor.constant,
                  quantization=tensor.quantization)


def _differs(comparison: OutputComparison, share: float, grid_step: float | None) -> bool:
    """`grid_step`: that of the grid which the value lies on; it may have been rounded to the other side."""
    if comparison.problem:
        return True
    figures = comparison.figures
    if figures is None:  # no element is finite, and all are alike
        return False
    if grid_step is not None:
        return figures.max_abs > max(STEP_AND_A_BIT * grid_step, share * figures.scale)
    if not comparison.expected_dtype.startswith(("float", "bfloat", "complex")):
        return bool(figures.differing)
    return figures.max_abs > share * figures.scale + FLOOR


def _divergence(step: Step, comparison: OutputComparison | None, crash: str) -> Divergence:
    value = step.target.origin.value if step.target.origin is not None else step.target.name
    ops = tuple(dict.fromkeys(operator.op for operator in step.operators))
    return Divergence(value, step.nodes, ops, comparison, crash, step)


def cut_source(model: onnx_ir.Model, step: Step) -> onnx_ir.Model:
    """The source model cut down to what a step computes: its inputs are the values that the step is fed."""
    import onnx_ir

    values = {v.name: v for v in _all_values(model.graph)}
    names = dict.fromkeys(t.name if t.origin is None else t.origin.value for t in step.feeds)
    inputs = [values[n] for n in names if n in values]
    name = step.target.origin.value if step.target.origin is not None else step.target.name
    graph = onnx_ir.convenience.extract(model.graph, inputs=[v.name or "" for v in inputs], outputs=[name])
    return onnx_ir.Model(graph, ir_version=model.ir_version, producer_name="fidelite bisect")


def _all_values(graph: onnx_ir.Graph) -> list[onnx_ir.Value]:
    return [*graph.inputs, *(v for node in graph for v in node.outputs)]


