"""Walk an ONNX graph once and lower each node, keeping what is known about values as it goes.

One walk does shape inference (the Builder's), constant folding (`fold`, given by the pipeline) and lowering, so all
three agree, and the time is linear in the nodes. Every node that cannot be lowered is collected; they are raised
together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fidelite.errors import (
    ConversionError,
    FideliteError,
    InternalError,
    Notice,
    UnsupportedAttribute,
    UnsupportedOp,
    UnsupportedType,
    Where,
    raise_all,
)
from fidelite.lower.contents import contents_of, plain
from fidelite.lower.node import Node
from fidelite.lower.registry import NEWEST_IN_DOMAIN, REGISTRY
from fidelite.source.node import NodeView, plain_domain
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Constant
from fidelite.tflite.dims import Dim, SymbolicDim, is_static
from fidelite.tflite.graph import Graph, Model, Origin, Signature, Tensor
from fidelite.tflite.types import ElementType

if TYPE_CHECKING:
    import onnx_ir

Fold = Callable[["onnx_ir.Node", Sequence[np.ndarray | None], int], "Sequence[np.ndarray | None] | None"]
"""Evaluate a node on constants: its outputs, or None where it cannot (or should not) be evaluated."""
MAX_FOLD_BYTES = 64 << 20


@dataclass
class Lowered:
    """What lowering gives: the model, and what was said on the way."""

    model: Model
    notices: list[Notice] = field(default_factory=list[Notice])
    folded: int = 0
    """Nodes whose value was known when converting."""


def lower_model(source: onnx_ir.Model, *, fold: Fold,
                on_node: Callable[[int, int], None] | None = None) -> Lowered:
    """The model in TFLite's operators, in ONNX's axis order. Raises ConversionErrors, all that were found."""
    from fidelite.lower import families

    families.load()
    driver = _Driver(source, fold)
    return driver.run(on_node)


class _Driver:
    def __init__(self, source: onnx_ir.Model, fold: Fold) -> None:
        self.source = source
        self.fold = fold
        self.graph = Graph("main")
        self.b = Builder(self.graph)
        self.values: dict[onnx_ir.Value, Tensor] = {}
        self.contents: dict[Tensor, np.ndarray] = {}
        self.failed: set[onnx_ir.Value] = set()
        self.errors: list[FideliteError] = []
        self.result = Lowered(Model([self.graph]))
        self.opsets: Mapping[str, int] = {plain_domain(d): v for d, v in source.opset_imports.items()}
        self._versions: dict[tuple[str, str], int] = {}

    def run(self, on_node: Callable[[int, int], None] | None) -> Lowered:
        source = self.source.graph
        for value in source.inputs:
            if not value.is_initializer():
                self._input(value)
        total = len(source)
        for index, node in enumerate(source):
            if on_node is not None and not index % 64:
                on_node(index, total)
            self._node(node)
        raise_all(_summarised(self.errors))
        self._outputs(source.outputs)
        _add_called_graphs(self.result.model)
        if self.b.narrowed:
            names = ", ".join(sorted(self.b.narrowed))
            self.result.notices.append(Notice(
                "W430", f"{names} arithmetic is done in float32: LiteRT has no kernels for it", level="warning",
                remedy="the proof uses float32's tolerance"))
        return self.result

    # -- values

    def _input(self, value: onnx_ir.Value) -> None:
        shape: list[Dim] = []
        unknown = value.shape is None
        dims: Sequence[Any] = () if value.shape is None else list(value.shape)
        element = element_type(value)
        tensor = Tensor(value.name or "", element, ())
        for axis, dim in enumerate(dims):
            if isinstance(dim, int):
                shape.append(dim)
            else:
                name = str(dim.value) if dim.value is not None else f"{value.name}_{axis}"
                shape.append(SymbolicDim.symbol(name))
                self.b.symbol_sources.setdefault(name, (tensor, axis))
        if unknown:
            raise ConversionError(f"input '{value.name}' has no shape at all, not even its number of dimensions",
                                  code="F451", remedy=f"give it one: --shape {value.name}=1,3,512,512")
        tensor.shape = tuple(shape)
        tensor.origin = Origin(value.name or "")
        self.graph.inputs.append(tensor)
        self.values[value] = tensor

    def _operand(self, value: onnx_ir.Value | None) -> Tensor | None:
        if value is None:
            return None
        if (tensor := self.values.get(value)) is not None:
            return tensor
        if value.const_value is None:
            raise InternalError(f"value '{value.name}' was never computed")
        tensor = self.b.constant(constant_of(value.const_value, value.name or ""), value.name or "")
        self.values[value] = tensor
        return tensor

    def _outputs(self, outputs: Sequence[onnx_ir.Value]) -> None:
        """Give every output a tensor of its own that bears its name, and the signature its names."""
        taken: set[Tensor] = set(self.graph.inputs)
        self.b.nodes, self.b.made_by = (), "outputs"
        for value in outputs:
            tensor = self._operand(value)
            assert tensor is not None
            if tensor in taken or tensor.is_constant or tensor.origin is None or tensor.origin.value != value.name:
                copy = self.copy(tensor)
                copy.origin = Origin(value.name or "")
                tensor = copy
            tensor.name = value.name or ""
            taken.add(tensor)
            self.graph.outputs.append(tensor)
        self.result.model.signatures.append(Signature(
            "serving_default", self.graph, [(t.name, t) for t in self.graph.inputs],
            [(t.name, t) for t in self.graph.outputs]))

    def copy(self, tensor: Tensor) -> Tensor:
        """A tensor with the same value that an operator makes."""
        sizes = [d if isinstance(d, int) else -1 for d in tensor.shape]
        operand = self.b.int32(sizes) if sizes.count(-1) <= 1 else self.b.shape_operand(tensor.shape)
        return self.b.one("RESHAPE", [tensor, operand], tensor.element, tensor.shape)

    # -- nodes

    def _node(self, node: onnx_ir.Node) -> None:
        if any(v in self.failed for v in node.inputs if v is not None):
            self.failed.update(node.outputs)
            self._report_unknown(node)
            return
        view = NodeView(node, self.opsets)
        self.b.nodes, self.b.made_by = (view.name,), f"lower {node.op_type}"
        try:
            operands = [self._operand(v) for v in node.inputs]
            if not self._try_fold(node, operands):
                self._lower(node, operands)
        except FideliteError as error:
            self._fail(node, error.at(view.where()))
        except (ValueError, IndexError, TypeError, KeyError, ArithmeticError, AssertionError) as error:
            failure = InternalError(f"the lowering of {node.op_type} failed: {type(error).__name__}: {error}",
                                    remedy="please report this, with the model if you can share it",
                                    where=view.where())
            failure.__cause__ = error
            self._fail(node, failure)

    def _fail(self, node: onnx_ir.Node, error: FideliteError) -> None:
        self.errors.append(error)
        self.failed.update(node.outputs)

    def _report_unknown(self, node: onnx_ir.Node) -> None:
        """After a failure, still name every later node that has no lowering at all."""
        try:
            self._find(node)
        except FideliteError as error:
            self.errors.append(error.at(NodeView(node, self.opsets).where()))

    def _find(self, node: onnx_ir.Node) -> tuple[Any, int]:
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
        raise UnsupportedOp(f"{name} has no lowering to LiteRT's builtin operators",
                            remedy="`fidelite ops` lists what converts; an own lowering can be registered with "
                                   f"@fidelite.lowers(\"{name}\")", details={"op": name})

    def schema_version(self, domain: str, op: str) -> int:
        """The schema version of `op` that the model's opset selects."""
        key = (domain, op)
        if key not in self._versions:
            import onnx

            opset = self.opsets.get(domain, 1)
            try:
                self._versions[key] = onnx.defs.get_schema(op, opset, domain).since_version
            except onnx.defs.SchemaError:
                self._versions[key] = opset
        return self._versions[key]

    def _lower(self, node: onnx_ir.Node, operands: Sequence[Tensor | None]) -> None:
        row, version = self._find(node)
        view = Node(node, self.opsets, version, operands, self.contents.get)
        known = contents_of(view, operands, self.contents)
        if known is not None and not known[0].is_float:
            for value, held in zip(node.outputs, known[1], strict=True):
                tensor = self._holding(held, known[0], value.name or "")
                self._bind(value, tensor)
                if tensor.constant is None:
                    self.contents[tensor] = held
            return
        results = row.function(view, self.b)
        tensors = [results] if isinstance(results, Tensor) or results is None else list(results)
        if len(tensors) < len(node.outputs):
            raise InternalError(f"the lowering of {node.op_type} gave {len(tensors)} of {len(node.outputs)} results")
        for position, (value, tensor) in enumerate(zip(node.outputs, tensors, strict=False)):
            if tensor is None:
                if value.name and (value.uses() or value.is_graph_output()):
                    raise UnsupportedAttribute(f"output {position} ('{value.name}') of {node.op_type} is not available "
                                               "in inference", remedy="remove its users from the model")
                continue
            self._bind(value, tensor)
            if known is not None and tensor.constant is None:
                self.contents[tensor] = known[1][position]

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
        if not tensor.is_constant and tensor.origin is None:
            tensor.origin = Origin(value.name or "")
            tensor.name = value.name or tensor.name
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
                f"'{value.name}' has the shape {_shape_text(tensor.shape)} by its operands, and the model declares "
                f"{_shape_text(tuple(value.shape))}", code="F421",
                remedy="re-export the model; if an input's shape was changed, export with that shape")

    # -- folding

    def _try_fold(self, node: onnx_ir.Node, operands: Sequence[Tensor | None]) -> bool:
        if any(t is not None and t.constant is None for t in operands) or not _foldable(node):
            return False
        if sum(t.constant.nbytes for t in operands if t is not None and t.constant) > MAX_FOLD_BYTES:
            return False
        arrays = [None if t is None or t.constant is None else t.constant.numpy() for t in operands]
        results = self.fold(node, arrays, self.opsets.get(plain_domain(node.domain), 1))
        if results is None or any(a is not None and a.dtype.kind in "OSU" for a in results):  # strings stay
            return False
        for value, array in zip(node.outputs, results, strict=False):
            if array is not None:
                self.values[value] = self.b.constant(np.asarray(array), value.name or "")
        self.result.folded += 1
        return True


