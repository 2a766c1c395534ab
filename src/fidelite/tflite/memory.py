"""Which operators LiteRT lets write over a value that is still needed.

LiteRT's memory planner (`arena_planner.cc`, `IdentifyInPlaceTensors`) gives the result of some operators the memory of
an operand. A view (RESHAPE and its kin) always shares; arithmetic shares if its operand has no other reader, and if
the tensor that first owned the memory has none. What it does not look at are the tensors between those two:

    a = ADD(x, 1)          in the memory of x
    v = RESHAPE(a)         in the memory of x, too
    w = ADD(v, 1)          v has one reader, x has one reader: w is written into the memory of x
    z = NEG(a)             reads what w left there

XNNPACK has memory of its own, so that only operators that it does not take are struck: integers, dynamic shapes, and
every operator where another delegate, or none, is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from fidelite.tflite.graph import Graph, Operator, Tensor

VIEWS = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE", "BITCAST"})
"""Operators whose result is their first operand's memory."""
IN_PLACE: dict[str, int] = {"ADD": 2, "SUB": 2, "MUL": 2, "DIV": 2, "SOFTMAX": 1, "DYNAMIC_UPDATE_SLICE": 1}
"""Operators that may compute in an operand's memory, with how many of the first operands are tried."""
_SMALL = 4
"""Results of so few bytes are never written in place."""


@dataclass(frozen=True, slots=True)
class Overwrite:
    """`writer` computes in the memory of `victim`, which other operators read, perhaps later."""

    writer: Operator
    victim: Tensor
    view: Operator
    """The first operator after `victim` on the way to `writer`: a view."""
    owner: Tensor
    """The tensor that the memory was planned for."""


def overwrites(graph: Graph) -> list[Overwrite]:
    """Every operator that may write over a value before all its readers have run, in running order."""
    plan = _Plan(graph)
    return [found for operator in graph.operators if (found := plan.overwrite(operator)) is not None]


class _Plan:
    def __init__(self, graph: Graph) -> None:
        self.fixed = {*graph.inputs, *graph.outputs}
        self.references: dict[Tensor, int] = {}
        for tensor in (*graph.inputs, *graph.outputs):
            self.references[tensor] = self.references.get(tensor, 0) + 1
        self.inputs, self.outputs = set(graph.inputs), set(graph.outputs)
        self.parent: dict[Tensor, Tensor] = {}
        self.owner: dict[Tensor, Tensor] = {}
        self.members: dict[Tensor, list[Tensor]] = {}
        for operator in graph.operators:
            shared = self._shared_operand(operator)
            if shared is not None:
                result = operator.outputs[0]
                self.parent[result] = shared
                self.owner[result] = self.owner.get(shared, shared)
                self.members.setdefault(self.owner[result], []).append(result)

    def count(self, tensor: Tensor) -> int:
        """LiteRT's reference count: readers, and whether it is an input or output of the graph."""
        return self.references.get(tensor, 0) + sum(tensor.users.values())

    def _shared_operand(self, operator: Operator) -> Tensor | None:
        """The operand whose memory the operator's result gets."""
        if not operator.outputs or operator.outputs[0] in self.outputs:
            return None
        if operator.op in VIEWS:
            source = operator.inputs[0]
            return source if source is not None and self._in_arena(source) else None
        for tensor in operator.inputs[:IN_PLACE.get(operator.op, 0)]:
            if tensor is not None and self._in_arena(tensor) and self.count(tensor) == 1 and \
                    _as_large(tensor, operator.outputs[0]):
                return tensor if self.count(self.owner.get(tensor, tensor)) <= 1 else None
        return None

    def _in_arena(self, tensor: Tensor) -> bool:
        return not tensor.is_constant and not tensor.is_variable and tensor not in self.inputs

    def overwrite(self, writer: Operator) -> Overwrite | None:
        if writer.op not in IN_PLACE or writer.outputs[0] not in self.parent:
            return None
        below: Tensor = self.parent[writer.outputs[0]]
        owner = self.owner.get(below, below)
        mine = set(writer.outputs)
        readers: set[Operator] = set()
        for member in (owner, *self.members.get(owner, ())):
            if member in mine or self.parent.get(member) in mine:
                mine.add(member)
            else:
                readers.update(member.users)
        readers.discard(writer)
        if not readers or readers <= _before(writer, readers):
            return None
        while (victim := self.parent.get(below)) is not None:
            if self.count(victim) > 1 and below.producer is not None and below.producer.op in VIEWS:
                return Overwrite(writer, victim, below.producer, owner)
            below = victim
        return None


def _as_large(operand: Tensor, result: Tensor) -> bool:
    """Whether the two may have the same number of bytes, and enough of them."""
    if not operand.is_static or not result.is_static:
        return True
    sizes = [_bytes(t) for t in (operand, result)]
    return sizes[0] == sizes[1] and sizes[0] > _SMALL


def _bytes(tensor: Tensor) -> int:
    size = 1
    for dim in tensor.static_shape:
        size *= dim
    return (size * tensor.element.bits + 7) // 8


def _before(operator: Operator, wanted: set[Operator]) -> set[Operator]:
    """Those of `wanted` whose results `operator` needs, so that they have run before it."""
    found: set[Operator] = set()
    seen: set[Operator] = set()
    pending = [operator]
    while pending and len(found) < len(wanted):
        for tensor in pending.pop().inputs:
            maker = tensor.producer if tensor is not None else None
            if maker is not None and maker not in seen:
                seen.add(maker)
                pending.append(maker)
                if maker in wanted:
                    found.add(maker)
    return found
