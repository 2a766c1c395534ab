"""The layout problem of a graph: which operators may choose a label, and what their choices cost.

TRANSPOSEs are taken out of the graph and become views: a value read through one is its root, permuted. Each root is
stored in the order that its maker's label gives; each reader wants it in some order; where the two differ, a
TRANSPOSE is paid for, once for all readers that want the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fidelite.optimize.layout.permutation import (
    Permutation,
    compose,
    identity,
    same_bytes,
)
from fidelite.optimize.layout.rules import Binding, Rule, broadcast_label, rule_of
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.kernels import XNNPACK_FLOAT32
from fidelite.tflite.ops import FUSED_ACTIVATIONS, FUSING_OPS
from fidelite.tflite.types import ElementType

RESHAPE_COST = 256
"""Cost of a RESHAPE, in bytes moved: it moves none, but it is an operator."""
LAUNCH_COST = 1024
"""What a TRANSPOSE costs besides its bytes."""
UNDELEGATED = 20
"""How much dearer a TRANSPOSE is that XNNPACK does not take (measured: 0.2 against 7 ms)."""
FUSION_COST = 512
"""What a TRANSPOSE costs besides that, where it keeps an activation or a constant factor from being fused."""
ASSUMED_DIM = 64
"""Stands for a dimension that only the run time knows."""


@dataclass(eq=False)
class Reader:
    """One operand of an operator that reads `root` through the view `permutation`. `operator` None: a graph output."""

    root: Tensor
    permutation: Permutation
    operator: Operator | None
    position: int


@dataclass(eq=False)
class Problem:
    graph: Graph
    rules: dict[Operator, Rule] = field(default_factory=dict[Operator, Rule])
    views: dict[Tensor, tuple[Tensor, Permutation]] = field(default_factory=dict[Tensor, tuple[Tensor, Permutation]])
    readers: dict[Tensor, list[Reader]] = field(default_factory=dict[Tensor, list[Reader]])
    roots_of: dict[Operator, list[Tensor]] = field(default_factory=dict[Operator, list[Tensor]])
    """Roots that an operator reads or makes: whose cost depends on its label."""
    _bindings: dict[tuple[Operator, Permutation], Binding | None] = field(
        default_factory=dict[tuple[Operator, Permutation], Binding | None])

    def binding(self, operator: Operator, label: Permutation) -> Binding | None:
        key = (operator, label)
        if key not in self._bindings:
            self._bindings[key] = self.rules[operator].bind(operator, label)
        return self._bindings[key]

    def view(self, tensor: Tensor) -> tuple[Tensor, Permutation]:
        """The root behind `tensor`, and the permutation that leads to it."""
        return self.views.get(tensor) or (tensor, identity(tensor.rank))

    def stored(self, root: Tensor, labels: Mapping[Operator, Permutation]) -> Permutation:
        """The order in which `root` is stored under `labels`."""
        maker = root.producer
        if maker is None or maker not in self.rules:
            return identity(root.rank)
        binding = self.binding(maker, labels[maker])
        assert binding is not None
        return binding.results[maker.outputs.index(root)]

    def wanted(self, reader: Reader, labels: Mapping[Operator, Permutation]) -> Permutation:
        """The order of `reader.root` that the reader takes under `labels`."""
        operator = reader.operator
        if operator is None or operator not in self.rules:
            return reader.permutation
        binding = self.binding(operator, labels[operator])
        assert binding is not None
        label = binding.operands[reader.position]
        return reader.permutation if label is None else compose(reader.permutation, label)

    def cost(self, root: Tensor, labels: Mapping[Operator, Permutation]) -> float:
        """What moving `root` to all its readers costs, in delegated bytes."""
        have = self.stored(root, labels)
        total = 0.0
        paid: set[Permutation] = set()
        for reader in self.readers.get(root, ()):
            want = self.wanted(reader, labels)
            if want in paid:
                continue
            paid.add(want)
            if not same_bytes(have, want, root.shape):
                total += self.price(root)
            elif have != want:
                total += RESHAPE_COST
            total += self._rank_cost(reader, labels)
        return total

    def price(self, root: Tensor) -> float:
        """What a TRANSPOSE of `root` costs."""
        return transpose_cost(root) + (FUSION_COST if self._fuses(root) else 0)

    def _fuses(self, root: Tensor) -> bool:
        """Whether the only reader would become part of `root`'s maker, were there no TRANSPOSE in between."""
        maker, readers = root.producer, self.readers.get(root, ())
        if maker is None or maker.op not in FUSING_OPS or len(readers) != 1:
            return False
        reader = readers[0].operator
        if reader is None or reader.op in FUSED_ACTIVATIONS:
            return reader is not None
        return reader.op in ("MUL", "ADD", "SUB", "DIV") and any(t is not None and t.is_constant for t in reader.inputs)

    def _rank_cost(self, reader: Reader, labels: Mapping[Operator, Permutation]) -> float:
        """A lower-rank operand of a permuted broadcast needs a RESHAPE to full rank, unless it is all units."""
        operator = reader.operator
        if operator is None or operator not in self.rules or operator.op == "RESHAPE":
            return 0.0
        label = labels[operator]
        rank = reader.root.rank
        binding = self.binding(operator, label)
        assert binding is not None
        own = binding.operands[reader.position]
        if own is None or rank in (0, len(label)) or not _broadcasts(operator):
            return 0.0
        lead = len(label) - rank
        aligned = label[lead:] == tuple(a + lead for a in broadcast_label(rank, label)) and \
            set(label[:lead]) == set(range(lead))
        return 0.0 if aligned else RESHAPE_COST


