"""One graph while it is lowered: which tensor holds each value, and what is known about it.

The graphs in the bodies of If, Loop and Scan are lowered by a scope of their own, nested in that of the node: what
they read from outside becomes an input of theirs (`captures`). A body can also be put in line, into the scope around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fidelite.errors import FideliteError, InternalError, Notice, UnsupportedAttribute, UnsupportedOp
from fidelite.lower.carried import carried_array, carried_type
from fidelite.lower.contents import contents_of, plain
from fidelite.lower.node import Node
from fidelite.lower.refused import REFUSED
from fidelite.lower.registry import NEWEST_IN_DOMAIN, REGISTRY, Lowering
from fidelite.lower.sequences import TensorSequence
from fidelite.lower.values import constant_of, element_type, shape_text
from fidelite.source.element import element_type_of
from fidelite.source.node import NodeView, plain_domain
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Graph, Origin, Tensor
from fidelite.tflite.types import ElementType

if TYPE_CHECKING:
    import onnx_ir

Fold = Callable[["onnx_ir.Node", Sequence["np.ndarray | None"], int], "Sequence[np.ndarray | None] | None"]
"""Evaluate a node on constants: its outputs, or None where it cannot (or should not) be evaluated."""
MAX_FOLD_BYTES = 64 << 20
Held = Tensor | TensorSequence
T = TypeVar("T")


class BodyFailed(Exception):
    """A node in the body of another one could not be lowered."""


class Unresolved(Exception):
    """What was tried out cannot be decided when converting."""


@dataclass
class Run:
    """What all scopes of one lowering share."""

    fold: Fold
    opsets: Mapping[str, int]
    errors: list[FideliteError] = field(default_factory=list[FideliteError])
    notices: list[Notice] = field(default_factory=list[Notice])
    folded: int = 0
    versions: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def schema_version(self, domain: str, op: str) -> int:
        """The schema version of `op` that the model's opset selects."""
        key = (domain, op)
        if key not in self.versions:
            import onnx

            opset = self.opsets.get(domain, 1)
            try:
                self.versions[key] = onnx.defs.get_schema(op, opset, domain).since_version
            except onnx.defs.SchemaError:
                self.versions[key] = opset
        return self.versions[key]

    def find(self, node: onnx_ir.Node) -> tuple[Lowering, int]:
        """The node's lowering and schema version. Raises UnsupportedOp where it has none."""
        domain = plain_domain(node.domain)
        version = self.schema_version(domain, node.op_type)
        row = REGISTRY.find(domain, node.op_type, version)
        if row is not None:
            return row, version
        name = f"{domain}::{node.op_type}" if domain else node.op_type
        if REGISTRY.knows(domain, node.op_type):
            newest = NEWEST_IN_DOMAIN.get(domain, 0)
            raise UnsupportedOp(
                f"{name} in its schema version {version} has no lowering" +
                (f" (newest checked: opset {newest})" if version > newest else ""), code="F411",
                remedy="export the model with opset 18 to 23")
        if name in REFUSED:
            reason, remedy = REFUSED[name]
            raise UnsupportedOp(f"{name} is not converted: {reason}", remedy=remedy, details={"op": name})
        raise UnsupportedOp(f"{name} has no lowering to LiteRT's builtin operators",
                            remedy="`fidelite ops` lists what converts; an own lowering can be registered with "
                                   f"@fidelite.lowers(\"{name}\")", details={"op": name})


