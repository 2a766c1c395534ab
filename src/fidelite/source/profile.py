"""What `fidelite inspect` tells of an ONNX model, as plain data: edge, operators, weights, costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import onnx_ir as ir

from fidelite.options import PRECISIONS
from fidelite.source.load import Source
from fidelite.source.measure import Shapes, infer_shapes, multiplications, peak_activations, value_bytes
from fidelite.source.node import plain_domain
from fidelite.source.shapes import select_outputs
from fidelite.source.sizes import all_graphs, expected_sizes, weight_tensors
from fidelite.source.text import quoted

_INNER_BITS = {"int8": 8, "int16x8": 16}
"""Bits of an inner float value per precision; 32 in all others."""


@dataclass(frozen=True, slots=True)
class Edge:
    """An input or output."""

    name: str
    type: str
    """The element type's name: `float32`."""
    shape: tuple[int | str | None, ...] | None
    """Dimensions as numbers, symbols, or None where unknown; None where even the rank is."""
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the model's tensors lie."""

    tensors: int
    parameters: int
    """Numbers in float tensors."""
    inline_tensors: int
    inline_bytes: int
    external_tensors: int
    external_bytes: int
    missing_tensors: int
    missing_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What one precision costs, estimated."""

    file_bytes: int
    memory_bytes: int
    """Weights and the peak of the values alive at once."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What one of the user's choices brings."""

    option: str
    """As it is pasted after `fidelite convert MODEL`."""
    what: str
    output_bytes: int | None
    """Of all outputs, with it."""
    saves_output_bytes: int | None
    file_bytes: int
    memory_bytes: int
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Facts about an ONNX model. Bytes are bytes, estimates are named so in their docstrings."""

    path: str
    file_bytes: int
    total_bytes: int
    producer: str
    producer_version: str
    ir_version: int
    opsets: dict[str, int]
    """Domain (`ai.onnx` for the standard's) -> version."""
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    nodes: int
    ops: dict[str, int]
    """Operator -> how often, most frequent first; `domain::Op` outside the standard. Inner graphs count."""
    functions: tuple[str, ...]
    weights: Weights
    macs: int | None
    """Multiply-accumulates of one run; None where no shape is known."""
    macs_unknown: int
    """Nodes that `macs` leaves out since a shape is unknown."""
    input_bytes: int | None
    output_bytes: int | None
    activation_bytes: int
    """Peak of the float32 values alive at once, estimated."""
    activation_unknown: int
    costs: dict[str, Cost]
    """Precision -> estimate."""
    choices: tuple[Choice, ...]
    missing: tuple[dict[str, Any], ...] = field(default=())
    problems: tuple[dict[str, Any], ...] = field(default=())
    notices: tuple[dict[str, Any], ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return _plain(asdict(self))


def profile(source: Source) -> Profile:
    """Measure a model that was read. Weights may be missing: only their shapes are used.

    A batch that can only be one number is taken as that number.
    """
    model = source.model.clone()
    Source(model=model, implied_shapes=source.implied_shapes).fix_shapes()
    shapes = infer_shapes(model)
    macs = multiplications(model.graph.all_nodes(), shapes)
    peak = peak_activations(model.graph, shapes)
    ops = operator_counts(model)
    outputs = _edges(source.model.graph.outputs, shapes)
    inputs = _edges(source.model.graph.inputs, shapes)
    return Profile(
        path=str(source.path or ""),
        file_bytes=source.file_size,
        total_bytes=source.total_size,
        producer=model.producer_name or "",
        producer_version=model.producer_version or "",
        ir_version=model.ir_version,
        opsets={plain_domain(d) or "ai.onnx": v for d, v in sorted(model.opset_imports.items())},
        inputs=inputs,
        outputs=outputs,
        nodes=sum(ops.values()),
        ops=ops,
        functions=tuple("::".join(p for p in key if p) for key in model.functions),
        weights=_weights(source),
        macs=macs.total if macs.total or not macs.unknown else None,
        macs_unknown=macs.unknown,
        input_bytes=_sum(e.bytes for e in inputs),
        output_bytes=_sum(e.bytes for e in outputs),
        activation_bytes=peak.total,
        activation_unknown=peak.unknown,
        costs=costs(model, shapes),
        choices=tuple(_choices(model, shapes, outputs)),
        missing=tuple(asdict(m) for m in source.missing),
        problems=tuple(p.to_json() for p in source.problems),
        notices=tuple(n.to_json() for n in source.notices),
    )


def operator_counts(model: ir.Model) -> dict[str, int]:
    """How often each operator occurs, also in graphs inside nodes and in functions; most frequent first."""
    counts: Counter[str] = Counter()
    for graph in all_graphs(model):
        for node in graph:
            domain = plain_domain(node.domain)
            counts[f"{domain}::{node.op_type}" if domain else node.op_type] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def costs(model: ir.Model, shapes: Shapes) -> dict[str, Cost]:
    """File and memory to expect per precision. Estimates."""
    sizes = expected_sizes(weight_tensors(model), sum(1 for _ in model.graph.all_nodes()))
    peaks = {bits: peak_activations(model.graph, shapes, bits).total for bits in (8, 16, 32)}
    return {p: Cost(sizes[p], sizes[p] + peaks[_INNER_BITS.get(p, 32)]) for p in PRECISIONS}


def _edges(values: Sequence[ir.Value], shapes: Shapes) -> tuple[Edge, ...]:
    edges: list[Edge] = []
    for value in values:
        shape = None
        if value.shape is not None:
            shape = tuple(d if isinstance(d, int) else d.value for d in value.shape)
        bytes_ = value_bytes(value.dtype, shapes.get(value.name or ""), _own_bits(value))
        type_ = _type_name(value)
        edges.append(Edge(value.name or "", type_, shape, bytes_))
    return tuple(edges)


def _own_bits(value: ir.Value) -> int:
    return value.dtype.bitwidth if value.dtype is not None and value.dtype != ir.DataType.STRING else 32


def _type_name(value: ir.Value) -> str:
    """`float32` as numpy calls it; `sequence` and `optional` for what is no tensor."""
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        return type(value.type).__name__.removesuffix("Type").lower()
    if value.dtype is None:
        return ""
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(value.dtype.name, value.dtype.name.lower())


def _weights(source: Source) -> Weights:
    tensors = list(weight_tensors(source.model))
    absent = {name for m in source.missing for name in m.tensors}
    missing = [t for t in tensors if isinstance(t, ir.ExternalTensor) and t.name in absent]
    inline = [t for t in tensors if source.is_inline(t)]
    gone = {id(t) for t in [*missing, *inline]}
    external = [t for t in tensors if id(t) not in gone]
    return Weights(
        tensors=len(tensors),
        parameters=sum(t.size for t in tensors if t.dtype.is_floating_point()),
        inline_tensors=len(inline),
        inline_bytes=_bytes(inline),
        external_tensors=len(external),
        external_bytes=_bytes(external),
        missing_tensors=len(missing),
        missing_bytes=_bytes(missing),
    )


def _bytes(tensors: Iterable[ir.TensorProtocol]) -> int:
    return sum(t.nbytes for t in tensors if t.dtype != ir.DataType.STRING)


def _choices(model: ir.Model, shapes: Shapes, outputs: Sequence[Edge]) -> list[Choice]:
    """What the usual choices bring, each alone."""
    here = costs(model, shapes)
    total = _sum(e.bytes for e in outputs)
    found: list[Choice] = []
    lean = model
    if len(outputs) > 1:
        lean = model.clone()
        select_outputs(lean, [outputs[0].name])
        found.append(_first_only(lean, shapes, outputs[0], total))
    for edge in outputs:
        reduced = _argmax_bytes(edge, shapes.get(edge.name))
        if reduced is None or edge.bytes is None or total is None:
            continue
        saved = edge.bytes - reduced
        found.append(
            Choice(
                f"--argmax {quoted(edge.name)}",
                f"the index of the largest class instead of scores in '{edge.name}'",
                total - saved,
                saved,
                here["float32"].file_bytes,
                here["float32"].memory_bytes - saved,
            )
        )
    for precision in ("int8", "dynamic-int8", "float16"):
        cost = here[precision]
        what = f"{precision} instead of float32"
        found.append(Choice(f"--precision {precision}", what, total, 0, cost.file_bytes, cost.memory_bytes))
    if (together := _together(lean, shapes, outputs, total)) is not None:
        found.append(together)
    return found


def _first_only(lean: ir.Model, shapes: Shapes, first: Edge, total: int | None) -> Choice:
    cost = costs(lean, shapes)["float32"]
    macs = multiplications(lean.graph.all_nodes(), shapes)
    return Choice(
        f"--outputs {quoted(first.name)}",
        "the first output only",
        first.bytes,
        None if total is None or first.bytes is None else total - first.bytes,
        cost.file_bytes,
        cost.memory_bytes,
        macs.total,
    )


def _together(lean: ir.Model, shapes: Shapes, outputs: Sequence[Edge], total: int | None) -> Choice | None:
    """The first output's largest class, in int8: the smallest that the usual choices make of a segmenter."""
    first = outputs[0] if outputs else None
    reduced = _argmax_bytes(first, shapes.get(first.name)) if first is not None else None
    if first is None or first.bytes is None or reduced is None or total is None:
        return None
    cost = costs(lean, shapes)["int8"]
    only = f"--outputs {quoted(first.name)} " if len(outputs) > 1 else ""
    return Choice(
        f"{only}--argmax {quoted(first.name)} --precision int8",
        "these together",
        reduced,
        total - reduced,
        cost.file_bytes,
        cost.memory_bytes - first.bytes + reduced,
        multiplications(lean.graph.all_nodes(), shapes).total,
    )


def _argmax_bytes(edge: Edge, shape: tuple[int | None, ...] | None) -> int | None:
    """Bytes of the int32 index over axis 1, for outputs that look like scores per class and place."""
    if shape is None or len(shape) < 3 or not edge.type.startswith(("float", "bfloat")) or not shape[1]:
        return None
    count = value_bytes(ir.DataType.INT32, (shape[0], *shape[2:]))
    return count if shape[1] > 1 else None


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