def _broadcasts(operator: Operator) -> bool:
    return operator.op == "BROADCAST_TO" or (len(operator.inputs) > 1 and operator.op not in (
        "CONCATENATION", "RESHAPE", "SPLIT", "GATHER", "FULLY_CONNECTED"))


def transpose_cost(tensor: Tensor) -> float:
    """Bytes moved, dearer where XNNPACK does not take it."""
    size = tensor.element.bits / 8
    for dim in tensor.shape:
        size *= dim if isinstance(dim, int) else ASSUMED_DIM
    quantized = tensor.quantization is not None and tensor.element in (ElementType.INT8, ElementType.UINT8)
    taken = quantized or tensor.element is ElementType.FLOAT32
    delegated = taken and tensor.rank <= 6 and "TRANSPOSE" in XNNPACK_FLOAT32
    return LAUNCH_COST + size * (1 if delegated else UNDELEGATED)


def build(graph: Graph) -> Problem:
    """The problem of `graph`, in one walk. Operators are in an order that can be run."""
    problem = Problem(graph)
    for operator in graph.operators:
        if operator.op == "TRANSPOSE" and _permutation(operator) is not None:
            source, permutation = operator.inputs[0], _permutation(operator)
            assert source is not None
            assert permutation is not None
            root, before = problem.view(source)
            problem.views[operator.outputs[0]] = (root, compose(before, permutation))
            continue
        rule = rule_of(operator)
        if rule is not None:
            problem.rules[operator] = rule
            if problem.binding(operator, identity(rule.rank(operator))) is None:
                del problem.rules[operator]
        for position, tensor in enumerate(operator.inputs):
            if tensor is not None and not tensor.is_constant:
                _read(problem, tensor, operator, position)
        problem.roots_of.setdefault(operator, []).extend(operator.outputs)
    for tensor in graph.outputs:
        _read(problem, tensor, None, 0)
    return problem


def _read(problem: Problem, tensor: Tensor, operator: Operator | None, position: int) -> None:
    root, permutation = problem.view(tensor)
    problem.readers.setdefault(root, []).append(Reader(root, permutation, operator, position))
    if operator is not None:
        roots = problem.roots_of.setdefault(operator, [])
        if root not in roots:
            roots.append(root)


def _permutation(operator: Operator) -> Permutation | None:
    operand = operator.inputs[1]
    if operand is None or operand.constant is None or operator.inputs[0] is None or operator.inputs[0].is_constant:
        return None
    return tuple(int(a) for a in operand.constant.numpy())


def start(problem: Problem) -> dict[Operator, Permutation]:
    """Every operator as it was lowered."""
    return {operator: identity(rule.rank(operator)) for operator, rule in problem.rules.items()}