class Scope:
    """The values of one graph. `parent` is the scope of the node whose body this is."""

    def __init__(self, run: Run, graph: Graph, parent: Scope | None = None) -> None:
        self.run = run
        self.graph = graph
        self.parent = parent
        self.b = Builder(graph)
        self.values: dict[onnx_ir.Value, Held] = {}
        self.contents: dict[Tensor, np.ndarray] = {}
        self.failed: set[onnx_ir.Value] = set()
        self.captures: dict[Tensor, Tensor] = {}
        """Tensors of the parent that are read here, with the inputs that stand for them."""
        self._constants: dict[Tensor, Tensor] = {}
        self._suffix = ""
        if parent is not None:
            parent.b.nest(self.b, self.capture)

    # -- values

    def operand(self, value: onnx_ir.Value | None) -> Held | None:
        """What holds `value` here. Values of the graphs around are captured."""
        if value is None:
            return None
        if (held := self.values.get(value)) is not None:
            return held
        if value.const_value is not None:
            held = self.b.constant(constant_of(value.const_value, value.name or ""), value.name or "")
        elif self.parent is not None:
            outer = self.parent.operand(value)
            assert outer is not None
            held = self.capture(outer) if isinstance(outer, Tensor) else outer.map(self.capture)
        else:
            raise InternalError(f"value '{value.name}' was never computed")
        self.values[value] = held
        return held

    def tensor(self, value: onnx_ir.Value) -> Tensor:
        """As `operand`, for values that are no sequences."""
        held = self.operand(value)
        if not isinstance(held, Tensor):
            raise UnsupportedAttribute(f"'{value.name}' is a sequence of tensors, which LiteRT does not have",
                                       remedy="return its elements as outputs of their own")
        return held

    def capture(self, outer: Tensor) -> Tensor:
        """The parent's tensor as a tensor of this graph: an input, or a constant of its own."""
        assert self.parent is not None
        known = self._constants if outer.is_constant else self.captures
        if outer not in known:
            known[outer] = Tensor(outer.name, outer.element, outer.shape, constant=outer.constant,
                                  quantization=outer.quantization)
            if not outer.is_constant:
                self.graph.inputs.append(known[outer])
            if outer in self.parent.contents:
                self.contents[known[outer]] = self.parent.contents[outer]
        return known[outer]

    def has_failed(self, value: onnx_ir.Value) -> bool:
        return value in self.failed or (self.parent is not None and self.parent.has_failed(value))

    def copy(self, tensor: Tensor) -> Tensor:
        """A tensor with the same value that an operator makes."""
        sizes = [d if isinstance(d, int) else -1 for d in tensor.shape]
        simple = sizes.count(-1) == 0 or (sizes.count(-1) == 1 and 0 not in sizes)
        operand = self.b.int32(sizes) if simple else self.b.shape_operand(tensor.shape)
        return self.b.one("RESHAPE", [tensor, operand], tensor.element, tensor.shape)

    # -- bodies

    def nested(self, name: str) -> Scope:
        """A scope for a graph that an operator of this one calls."""
        return Scope(self.run, Graph(name), self)

    def inline(self, body: onnx_ir.Graph, inputs: Sequence[Held] = (), suffix: str = "") -> list[Held]:
        """Lower `body` into this graph, its inputs being `inputs`; returns its outputs. `suffix` is put behind the
        names of values of a body that is put in line more than once. Raises BodyFailed."""
        before, self._suffix = self._suffix, self._suffix + suffix
        self.values.update(zip(body.inputs, inputs, strict=False))
        nodes, made_by = self.b.nodes, self.b.made_by
        for value in (o for n in body for o in n.outputs):
            self.failed.discard(value)
        self.lower_all(body)
        self.b.nodes, self.b.made_by, self._suffix = nodes, made_by, before
        if any(self.has_failed(v) for v in body.outputs):
            raise BodyFailed
        results = [self.operand(v) for v in body.outputs]
        return [r for r in results if r is not None]

    def tried(self, attempt: Callable[[], T]) -> T | None:
        """`attempt()`, or None, with everything as it was before, where it raises Unresolved."""
        b = self.b
        values, contents, failed, captures = (dict(self.values), dict(self.contents), set(self.failed),
                                              dict(self.captures))
        memo, symbols, inputs = dict(b._memo), dict(b.symbol_sources), list(self.graph.inputs)  # pyright: ignore[reportPrivateUsage]
        operators, errors, state = set(self.graph.operators), len(self.run.errors), (b.nodes, b.made_by, self._suffix)
        try:
            return attempt()
        except Unresolved:
            for operator in reversed(self.graph.operators):
                if operator not in operators:
                    self.graph.remove(operator)
            self.values, self.contents, self.failed, self.captures = values, contents, failed, captures
            b._memo, b.symbol_sources = memo, symbols  # pyright: ignore[reportPrivateUsage]
            self.graph.inputs[:] = inputs
            del self.run.errors[errors:]
            b.nodes, b.made_by, self._suffix = state
            return None

    # -- nodes

    def lower_all(self, nodes: Iterable[onnx_ir.Node]) -> None:
        for node in nodes:
            self.lower(node)

    def lower(self, node: onnx_ir.Node) -> None:
        """Lower one node. Errors are collected, and its outputs marked as failed."""
        if any(self.has_failed(v) for v in node.inputs if v is not None):
            self.failed.update(node.outputs)
            self._report_unknown(node)
            return
        view = NodeView(node, self.run.opsets)
        self.b.nodes, self.b.made_by = (view.name,), f"lower {node.op_type}"
        try:
            operands = [self.operand(v) for v in node.inputs]
            if not self._try_fold(node, operands):
                self._lower(node, operands)
        except BodyFailed:
            self.failed.update(node.outputs)
        except FideliteError as error:
            self._fail(node, error.at(view.where()))
        except (ValueError, IndexError, TypeError, KeyError, ArithmeticError, AssertionError, AttributeError) as error:
            failure = InternalError(f"the lowering of {node.op_type} failed: {type(error).__name__}: {error}",
                                    remedy="please report this, with the model if you can share it",
                                    where=view.where())
            failure.__cause__ = error
            self._fail(node, failure)

    def _fail(self, node: onnx_ir.Node, error: FideliteError) -> None:
        self.run.errors.append(error)
        self.failed.update(node.outputs)

    def _report_unknown(self, node: onnx_ir.Node) -> None:
        """After a failure, still name every later node that has no lowering at all."""
        try:
            self.run.find(node)
        except FideliteError as error:
            self.run.errors.append(error.at(NodeView(node, self.run.opsets).where()))

    def _lower(self, node: onnx_ir.Node, operands: Sequence[Held | None]) -> None:
        row, version = self.run.find(node)
        view = Node(node, self.run.opsets, version, operands, self.contents.get, self)
        known = None
        if not any(isinstance(t, TensorSequence) for t in operands):
            known = contents_of(view, view.operands, self.contents)
        if known is not None and not known[0].is_float:
            for value, held in zip(node.outputs, known[1], strict=True):
                tensor = self._holding(held, known[0], value.name or "")
                self._bind(value, tensor)
                if tensor.constant is None:
                    self.contents[tensor] = held
            return
        results = row.function(view, self.b)
        given = [results] if isinstance(results, Held) or results is None else list(results)
        if len(given) < len(node.outputs):
            raise InternalError(f"the lowering of {node.op_type} gave {len(given)} of {len(node.outputs)} results")
        for position, (value, held) in enumerate(zip(node.outputs, given, strict=False)):
            if held is None:
                if value.name and (value.uses() or value.is_graph_output()):
                    raise UnsupportedAttribute(f"output {position} ('{value.name}') of {node.op_type} is not available "
                                               "in inference", remedy="remove its users from the model")
            elif isinstance(held, TensorSequence):
                self.values[value] = held
            else:
                self._bind(value, held)
                if known is not None and held.constant is None:
                    self.contents[held] = known[1][position]

    def _holding(self, held: np.ndarray, element: ElementType, name: str) -> Tensor:
        """A tensor that holds numbers and dimensions: a constant, or one computed from shapes at run time."""
        if plain(held):
            return self.b.constant(held.astype(np.int64).astype(element.dtype).reshape(held.shape), name)
        vector = self.b.cast(self.b.shape_operand(list(held.reshape(-1))), element)
        if held.ndim == 1 and element is ElementType.INT32:  # operands of shapes are shared, and this bears a name
            return self.copy(vector)
        return self.b.reshape(vector, held.shape)

    def _bind(self, value: onnx_ir.Value, tensor: Tensor) -> None:
        self._cross_check(value, tensor)
        if not tensor.is_static and value.shape is not None and 0 in (dims := list(value.shape)) and all(
                isinstance(d, int) for d in dims):
            # Nothing is left to compute; LiteRT's Python binding cannot read an empty result of run-time size.
            tensor = self.b.constant(np.zeros([int(d) for d in dims], tensor.element.dtype))  # type: ignore[arg-type]
        if not tensor.is_constant and tensor.origin is None and tensor.producer is not None:
            tensor.origin = Origin((value.name or "") + self._suffix)
            tensor.name = f"{value.name}{self._suffix}" if value.name else tensor.name
        self.values[value] = tensor

    def _cross_check(self, value: onnx_ir.Value, tensor: Tensor) -> None:
        """Compare with what the model declares; the Builder is believed only where they do not contradict."""
        if value.dtype is not None and value.dtype.value and element_type(value) is not tensor.element:
            raise InternalError(f"the lowering made '{value.name}' {tensor.element.name}, and the model declares "
                                f"{value.dtype.name}")
        if value.shape is None:
            return
        if len(value.shape) != tensor.rank or any(
                isinstance(a, int) and isinstance(b, int) and a != b
                for a, b in zip(value.shape, tensor.shape, strict=True)):
            raise UnsupportedAttribute(
                f"'{value.name}' has the shape {shape_text(tensor.shape)} by its operands, and the model declares "
                f"{shape_text(tuple(value.shape))}", code="F421",
                remedy="re-export the model; if an input's shape was changed, export with that shape")

    # -- folding

    def _try_fold(self, node: onnx_ir.Node, operands: Sequence[Held | None]) -> bool:
        constants = [t.constant if isinstance(t, Tensor) else None for t in operands]
        if any(t is not None and c is None for t, c in zip(operands, constants, strict=True)) or not _foldable(node):
            return False
        if sum(c.nbytes for c in constants if c is not None) > MAX_FOLD_BYTES:
            return False
        arrays = [None if c is None else self._as_declared(c.numpy(), v)
                  for c, v in zip(constants, node.inputs, strict=True)]
        results = self.run.fold(node, arrays, self.run.opsets.get(plain_domain(node.domain), 1))
        if results is None or any(a is not None and a.dtype.kind in "OSU" for a in results):  # strings stay
            return False
        for value, array in zip(node.outputs, results, strict=False):
            if array is not None:
                self.values[value] = self.b.constant(carried_array(np.asarray(array)), value.name or "")
        self.run.folded += 1
        return True

    def _as_declared(self, array: np.ndarray, value: onnx_ir.Value | None) -> np.ndarray:
        """What ONNX's own operators take: an array that carries another type, in that type."""
        row = carried_type(element_type_of(value, self.run.opsets))
        return array if row is None else array.astype(row.dtype)


_DEFERRED = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Cast"})
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
                     "Multinomial"})
_SEQUENCES = frozenset({"SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SplitToSequence",
                        "Optional", "OptionalGetElement", "OptionalHasElement"})


def _foldable(node: onnx_ir.Node) -> bool:
    """Views of large constants are left to the Builder, which defers them, as it does with what a quantized constant
    means; random values are never folded."""
    if node.op_type in _RANDOM or node.op_type == "DequantizeLinear" or node.op_type in _SEQUENCES or any(
            a.type.name in ("GRAPH", "GRAPHS") for a in node.attributes.values()):
        return False
    if node.op_type in _DEFERRED and node.inputs and (value := node.inputs[0]) is not None:
        constant = value.const_value
        return constant is None or constant.nbytes <= 4096
    return True
