"""Is a model well formed? Links, order, ownership, shapes of constants. Run after every pass; linear."""

from __future__ import annotations

from math import prod

import numpy as np

from fidelite.errors import InternalError
from fidelite.tflite.dims import is_static
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.memory import overwrites
from fidelite.tflite.ops import OPS


def check_model(model: Model, *, after: str = "") -> None:
    """Raise InternalError, naming the first fault and the pass that left it."""
    for graph in model.graphs:
        fault = _fault(graph, passes=graph is not model.main)
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


def check_memory(model: Model) -> None:
    """Raise InternalError for an operator that LiteRT would let write over a value that is still needed."""
    for graph in model.graphs:
        for found in overwrites(graph):
            raise InternalError(f"{found.writer!r} would be written over '{found.victim.name}', which is read again",
                                remedy="please report this, with the model if you can share it")


def _fault(graph: Graph, *, passes: bool) -> str:
    """The first fault. A graph that operators call may pass an input on as an output (`passes`)."""
    made: set[Tensor] = set(graph.inputs)
    for operator in graph.operators:
        if fault := _operator_fault(operator, made):
            return fault
        made.update(operator.outputs)
    for tensor in graph.outputs:
        if tensor not in made or tensor.is_constant or (tensor in graph.inputs and not passes):
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
    return _shape_fault(operator)


_BROADCASTING_NAMES = ("ADD SUB MUL DIV MAXIMUM MINIMUM POW SQUARED_DIFFERENCE EQUAL NOT_EQUAL GREATER LESS "
                       "GREATER_EQUAL LESS_EQUAL LOGICAL_AND LOGICAL_OR SELECT_V2 FLOOR_DIV FLOOR_MOD")
_BROADCASTING = frozenset(_BROADCASTING_NAMES.split())
_SAME_SHAPE_NAMES = ("RELU RELU6 LOGISTIC TANH EXP LOG SQRT RSQRT ABS NEG CAST SOFTMAX GELU HARD_SWISH LEAKY_RELU ELU "
                     "LOGICAL_NOT")
_SAME_SHAPE = frozenset(_SAME_SHAPE_NAMES.split())


def _shape_fault(operator: Operator) -> str:
    """Shapes that do not follow from the operands', for the operators whose rule is one line."""
    result = operator.outputs[0]
    shapes = [t.shape for t in operator.inputs if t is not None]
    if not is_static(result.shape) or not all(is_static(s) for s in shapes):
        return ""
    sizes = [tuple(int(d) for d in s) for s in shapes]  # type: ignore[arg-type]
    expected: tuple[int, ...] | None = None
    if operator.op in _SAME_SHAPE:
        expected = sizes[0]
    elif operator.op in _BROADCASTING:
        try:
            expected = np.broadcast_shapes(*sizes)
        except ValueError:
            return f"{operator!r} cannot broadcast its operands"
    elif operator.op == "RESHAPE" and prod(sizes[0]) != prod(result.static_shape):
        return f"{operator!r} changes the number of elements"
    elif operator.op == "CONCATENATION":
        axis = operator.options["axis"]
        expected = tuple(sum(s[axis] for s in sizes) if i == axis % len(sizes[0]) else d
                         for i, d in enumerate(sizes[0]))
    if expected is not None and expected != result.shape:
        return f"{operator!r} should have the shape {list(expected)}"
    return ""
