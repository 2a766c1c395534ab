"""Is a model well formed? Links, order, ownership, shapes of constants. Run after every pass; linear."""

from __future__ import annotations

from fidelite.errors import InternalError
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.ops import OPS


def check_model(model: Model, *, after: str = "") -> None:
    """Raise InternalError, naming the first fault and the pass that left it."""
    for graph in model.graphs:
        fault = _fault(graph)
        if fault:
            raise InternalError(f"the graph '{graph.name}' is broken{f' after {after}' if after else ''}: {fault}",
                                remedy="please report this, with the model if you can share it")
    for signature in model.signatures:
        for name, tensor in signature.inputs:
            if tensor not in signature.graph.inputs:
                raise InternalError(f"the signature's input '{name}' is no input of its graph, after {after}")
        owned = signature.graph.output_set()
        for name, tensor in signature.outputs:
            if tensor not in owned:
                raise InternalError(f"the signature's output '{name}' is no output of its graph, after {after}")


def _fault(graph: Graph) -> str:
    made: set[Tensor] = set(graph.inputs)
    for operator in graph.operators:
        if fault := _operator_fault(operator, made):
            return fault
        made.update(operator.outputs)
    for tensor in graph.outputs:
        if tensor not in made or tensor.is_constant or tensor in graph.inputs:
            return f"the output '{tensor.name}' has no operator that makes it"
    if len(graph.output_set()) != len(graph.outputs):
        return "two outputs share a tensor"
    return ""


def _operator_fault(operator: Operator, made: set[Tensor]) -> str:
    if operator.op not in OPS:
        return f"{operator.op} is no operator"
    for tensor in operator.inputs:
        if tensor is None:
            continue
        if not tensor.is_constant and tensor not in made and not tensor.is_variable:
            return f"{operator!r} reads '{tensor.name}' before it is made"
        if tensor.constant is not None and tensor.constant.shape != tensor.shape:
            return f"the constant '{tensor.name}' has the shape {tensor.constant.shape}, not {tensor.shape}"
        if operator not in tensor.users:
            return f"'{tensor.name}' does not know its user {operator.op}"
    for tensor in operator.outputs:
        if tensor.producer is not operator:
            return f"'{tensor.name}' does not know its producer {operator.op}"
        if tensor in made:
            return f"'{tensor.name}' is made twice"
    return ""
