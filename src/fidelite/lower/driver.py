"""Walk an ONNX graph once and lower each node, keeping what is known about values as it goes.

One walk does shape inference (the Builder's), constant folding (`fold`, given by the pipeline) and lowering, so all
three agree, and the time is linear in the nodes. Every node that cannot be lowered is collected; they are raised
together. `scope` does the work for one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fidelite.errors import ConversionError, FideliteError, Notice, UnsupportedType, raise_all
from fidelite.lower.carried import carried_type
from fidelite.lower.scope import Fold, Run, Scope
from fidelite.lower.values import element_type
from fidelite.lower.values import onnx_element_type as onnx_element_type
from fidelite.source.element import element_type_of
from fidelite.source.node import plain_domain
from fidelite.tflite.dims import Dim, SymbolicDim
from fidelite.tflite.graph import Graph, Model, Origin, Signature, Tensor

if TYPE_CHECKING:
    import onnx_ir


@dataclass
class Lowered:
    """What lowering gives: the model, and what was said on the way."""

    model: Model
    notices: list[Notice] = field(default_factory=list[Notice])
    folded: int = 0
    """Nodes whose value was known when converting."""
    carried_inputs: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Inputs whose values are carried in another type: the source's and the file's, as numpy names them."""
    carried_outputs: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


def lower_model(source: onnx_ir.Model, *, fold: Fold,
                on_node: Callable[[int, int], None] | None = None) -> Lowered:
    """The model in TFLite's operators, in ONNX's axis order. Raises ConversionErrors, all that were found."""
    run = Run(fold, {plain_domain(d): v for d, v in source.opset_imports.items()})
    scope = Scope(run, Graph("main"))
    for value in source.graph.inputs:
        if not value.is_initializer():
            _input(scope, value)
    total = len(source.graph)
    for index, node in enumerate(source.graph):
        if on_node is not None and not index % 64:
            on_node(index, total)
        scope.lower(node)
    raise_all(_summarised(run.errors))
    _outputs(scope, source.graph.outputs)
    graph = scope.graph
    model = Model([graph], [Signature("serving_default", graph, [(t.name, t) for t in graph.inputs],
                                      [(t.name, t) for t in graph.outputs])])
    _add_called_graphs(model)
    if scope.b.narrowed:
        names = ", ".join(sorted(scope.b.narrowed))
        run.notices.append(Notice(
            "W430", f"{names} arithmetic is done in float32: LiteRT has no kernels for it", level="warning",
            remedy="the proof uses float32's tolerance"))
    carried_in = _carried(run, [v for v in source.graph.inputs if not v.is_initializer()], "input")
    carried_out = _carried(run, source.graph.outputs, "output")
    return Lowered(model, run.notices, run.folded, carried_in, carried_out)


def _carried(run: Run, values: Sequence[onnx_ir.Value], what: str) -> dict[str, tuple[str, str]]:
    """Those of the model's inputs or outputs that have another element type in the file, which is said."""
    found: dict[str, tuple[str, str]] = {}
    for value in values:
        dtype = element_type_of(value, run.opsets)
        row = carried_type(dtype)
        if dtype is not None and row is not None:
            found[value.name or ""] = (row.dtype, row.element.dtype.name)
            run.notices.append(Notice(
                "W431", f"the {what} '{value.name}' is {dtype.name} in the model and {row.element.dtype.name} in the "
                f"file, with the same values: {row.reason}", level="warning",
                remedy=f"{'give' if what == 'input' else 'read'} its values as {row.element.dtype.name}"))
    return found


def _input(scope: Scope, value: onnx_ir.Value) -> None:
    import onnx_ir

    if isinstance(value.type, onnx_ir.SequenceType | onnx_ir.OptionalType):
        raise UnsupportedType(f"input '{value.name}' is a sequence or an optional, which LiteRT does not have",
                              remedy="give its elements to the model as inputs of their own")
    if value.shape is None:
        raise ConversionError(f"input '{value.name}' has no shape at all, not even its number of dimensions",
                              code="F451", remedy=f"give it one: --shape {value.name}=1,3,512,512")
    shape: list[Dim] = []
    dims: Sequence[Any] = list(value.shape)
    tensor = Tensor(value.name or "", element_type(value), ())
    for axis, dim in enumerate(dims):
        if isinstance(dim, int):
            shape.append(dim)
        else:
            name = str(dim.value) if dim.value is not None else f"{value.name}_{axis}"
            shape.append(SymbolicDim.symbol(name))
            scope.b.symbol_sources.setdefault(name, (tensor, axis))
    tensor.shape = tuple(shape)
    tensor.origin = Origin(value.name or "")
    scope.graph.inputs.append(tensor)
    scope.values[value] = tensor


def _outputs(scope: Scope, outputs: Sequence[onnx_ir.Value]) -> None:
    """Give every output a tensor of its own that bears its name."""
    graph = scope.graph
    taken: set[Tensor] = set(graph.inputs)
    scope.b.nodes, scope.b.made_by = (), "outputs"
    for value in outputs:
        tensor = scope.tensor(value)
        if tensor in taken or tensor.is_constant or tensor.origin is None or tensor.origin.value != value.name:
            tensor = scope.copy(tensor)
            tensor.origin = Origin(value.name or "")
        tensor.name = value.name or ""
        taken.add(tensor)
        graph.outputs.append(tensor)


def _add_called_graphs(model: Model) -> None:
    """Let the model hold every graph that an operator of its graphs calls."""
    for graph in model.graphs:  # grows while it is walked
        for operator in graph.operators:
            model.graphs += [called for called in operator.graphs if called not in model.graphs]


def _summarised(errors: Sequence[FideliteError]) -> list[FideliteError]:
    """Internal errors first (they are ours), then the refusals in graph order."""
    return sorted(errors, key=lambda e: e.exit_code != 1)
