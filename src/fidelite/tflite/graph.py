"""The TFLite graph in memory: tensors, operators, graphs, models.

A graph keeps its operators as an ordered set, so that removing one costs nothing; passes append and then `sort`.
Every tensor knows who makes it and who uses it; only `Graph`'s methods change those links.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fidelite.tflite.constant import Constant
from fidelite.tflite.dims import Shape, is_static
from fidelite.tflite.types import ElementType


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (stored - zero_point), per tensor (one scale) or along `axis`; part of a tensor's type."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0
    block_size: int = 0
    """Blockwise along the last axis if not 0; then `scale` is row-major over (channels, blocks)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The source value that a tensor holds: the value's axes in the order `permutation` (empty: as the source)."""

    value: str
    permutation: tuple[int, ...] = ()


class Tensor:
    """A value of a graph. `constant` is set for values known when converting."""

    __slots__ = ("constant", "element", "is_variable", "name", "origin", "producer", "quantization", "shape", "users")

    def __init__(self, name: str, element: ElementType, shape: Shape, *, constant: Constant | None = None,
                 quantization: Quantization | None = None, origin: Origin | None = None,
                 is_variable: bool = False) -> None:
        self.name = name
        self.element = element
        self.shape = shape
        self.constant = constant
        self.quantization = quantization
        self.origin = origin
        self.is_variable = is_variable
        self.producer: Operator | None = None
        self.users: dict[Operator, int] = {}
        """Operators that read it, with how many of their operands it is. Graph outputs are not in it."""

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_constant(self) -> bool:
        return self.constant is not None

    @property
    def is_static(self) -> bool:
        return is_static(self.shape)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as ints. Raises TypeError if a dimension is symbolic: callers check `is_static` first."""
        if not self.is_static:
            raise TypeError(f"tensor '{self.name}' has the dynamic shape {self.shape}")
        return tuple(d for d in self.shape if isinstance(d, int))

    def __repr__(self) -> str:
        dims = ",".join(str(d) for d in self.shape)
        return f"{self.name}:{self.element.name}[{dims}]"


class Operator:
    """One TFLite operator: `op` is its name in the schema, `options` the fields of its options table."""

    __slots__ = ("graphs", "inputs", "made_by", "nodes", "op", "options", "outputs", "version")

    def __init__(self, op: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
                 options: dict[str, Any] | None = None, *, nodes: tuple[str, ...] = (), made_by: str = "",
                 graphs: tuple[Graph, ...] = ()) -> None:
        self.op = op
        self.inputs: tuple[Tensor | None, ...] = tuple(inputs)
        self.outputs: tuple[Tensor, ...] = tuple(outputs)
        self.options: dict[str, Any] = dict(options or {})
        self.nodes = nodes
        """Names of the source nodes it came from."""
        self.made_by = made_by
        """The lowering or pass that made it."""
        self.graphs = graphs
        """Subgraphs it calls (IF, WHILE, ...), in the order of its options."""
        self.version = 0
        """Set by a reader; 0: the lowest that serves."""

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(repr(t) for t in self.inputs)}) -> {', '.join(repr(t) for t in self.outputs)}"


class Graph:
    """A graph: inputs and outputs in the source's order, and operators in an order that can be run."""

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self._operators: dict[Operator, None] = {}

    @property
    def operators(self) -> Sequence[Operator]:
        """A snapshot, safe to change the graph under."""
        return tuple(self._operators)

    def __len__(self) -> int:
        return len(self._operators)

    def __contains__(self, operator: Operator) -> bool:
        return operator in self._operators

    def append(self, operator: Operator) -> Operator:
        self._operators[operator] = None
        for tensor in operator.inputs:
            if tensor is not None:
                tensor.users[operator] = tensor.users.get(operator, 0) + 1
        for tensor in operator.outputs:
            if tensor.producer is not None:
                raise ValueError(f"tensor '{tensor.name}' has two producers")
            tensor.producer = operator
        return operator

    def remove(self, operator: Operator) -> None:
        """Take an operator out. Its outputs lose their producer; the caller has seen to their users."""
        del self._operators[operator]
        for tensor in operator.inputs:
            if tensor is not None:
                tensor.users.pop(operator, None)
        for tensor in operator.outputs:
            tensor.producer = None

    def set_inputs(self, operator: Operator, inputs: Sequence[Tensor | None]) -> None:
        for tensor in operator.inputs:
            if tensor is not None:
                tensor.users.pop(operator, None)
        operator.inputs = tuple(inputs)
        for tensor in operator.inputs:
            if tensor is not None:
                tensor.users[operator] = tensor.users.get(operator, 0) + 1

    def set_outputs(self, operator: Operator, outputs: Sequence[Tensor]) -> None:
        for tensor in operator.outputs:
            tensor.producer = None
        operator.outputs = tuple(outputs)
        for tensor in operator.outputs:
            if tensor.producer is not None:
                raise ValueError(f"tensor '{tensor.name}' has two producers")
            tensor.producer = operator

    def replace_uses(self, old: Tensor, new: Tensor) -> None:
        """Let every operator that reads `old` read `new`. Graph outputs stay: they own their tensors."""
        for user in tuple(old.users):
            self.set_inputs(user, [new if t is old else t for t in user.inputs])

    def is_output(self, tensor: Tensor) -> bool:
        return any(tensor is t for t in self.outputs)

    def output_set(self) -> set[Tensor]:
        return set(self.outputs)

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor once: inputs, then operands and results in operator order, then outputs."""
        seen: set[Tensor] = set()
        for tensor in self._all_tensors():
            if tensor not in seen:
                seen.add(tensor)
                yield tensor

    def _all_tensors(self) -> Iterator[Tensor]:
        yield from self.inputs
        for operator in self._operators:
            yield from (t for t in operator.inputs if t is not None)
            yield from operator.outputs
        yield from self.outputs

    def sort(self) -> None:
        """Order the operators so that each comes after what it reads, as near to the present order as can be."""
        done: set[Operator] = set()
        ordered: dict[Operator, None] = {}
        for root in self._operators:
            stack = [(root, iter(root.inputs))]
            while stack:
                operator, operands = stack[-1]
                if operator in done:
                    stack.pop()
                    continue
                for tensor in operands:
                    if tensor is not None and (maker := tensor.producer) is not None and maker not in done:
                        stack.append((maker, iter(maker.inputs)))
                        break
                else:
                    done.add(operator)
                    ordered[operator] = None
                    stack.pop()
        self._operators = ordered


def with_called(*graphs: Graph) -> list[Graph]:
    """`graphs`, and all that their operators call, and so on."""
    found = dict.fromkeys(graphs)
    pending = list(found)
    while pending:
        called = dict.fromkeys(g for operator in pending.pop().operators for g in operator.graphs if g not in found)
        found |= called
        pending += called
    return list(found)


@dataclass
class Signature:
    """A named way to call a graph; names are the source's own."""

    key: str
    graph: Graph
    inputs: list[tuple[str, Tensor]] = field(default_factory=list[tuple[str, Tensor]])
    outputs: list[tuple[str, Tensor]] = field(default_factory=list[tuple[str, Tensor]])


@dataclass
class Model:
    """All that goes into one file. `graphs[0]` is the main graph."""

    graphs: list[Graph]
    signatures: list[Signature] = field(default_factory=list[Signature])
    metadata: dict[str, bytes] = field(default_factory=dict[str, bytes])
    description: str = ""
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Small files by name, which lie as a zip behind the tables: labels, for one."""

    @property
    def main(self) -> Graph:
        return self.graphs[0]
