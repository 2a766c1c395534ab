"""Fuse small operators into the larger ones beside them: activations, transposed products, needless broadcasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fidelite.optimize.passes import Log
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.ops import FUSED_ACTIVATIONS, FUSING_OPS
from fidelite.tflite.types import ElementType

_BROADCASTING_NAMES = ("ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE POW EQUAL NOT_EQUAL GREATER LESS "
                       "GREATER_EQUAL LESS_EQUAL LOGICAL_AND LOGICAL_OR SELECT_V2 FLOOR_DIV FLOOR_MOD")
_BROADCASTING = frozenset(_BROADCASTING_NAMES.split())


@dataclass(frozen=True)
class FuseActivations:
    """RELU, RELU6 and RELU_N1_TO_1 become the `fusedActivationFunction` of what they follow."""

    name: ClassVar[str] = "fuse activations"

    def run(self, model: Model, log: Log) -> int:
        return sum(_fuse_activation(graph, operator, graph.output_set(), log)
                   for graph in model.graphs for operator in graph.operators if operator.op in FUSED_ACTIVATIONS)


def _fuse_activation(graph: Graph, operator: Operator, outputs: set[Tensor], log: Log) -> int:
    data = operator.inputs[0]
    maker = data.producer if data is not None else None
    if data is None or maker is None or maker.op not in FUSING_OPS:
        return 0
    if data.element is not ElementType.FLOAT32 or maker.options.get("fusedActivationFunction"):
        return 0
    if len(data.users) != 1 or data in outputs:
        log.refuse("fuse activations", f"'{data.name}' is also read elsewhere")
        return 0
    result = operator.outputs[0]
    graph.remove(operator)
    graph.set_outputs(maker, [result])
    maker.options["fusedActivationFunction"] = FUSED_ACTIVATIONS[operator.op]
    maker.nodes = tuple(dict.fromkeys((*maker.nodes, *operator.nodes)))
    return 1


@dataclass(frozen=True)
class FuseTransposesIntoProducts:
    """A TRANSPOSE that swaps the last two axes of a BATCH_MATMUL's operand becomes its `adj` flag."""

    name: ClassVar[str] = "fuse transposes into products"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            for operator in graph.operators:
                if operator.op == "BATCH_MATMUL":
                    count += sum(_fuse_swap(graph, operator, position) for position in (0, 1))
        return count


def _fuse_swap(graph: Graph, operator: Operator, position: int) -> int:
    operand = operator.inputs[position]
    maker = operand.producer if operand is not None else None
    if maker is None or maker.op != "TRANSPOSE" or maker.inputs[0] is None:
        return 0
    order = maker.inputs[1]
    if order is None or order.constant is None:
        return 0
    permutation = [int(a) for a in order.constant.numpy()]
    rank = len(permutation)
    if permutation != [*range(rank - 2), rank - 1, rank - 2]:
        return 0
    graph.set_inputs(operator, [maker.inputs[0] if i == position else t for i, t in enumerate(operator.inputs)])
    flag = "adjX" if position == 0 else "adjY"
    operator.options[flag] = not operator.options.get(flag)
    operator.nodes = tuple(dict.fromkeys((*maker.nodes, *operator.nodes)))
    return 1


@dataclass(frozen=True)
class DropNeedlessBroadcasts:
    """A BROADCAST_TO or TILE-like copy read by an operator that broadcasts by itself, beside a full-sized operand."""

    name: ClassVar[str] = "drop needless broadcasts"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            for operator in graph.operators:
                if operator.op == "BROADCAST_TO":
                    count += _drop_broadcast(graph, operator)
        return count


def _drop_broadcast(graph: Graph, operator: Operator) -> int:
    wide, narrow = operator.outputs[0], operator.inputs[0]
    if narrow is None:
        return 0
    count = 0
    for user in tuple(wide.users):
        others = [t for t in user.inputs if t is not None and t is not wide]
        if user.op in _BROADCASTING and any(t.shape == user.outputs[0].shape for t in others) and \
                user.outputs[0].rank <= 4:
            graph.set_inputs(user, [narrow if t is wide else t for t in user.inputs])
            count += 1
    return count
