"""Faults that exporters are known to have, as a table. A later one is one more row.

A row's signature says how a model looks that may suffer from the fault. A signature alone warns, since a
sound model may look alike; where it explains a contradiction between operands, the refusal tells it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from fidelite.errors import FideliteError, Notice, Where
from fidelite.source.batch import implied_shapes
from fidelite.source.node import node_name, plain_domain, where_of
from fidelite.source.operands import Contradiction, check_operands, declared_contradictions
from fidelite.source.text import plural, quoted, some


@dataclass(frozen=True, slots=True)
class Evidence:
    """One place where a model shows a fault's signature."""

    value: str
    """The value that is at fault."""
    nodes: tuple[ir.Node, ...]
    text: str
    """What was seen there, in a sentence."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A known fault of an exporter."""

    id: str
    code: str
    """Of the notice that its signature alone brings."""
    level: str
    """Of that notice."""
    symptom: str
    sources: tuple[str, ...]
    mended_by: str
    remedy: Callable[[ir.Model], str]
    """Lines to paste."""
    signature: Callable[[ir.Model], Iterator[Evidence]]


@dataclass(frozen=True, slots=True)
class Faults:
    """What the table says of one model."""

    errors: tuple[FideliteError, ...]
    notices: tuple[Notice, ...]
    found: Mapping[str, tuple[str, ...]]
    """Fault id -> values at fault."""


def find_faults(model: ir.Model, contradictions: Sequence[Contradiction] | None = None) -> Faults:
    """Contradictions, each with the fault that explains it, and warnings for signatures alone."""
    if contradictions is None:
        contradictions = check_operands(model)
    explained: dict[str, tuple[Fault, Evidence]] = {}
    found: dict[str, tuple[str, ...]] = {}
    notices: list[Notice] = []
    at_odds = {c.operand for c in contradictions}
    for fault in FAULTS:
        evidence = list(fault.signature(model))
        if not evidence:
            continue
        found[fault.id] = tuple(e.value for e in evidence)
        explained.update({e.value: (fault, e) for e in evidence})
        silent = [e for e in evidence if e.value not in at_odds]
        if silent:
            notices.append(_warning(fault, silent, model))
    errors: list[FideliteError] = [*declared_contradictions(model)]
    errors += _refusals(model, contradictions, explained)
    return Faults(tuple(errors), tuple(notices), found)


def _warning(fault: Fault, evidence: Sequence[Evidence], model: ir.Model) -> Notice:
    return Notice(
        fault.code,
        f"{fault.symptom}: {'; '.join(e.text for e in evidence[:6])}"
        + (f"; and {len(evidence) - 6} more" if len(evidence) > 6 else "")
        + f" ({', '.join(fault.sources)}; {fault.mended_by})",
        remedy=fault.remedy(model),
        where=where_of(evidence[0].nodes[0], model.opset_imports) if evidence[0].nodes else Where(),
        level=fault.level,
    )


def _refusals(
    model: ir.Model, contradictions: Sequence[Contradiction], explained: Mapping[str, tuple[Fault, Evidence]]
) -> Iterator[FideliteError]:
    """One error per operand, with all nodes at which it is wrong in the same way."""
    groups: dict[tuple[str, str, int, int], list[Contradiction]] = {}
    for c in contradictions:
        key = (
            (c.operand, c.role, c.found, c.needed) if c.operand else (c.where.node, c.role, c.found, c.needed)
        )
        groups.setdefault(key, []).append(c)
    for first, *rest in groups.values():
        also = [c.where.node for c in rest]
        if first.operand not in explained:
            yield first.error(also)
            continue
        fault, evidence = explained[first.operand]
        note = (
            f"{evidence.text[:1].upper()}{evidence.text[1:]}: a known fault of the exporter "
            f"({', '.join(fault.sources)}; {fault.mended_by})"
        )
        error = first.error(also, note, fault.remedy(model))
        error.details |= {"fault": fault.id, "sources": list(fault.sources), "mended_by": fault.mended_by}
        yield error


# One bias for several convolutions

_WITH_BIAS = frozenset(("Conv", "ConvTranspose", "Gemm"))
_TORCH_AT_FAULT = re.compile(r"2\.9(\D|$)")


