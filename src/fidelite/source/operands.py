"""Operands of a node, checked against each other without running anything.

Exporters err in ways that `onnx.checker` does not see: a bias of 128 values on a convolution of 512 channels.
One walk in the order of the graph carries what is certain about shapes (from weights and from the inputs'
fixed dimensions, never from the shapes that a model merely declares for its inner values) and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from fidelite.errors import ContradictoryModel, Where
from fidelite.source.known import ELEMENTWISE, Dims, infer, known_shape
from fidelite.source.node import plain_domain, where_of


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two operands of a node that cannot both be right."""

    node: ir.Node
    where: Where
    operand: str
    """Name of the value that is at odds."""
    role: str
    """What it is to the node: "bias", "weight"."""
    found: int
    needed: int
    why: str

    def error(self, also: Sequence[str] = (), note: str = "", remedy: str = "") -> ContradictoryModel:
        """The refusal. `also` names further nodes where it is the same, `note` adds what is known of it."""
        reason = (
            f"its {self.role} '{self.operand}' has {self.found} where {self.needed} are needed ({self.why})"
        )
        if also:
            reason += f"; the same in {', '.join(repr(n) for n in also)}"
        if note:
            reason += f". {note}"
        return ContradictoryModel(
            reason,
            where=self.where,
            remedy=remedy or "export the model again with a newer exporter; no runtime can run this graph",
            details={
                "node": self.where.node,
                "nodes": [self.where.node, *also],
                "operand": self.operand,
                "role": self.role,
                "found": self.found,
                "needed": self.needed,
            },
        )


def check_operands(model: ir.Model) -> list[Contradiction]:
    """All contradictions between operands (F340), in the order of the graph."""
    return list(_Walk(model.opset_imports).graphs(model))


def declared_contradictions(model: ir.Model) -> list[ContradictoryModel]:
    """F341: initializers that the model also declares, as an input or a value, with another shape or type."""
    found: list[ContradictoryModel] = []
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if tensor is None or value.shape is None:
                continue
            held, declared = known_shape(tensor.shape), known_shape(value.shape)
            if len(held) != len(declared) or any(
                d is not None and d != h for h, d in zip(held, declared, strict=True)
            ):
                found.append(
                    ContradictoryModel(
                        f"the tensor '{name}' has the shape {list(held)}, and the model declares "
                        f"{list(declared)}",
                        code="F341",
                        remedy="export the model again",
                        details={"operand": name, "found": list(held), "declared": list(declared)},
                    )
                )
    return found


@dataclass(slots=True)
class _Operands:
    """A node's operands with what is known of their shapes."""

    node: ir.Node
    where: Where
    opset: int
    shapes: list[Dims | None]

    def shape(self, index: int) -> Dims | None:
        return self.shapes[index] if index < len(self.shapes) else None

    def name(self, index: int) -> str:
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        return (value.name or "") if value is not None else ""

    def dim(self, index: int, axis: int) -> int | None:
        shape = self.shape(index)
        return shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None

    def attribute(self, name: str, default: int) -> int:
        attribute = self.node.attributes.get(name)
        if attribute is None or attribute.is_ref() or attribute.type != ir.AttributeType.INT:
            return default
        return attribute.as_int()

    def differ(
        self, index: int, role: str, found: int | None, needed: int | None, why: str
    ) -> Iterator[Contradiction]:
        if found is not None and needed is not None and found != needed:
            yield Contradiction(self.node, self.where, self.name(index), role, found, needed, why)

    def vector(self, index: int, role: str, needed: int | None, why: str) -> Iterator[Contradiction]:
        """Operand `index`, if given, is a vector of `needed` values."""
        shape = self.shape(index)
        if shape is not None and len(shape) == 1:
            yield from self.differ(index, role, shape[0], needed, why)


Check = Callable[[_Operands], Iterator[Contradiction]]


def _conv(o: _Operands) -> Iterator[Contradiction]:
    weight, group = o.shape(1), o.attribute("group", 1)
    if weight is None or len(weight) < 3:
        return
    channels = weight[0]
    yield from o.vector(2, "bias", channels, f"one per output channel of '{o.name(1)}' {_text(weight)}")
    inner = None if weight[1] is None else weight[1] * group
    yield from o.differ(
        0,
        "input",
        o.dim(0, 1),
        inner,
        f"channels that '{o.name(1)}' {_text(weight)} of {group} group(s) reads",
    )
    if channels is not None and group > 1 and channels % group:
        yield Contradiction(
            o.node,
            o.where,
            o.name(1),
            "weight",
            channels,
            channels - channels % group,
            f"output channels that {group} groups can share",
        )


