"""Operators without a lowering that ONNX itself defines by others: replaced by that definition.

The standard gives many operators a function body (`onnx.defs`); some bodies depend on the node's attributes and on
the types of its operands, which are then taken from the model or from ONNX's shape inference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fidelite.source.node import plain_domain

if TYPE_CHECKING:
    import onnx
    import onnx_ir

Converts = Callable[[str, str, int], bool]
"""(domain, operator, schema version) -> whether it has a lowering."""
MAX_DEPTH = 8


def expand_functions(model: onnx_ir.Model, converts: Converts) -> int:
    """Replace nodes that have no lowering by their definitions, in place; returns how many were replaced.

    What a definition consists of may need its own: up to `MAX_DEPTH` rounds. Nodes without a definition stay, and are
    refused by name later.
    """
    total = 0
    for _ in range(MAX_DEPTH):
        count = _expand_once(model, converts)
        if not count:
            break
        total += count
    return total


def _expand_once(model: onnx_ir.Model, converts: Converts) -> int:
    opsets = {plain_domain(d): v for d, v in model.opset_imports.items()}
    wanted = [node for node in model.graph.all_nodes() if _needs_definition(node, opsets, converts)]
    if not wanted:
        return 0
    from onnx_ir.passes.common import InlinePass

    types = _types(model, wanted)
    count = 0
    for node in wanted:
        definition = _definition(node, opsets[plain_domain(node.domain)], types)
        if definition is not None:
            _call(model, node, definition, number=count)
            count += 1
    if count:
        InlinePass()(model)
    return count


def _needs_definition(node: onnx_ir.Node, opsets: Mapping[str, int], converts: Converts) -> bool:
    import onnx

    domain = plain_domain(node.domain)
    if domain not in opsets or (domain, node.op_type) in _KEPT:
        return False
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
    except onnx.defs.SchemaError:
        return False
    if not (schema.has_function or schema.has_context_dependent_function):
        return False
    if _graph_attributes(node) and not schema.has_context_dependent_function:
        return False  # a graph cannot be given to an inlined definition; one made for the node may have it in line
    return not converts(domain, node.op_type, schema.since_version)


def _graph_attributes(node: onnx_ir.Node) -> list[str]:
    return [name for name, a in node.attributes.items() if a.type.name in ("GRAPH", "GRAPHS")]


_KEPT = frozenset({("", "SequenceMap"), ("", "Bernoulli")})


def _types(model: onnx_ir.Model, nodes: list[onnx_ir.Node]) -> dict[str, onnx.TypeProto]:
    """Types of all values by name: the model's own, completed by ONNX's inference where an operand's is missing."""
    import onnx
    import onnx_ir

    if all(v is None or (v.dtype is not None and v.shape is not None) for n in nodes for v in n.inputs):
        return {v.name or "": onnx_ir.serde.serialize_value(v).type for n in nodes for v in n.inputs if v is not None}
    graph = onnx_ir.serde.serialize_model(_without_weights(model)).graph
    proto = onnx.helper.make_model(graph, opset_imports=[
        onnx.helper.make_opsetid(d, v) for d, v in model.opset_imports.items()], ir_version=model.ir_version)
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    return {v.name: v.type for v in (*inferred.input, *inferred.value_info, *inferred.output)}


def _without_weights(model: onnx_ir.Model) -> onnx_ir.Model:
    """The model with its large initializers as inputs, so that none of their bytes is copied."""
    import onnx_ir

    small = model.clone()
    for name, value in list(small.graph.initializers.items()):
        tensor = value.const_value
        if tensor is not None and tensor.nbytes > 4096:
            value.dtype, value.shape = tensor.dtype, onnx_ir.Shape([int(d) for d in tensor.shape])  # type: ignore[union-attr]
            del small.graph.initializers[name]
            value.const_value = None
            if not value.is_graph_input():
                small.graph.inputs.append(value)
    return small


def _definition(node: onnx_ir.Node, opset: int, types: Mapping[str, onnx.TypeProto]) -> onnx.FunctionProto | None:
    import onnx
    import onnx_ir

    schema: Any = onnx.defs.get_schema(node.op_type, opset, plain_domain(node.domain))
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= opset]
        if versions:
            return _parsed(schema.get_function_with_opset_version(max(versions)))
    if not schema.has_context_dependent_function:
        return None
    operands: list[bytes] = []
    for value in node.inputs:
        known = types.get(value.name or "") if value is not None else onnx.TypeProto()
        if known is None:
            return None
        operands.append(known.SerializeToString())
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not versions:
        return None
    body = schema.get_context_dependent_function_with_opset_version(
        max(versions), onnx_ir.serde.serialize_node(node).SerializeToString(), operands)
    return _parsed(body) if body else None


def _parsed(body: bytes) -> onnx.FunctionProto:
    import onnx

    definition = onnx.FunctionProto()
    definition.ParseFromString(body)
    return definition


def _call(model: onnx_ir.Model, node: onnx_ir.Node, definition: onnx.FunctionProto, *, number: int) -> None:
    """Make `node` a call of `definition`, which gets a domain and a name that nothing else has."""
    import onnx
    import onnx_ir

    schema = onnx.defs.get_schema(node.op_type, model.opset_imports.get(node.domain, 1), plain_domain(node.domain))
    for name in (*definition.attribute, *(a.name for a in definition.attribute_proto)):
        default = schema.attributes[name].default_value if name in schema.attributes else None
        if name not in node.attributes and default is not None and default.name:
            node.attributes.add(onnx_ir.serde.deserialize_attribute(default))
    for name in _graph_attributes(node):  # put in line by the definition, which is made for this node
        del node.attributes[name]
    definition.domain, definition.name = "fidelite.definition", f"{node.op_type}_{number}"
    for imported in definition.opset_import:
        if not imported.domain:  # the body uses what the model's own opset has: checked by ONNX for that opset
            imported.version = model.opset_imports.get("", imported.version)
    made = {name for inner in definition.node for name in inner.output}
    outputs = [n if n in made or n in definition.input else "" for n in definition.output][:len(node.outputs)]
    for position, name in enumerate(outputs):
        if not name:  # an optional result that this form of the body does not make
            outputs[position] = f"absent_{position}"
            definition.node.add(op_type="Constant", output=[outputs[position]]).attribute.append(
                onnx.helper.make_attribute("value_float", 0.0))
    del definition.output[:]
    definition.output.extend(outputs)
    function = onnx_ir.serde.deserialize_function(definition)
    model.functions[function.identifier()] = function
    node.op_type, node.domain = definition.name, definition.domain
    model.graph.opset_imports[definition.domain] = 1