def _shared_bias(model: ir.Model) -> Iterator[Evidence]:
    """onnxscript fused BatchNormalization into the node before it, and named the bias after its *input*.

    Two nodes with the same input then got one bias, that of whichever was fused last. So: one `<input>_bias`
    initializer, of a model that PyTorch exported, on nodes that read the same `<input>` through different
    weights. For PyTorch 2.9, whose exports are known to have the fault, any `*_bias` shared so will do, since
    later steps of the exporter may rename values.
    """
    if model.producer_name != "pytorch":
        return
    at_fault = _TORCH_AT_FAULT.match(model.producer_version or "") is not None
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            if not name.endswith("_bias") or "." in name.removesuffix("_bias"):
                continue
            nodes = [node for node, index in value.uses() if index == 2 and _takes_bias(node)]
            if len({id(n.inputs[1]) for n in nodes}) < 2:
                continue
            named_after_input = all(
                n.inputs[0] is not None and f"{n.inputs[0].name}_bias" == name for n in nodes
            )
            if named_after_input or at_fault:
                yield Evidence(
                    name,
                    tuple(nodes),
                    f"'{name}' serves {plural(len(nodes), 'node')} with different weights "
                    f"({some([node_name(n) for n in nodes])})",
                )


def _takes_bias(node: ir.Node) -> bool:
    return node.op_type in _WITH_BIAS and plain_domain(node.domain) == ""


def _export_again(model: ir.Model) -> str:
    """The lines that export the same network with a mended exporter."""
    shapes = [
        ", ".join(str(d) if isinstance(d, int) else "1" for d in (value.shape or ()))
        for value in model.graph.inputs
    ]
    inputs = ", ".join(f"torch.zeros({shape})" for shape in shapes)
    names = [v.name for v in model.graph.inputs]
    outputs = [v.name for v in model.graph.outputs]
    return (
        'pip install --upgrade "torch>=2.10" "onnxscript>=0.5.7"\n'
        "    then export again, in Python:\n"
        f"    torch.onnx.export(model.eval(), ({inputs},), 'model.onnx', dynamo=True, external_data=False, "
        f"input_names={names}, output_names={outputs})"
    )


SHARED_BIAS = Fault(
    id="shared-bias",
    code="W340",
    level="warning",
    symptom="these biases may hold the values of another layer",
    sources=("pytorch/pytorch #166797", "microsoft/onnxscript #2680"),
    mended_by="onnxscript 0.5.0 to 0.5.6 have it, 0.5.7 mends it",
    remedy=_export_again,
    signature=_shared_bias,
)


# A dynamic batch that is fixed inside


def _batch_fixed_inside(model: ir.Model) -> Iterator[Evidence]:
    """See `batch.implied_shapes`. The batch is taken as what can work, unless the user says otherwise."""
    declared = {v.name or "": v.shape for v in model.graph.inputs}
    for name, shape in implied_shapes(model).items():
        symbol = declared[name]
        assert symbol is not None
        yield Evidence(
            name,
            (),
            f"'{name}' declares {symbol[0]}, while the outputs and sizes inside are fixed at {shape[0]}; "
            f"only {shape[0]} can work, so it is taken as {shape[0]}",
        )


def _shape_options(model: ir.Model) -> str:
    return "to say it yourself: " + " ".join(
        f"--shape {quoted(name)}=" + ",".join(str(d) if isinstance(d, int) else "N" for d in shape)
        for name, shape in implied_shapes(model).items()
    )


BATCH_FIXED_INSIDE = Fault(
    id="batch-fixed-inside",
    code="N342",
    level="notice",
    symptom="the batch is declared dynamic, but the graph works for one size only",
    sources=("pytorch/pytorch #148886",),
    mended_by="export without dynamic_axes and dynamic_shapes, and the file says so itself",
    remedy=_shape_options,
    signature=_batch_fixed_inside,
)

FAULTS: tuple[Fault, ...] = (SHARED_BIAS, BATCH_FIXED_INSIDE)
"""All known faults. A signature alone is told with the row's code and level."""