def _conv_transpose(o: _Operands) -> Iterator[Contradiction]:
    weight, group = o.shape(1), o.attribute("group", 1)
    if weight is None or len(weight) < 3:
        return
    channels = None if weight[1] is None else weight[1] * group
    yield from o.vector(2, "bias", channels, f"one per output channel of '{o.name(1)}' {_text(weight)}")
    yield from o.differ(
        0, "input", o.dim(0, 1), weight[0], f"channels that '{o.name(1)}' {_text(weight)} reads"
    )


def _matmul(o: _Operands) -> Iterator[Contradiction]:
    a, b = o.shape(0), o.shape(1)
    if a and b:
        inner = b[max(len(b) - 2, 0)]
        yield from o.differ(1, "right operand", inner, a[-1], f"the inner dimension of '{o.name(0)}'")


def _gemm(o: _Operands) -> Iterator[Contradiction]:
    a, b = o.shape(0), o.shape(1)
    if a is None or b is None or len(a) != 2 or len(b) != 2:
        return
    inner_a = a[0] if o.attribute("transA", 0) else a[1]
    inner_b, width = (b[1], b[0]) if o.attribute("transB", 0) else (b[0], b[1])
    yield from o.differ(1, "right operand", inner_b, inner_a, f"the inner dimension of '{o.name(0)}'")
    last = o.dim(2, -1)
    if last != 1:
        yield from o.differ(2, "bias", last, width, f"one per column of '{o.name(1)}' {_text(b)}")


def _per_channel(*roles: str) -> Check:
    """Vectors with one value per channel: they agree with each other and with the input's axis 1."""

    def check(o: _Operands) -> Iterator[Contradiction]:
        if not o.attribute("spatial", 1):  # opset 8 and older: one value per activation
            return
        channels, why = o.dim(0, 1), f"one per channel of '{o.name(0)}'"
        if channels is None:
            channels, why = o.dim(1, 0), f"as many as in '{o.name(1)}'"
        for index, role in enumerate(roles, 1):
            yield from o.vector(index, role, channels, why)

    return check


def _group_norm(o: _Operands) -> Iterator[Contradiction]:
    """Since opset 21 scale and bias are per channel; in 18 they were per group."""
    if o.opset >= 21:
        yield from _per_channel("scale", "bias")(o)


def _fits(o: _Operands) -> Iterator[Contradiction]:
    """PRelu: the slope broadcasts to the input. Before opset 7 it ran along the channels."""
    if o.opset < 7:
        return
    for axis in range(-len(o.shape(1) or ()), 0):
        found, needed = o.dim(1, axis), o.dim(0, axis)
        if 1 not in (found, needed):
            yield from o.differ(1, "slope", found, needed, f"dimension {axis} of '{o.name(0)}'")


def _broadcast(o: _Operands) -> Iterator[Contradiction]:
    """Two operands of an elementwise node: equal, or one of them 1."""
    a, b = o.shape(0), o.shape(1)
    if a is None or b is None or o.opset < 7:  # an attribute names the axis then
        return
    for axis in range(-min(len(a), len(b)), 0):
        if 1 not in (a[axis], b[axis]):
            yield from o.differ(
                1, "right operand", b[axis], a[axis], f"dimension {axis} of '{o.name(0)}' {_text(a)}"
            )


def _text(shape: Dims) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


CHECKS: Mapping[str, Check] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _per_channel("scale", "bias", "mean", "variance"),
    "InstanceNormalization": _per_channel("scale", "bias"),
    "GroupNormalization": _group_norm,
    "PRelu": _fits,
    **dict.fromkeys(sorted(ELEMENTWISE - {"PRelu"}), _broadcast),
}


class _Walk:
    """The walk over all graphs, with what is certain of each value's shape so far."""

    def __init__(self, opsets: Mapping[str, int]) -> None:
        self.opsets = opsets
        self.opset = opsets.get("", opsets.get("ai.onnx", 0))
        self.facts: dict[ir.Value, Dims | None] = {}

    def graphs(self, model: ir.Model) -> Iterator[Contradiction]:
        for graph in model.graphs():
            for value in graph.inputs if graph is model.graph else ():
                if value.shape is not None:
                    self.facts[value] = known_shape(value.shape)
            for node in graph:
                if plain_domain(node.domain) == "":
                    yield from self.node(node)

    def node(self, node: ir.Node) -> Iterator[Contradiction]:
        shapes = [self.shape(value) for value in node.inputs]
        check = CHECKS.get(node.op_type)
        found: list[Contradiction] = []
        if check is not None:
            found = list(check(_Operands(node, Where(), self.opset, shapes)))
            if found:  # the place is worked out only where it is told
                found = list(check(_Operands(node, where_of(node, self.opsets), self.opset, shapes)))
            yield from found
        if node.outputs and not found:
            self.facts[node.outputs[0]] = infer(node, shapes)

    def shape(self, value: ir.Value | None) -> Dims | None:
        if value is None:
            return None
        if value.const_value is not None:
            return known_shape(value.const_value.shape)
        return self.facts.get(value)