def _add_called_graphs(model: Model) -> None:
    """Let the model hold every graph that an operator of its graphs calls."""
    for graph in model.graphs:  # grows while it is walked
        for operator in graph.operators:
            model.graphs += [called for called in operator.graphs if called not in model.graphs]


_DEFERRED = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Cast"})
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
                     "Multinomial"})


def _foldable(node: onnx_ir.Node) -> bool:
    """Views of large constants are left to the Builder, which defers them; random values are never folded."""
    if node.op_type in _RANDOM or any(a.type.name in ("GRAPH", "GRAPHS") for a in node.attributes.values()):
        return False
    if node.op_type in _DEFERRED and node.inputs and (value := node.inputs[0]) is not None:
        constant = value.const_value
        return constant is None or constant.nbytes <= 4096
    return True


def element_type(value: onnx_ir.Value) -> ElementType:
    """The TFLite element type of an ONNX value. Raises UnsupportedType where TFLite has none."""
    if value.dtype is None:
        raise UnsupportedType(f"'{value.name}' has no element type", remedy="export the model again")
    return onnx_element_type(value.dtype, value.name or "")


def onnx_element_type(dtype: onnx_ir.DataType, name: str = "") -> ElementType:
    names = {"FLOAT": "FLOAT32", "DOUBLE": "FLOAT64", "FLOAT8E4M3FN": "FLOAT8_E4M3FN", "FLOAT8E5M2": "FLOAT8_E5M2"}
    wanted = names.get(dtype.name, dtype.name)
    if wanted in ElementType.__members__:
        return ElementType[wanted]
    raise UnsupportedType(f"'{name}' has the element type {dtype.name}, which TFLite does not have",
                          remedy="use float32, float16, an integer or a boolean type",
                          where=Where(), details={"type": dtype.name})


def constant_of(tensor: onnx_ir.TensorProtocol, name: str) -> Constant:
    """A deferred constant over an ONNX tensor: mapped where it is external, read when it is written."""
    element = onnx_element_type(tensor.dtype, name)
    shape = tuple(int(d) for d in tensor.shape)  # type: ignore[union-attr]
    if not is_static(shape):
        raise InternalError(f"initializer '{name}' has a dynamic shape")
    if tensor.size * element.bits // 8 <= 1024:
        return Constant.of(np.asarray(tensor.numpy()).reshape(shape))
    return Constant(element, shape, tensor.numpy, ("onnx", id(tensor)))


def _shape_text(shape: Sequence[Any]) -> str:
    return "[" + ",".join(str(d) for d in shape) + "]"


def _summarised(errors: Sequence[FideliteError]) -> list[FideliteError]:
    """Internal errors first (they are ours), then the refusals in graph order."""
    return sorted(errors, key=lambda e: e.exit_code != 1)
