"""What every Builder method rests on: constants, casts, emission with checks, shapes as run-time operands."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fidelite.errors import NeedsStaticShape, UnsupportedAttribute, UnsupportedType
from fidelite.tflite.constant import Cast, Constant
from fidelite.tflite.dims import Counted, Dim, Opaque, Shape, SymbolicDim, is_static, maximum
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.kernels import compute_type, kernel_types, max_rank
from fidelite.tflite.ops import OPS
from fidelite.tflite.quantized import carry_grid
from fidelite.tflite.types import ElementType

Result = tuple[ElementType, Shape]


class BuilderCore:
    """Appends operators to a graph, inferring and checking types and shapes as it goes.

    `nodes` and `made_by` are stamped on every operator; the driver sets them before each lowering.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: tuple[str, ...] = ()
        self.made_by = ""
        self.narrowed: set[str] = set()
        """Element types that were computed in a narrower one (float64)."""
        self.symbol_sources: dict[str, tuple[Tensor, int]] = {}
        """Where a symbol's value can be read at run time: a tensor and its axis."""
        self.outer: BuilderCore | None = None
        """The Builder of the graph around this one, and how a tensor of that graph is had in this one."""
        self.capture: Callable[[Tensor], Tensor] | None = None
        self._numbers = itertools.count(1)
        self._memo: dict[Any, Tensor] = {}
        self._regions: dict[Any, Graph] = {}

    def nest(self, inner: BuilderCore, capture: Callable[[Tensor], Tensor]) -> None:
        """Let `inner`, the Builder of a graph that an operator of this one calls, know this one's symbols, which it
        reads from tensors that it captures; names that are made up differ in both."""
        inner.outer, inner.capture = self, capture
        inner.narrowed, inner._numbers = self.narrowed, self._numbers
        inner.nodes, inner.made_by = self.nodes, self.made_by

    def source_of(self, symbol: str) -> tuple[Tensor, int] | None:
        """Where a symbol's value can be read: a tensor of this graph, and its axis. None where nowhere."""
        if symbol not in self.symbol_sources and self.outer is not None and self.capture is not None:
            found = self.outer.source_of(symbol)
            if found is not None:
                self.symbol_sources[symbol] = (self.capture(found[0]), found[1])
        return self.symbol_sources.get(symbol)

    def knows_symbol(self, symbol: str) -> bool:
        return symbol in self.symbol_sources or (self.outer is not None and self.outer.knows_symbol(symbol))

    # -- names and constants

    def fresh_name(self, hint: str) -> str:
        prefix = self.nodes[-1] if self.nodes else self.made_by or "fidelite"
        return f"{prefix}/{hint}:{next(self._numbers)}"

    def constant(self, value: np.ndarray | Constant, name: str = "") -> Tensor:
        """A tensor known when converting. Arrays keep their element type."""
        constant = value if isinstance(value, Constant) else Constant.of(value)
        return Tensor(name or self.fresh_name("const"), constant.element, constant.shape, constant=constant)

    def scalar(self, value: float | int | bool, like: Tensor | ElementType) -> Tensor:
        """A rank-0 constant of the element type of `like`."""
        element = like if isinstance(like, ElementType) else like.element
        return self.constant(np.asarray(value).astype(element.dtype))

    def int32(self, values: Sequence[int] | int) -> Tensor:
        """An int32 constant: a vector, or a rank-0 one for a single int."""
        return self.constant(np.asarray(values, np.int32))

    # -- emission

    def emit(self, op: str, inputs: Sequence[Tensor | None], results: Sequence[Result],
             options: Mapping[str, Any] | None = None) -> tuple[Tensor, ...]:
        """Append one operator. Its name must be in the table of ops; types and ranks are the caller's to check."""
        if op not in OPS:
            raise KeyError(f"{op} is not in the table of operators")
        outputs = tuple(Tensor(self.fresh_name(op.lower()), element, shape) for element, shape in results)
        operator = Operator(op, inputs, outputs, dict(options or {}), nodes=self.nodes, made_by=self.made_by)
        self.graph.append(operator)
        carry_grid(operator)
        return outputs

    def one(self, op: str, inputs: Sequence[Tensor | None], element: ElementType, shape: Shape,
            **options: Any) -> Tensor:
        """Append an operator with one output, after checking the type of its first operand and the output's rank."""
        first = inputs[0]
        types = kernel_types(op)
        if first is not None and types is not None and first.element not in types:
            raise UnsupportedType(
                f"LiteRT's {op} does not compute in {first.element.name}",
                remedy=f"types it takes: {', '.join(sorted(t.name for t in types))}",
                details={"op": op, "type": first.element.name})
        self.check_rank(op, first.rank if first is not None else 0)
        return self.emit(op, inputs, [(element, shape)], options)[0]

    def check_rank(self, op: str, rank: int) -> None:
        if rank > max_rank(op):
            raise UnsupportedAttribute(
                f"LiteRT's {op} takes at most {max_rank(op)} dimensions, and this one has {rank}",
                remedy="reshape to fewer dimensions in the model before exporting it",
                details={"op": op, "rank": rank, "max_rank": max_rank(op)})

    # -- types

    def cast(self, x: Tensor, element: ElementType) -> Tensor:
        """`x` in another element type (CAST; constants are cast when written). Integers wrap, floats truncate."""
        if x.element is element:
            return x
        if x.constant is not None:
            return self.constant(x.constant.then(Cast(element)))
        # float64 and friends have no direct way to some types; CAST covers all pairs of the table.
        types = kernel_types("CAST")
        if types is not None and (element not in types or x.element not in types):
            raise UnsupportedType(f"LiteRT cannot cast {x.element.name} to {element.name}",
                                  remedy="change the model's element type before exporting it")
        return self.one("CAST", [x], element, x.shape)

    def compute_type(self, op: str, element: ElementType) -> ElementType:
        """The type in which `op` is computed for operands of `element`: the same, or a wider one.

        Raises UnsupportedType where there is none. float64 is narrowed to float32, and noted in `narrowed`.
        """
        wide = compute_type(op, element)
        if wide is None:
            raise UnsupportedType(f"LiteRT's {op} has no kernel for {element.name}, nor for a wider type",
                                  remedy="use float32 or int32 in the model", details={"op": op, "type": element.name})
        if element is ElementType.FLOAT64 and wide is ElementType.FLOAT32:
            self.narrowed.add("float64")
        return wide

    # -- shapes

    def broadcast(self, *shapes: Shape) -> Shape:
        """The common shape under numpy's rule. A symbol against an int > 1 must equal it at run time."""
        rank = max(len(s) for s in shapes)
        result: list[Dim] = []
        for axis in range(rank):
            dim: Dim = 1
            for shape in shapes:
                at = axis - (rank - len(shape))
                if at >= 0:
                    dim = self._broadcast_dim(dim, shape[at])
            result.append(dim)
        return tuple(result)

    def _broadcast_dim(self, a: Dim, b: Dim) -> Dim:
        if a == b or b == 1:
            return a
        if a == 1:
            return b
        if isinstance(a, int) and isinstance(b, int):
            raise UnsupportedAttribute(f"dimensions {a} and {b} cannot be broadcast together",
                                       remedy="the model contradicts itself: check it with fidelite inspect")
        if isinstance(a, int):
            return a
        return b if isinstance(b, int) else maximum(a, b)

    def static(self, x: Tensor, what: str) -> tuple[int, ...]:
        """`x`'s shape as ints. Raises NeedsStaticShape saying `what` needs it."""
        if not x.is_static:
            raise NeedsStaticShape(
                f"{what} needs a shape that is known when converting, and '{x.name}' has {_text(x.shape)}",
                remedy="fix the input's dimensions: --shape NAME=1,3,512,512",
                details={"tensor": x.name, "shape": [str(d) for d in x.shape]})
        return x.static_shape

    def static_dim(self, dim: Dim, what: str) -> int:
        """A dimension as an int. Raises NeedsStaticShape saying `what` needs it."""
        if not isinstance(dim, int):
            raise NeedsStaticShape(f"{what} must be known when converting, and is {dim}",
                                   remedy="fix the input's dimensions: --shape NAME=1,3,512,512",
                                   details={"dimension": str(dim)})
        return dim

    def shape_operand(self, dims: Sequence[Dim]) -> Tensor:
        """An int32 vector that holds `dims`: a constant, or computed at run time from the shapes of tensors."""
        if is_static(dims):
            return self.int32([int(d) for d in dims])  # type: ignore[arg-type]
        parts: list[Tensor] = []
        at = 0
        while at < len(dims):
            count = self._run_length(dims[at:])
            parts.append(self._run_operand(dims[at:at + count]))
            at += count
        if len(parts) == 1:
            return parts[0]
        return self.emit("CONCATENATION", parts, [(ElementType.INT32, (len(dims),))], {"axis": 0})[0]

    def size_operand(self, dim: Dim) -> Tensor:
        """A dimension as an int32 scalar: a constant, or computed at run time."""
        if isinstance(dim, int):
            return self.int32(dim)
        return self._once(("size", dim), lambda: self.one(
            "RESHAPE", [self.shape_operand([dim]), self.int32([])], ElementType.INT32, (), newShape=[]))

    def _run_length(self, dims: Sequence[Dim]) -> int:
        """How many of the first `dims` one operand gives: constants, or neighbours in the shape of one tensor."""
        if isinstance(dims[0], int):
            return next((i for i, d in enumerate(dims) if not isinstance(d, int)), len(dims))
        source = self._source(dims[0])
        count = 1
        while source is not None and count < len(dims) and self._source(dims[count]) == (source[0], source[1] + count):
            count += 1
        return count

    def _source(self, dim: Dim) -> tuple[Tensor, int] | None:
        """The tensor and the axis whose size `dim` is; None where it is not just one symbol."""
        if isinstance(dim, int) or len(dim.terms) != 1:
            return None
        (atoms, factor), = dim.terms
        name = atoms[0] if len(atoms) == 1 and factor == 1 else None
        return self.source_of(name) if isinstance(name, str) else None

    def _run_operand(self, dims: Sequence[Dim]) -> Tensor:
        """An int32 vector of `dims`, which `_run_length` found to be of one kind."""
        first = dims[0]
        if isinstance(first, int):
            return self.int32([int(d) for d in dims])  # type: ignore[arg-type]
        source = self._source(first)
        return self._dim_operand(first) if source is None else self._sizes(*source, len(dims))

    def _sizes(self, tensor: Tensor, axis: int, count: int) -> Tensor:
        """`count` sizes of `tensor` from `axis` on, as an int32 vector."""
        shape = self._once(("shape", tensor), lambda: self.emit(
            "SHAPE", [tensor], [(ElementType.INT32, (tensor.rank,))], {"outType": ElementType.INT32.value})[0])
        if count == tensor.rank:
            return shape
        return self._once(("sizes", tensor, axis, count), lambda: self.emit(
            "SLICE", [shape, self.int32([axis]), self.int32([count])], [(ElementType.INT32, (count,))])[0])

    def _once(self, key: Any, make: Callable[[], Tensor]) -> Tensor:
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def _dim_operand(self, dim: Dim) -> Tensor:
        """A dimension as an int32 vector of one element."""
        if isinstance(dim, int):
            return self.int32([dim])
        return self._once(("dim", dim), lambda: self._polynomial(dim))

    def _polynomial(self, dim: SymbolicDim) -> Tensor:
        """The sum of a dimension's terms. A leading -1 becomes a subtraction."""
        total: Tensor | None = None
        for monomial, factor in sorted(dim.terms, key=lambda term: term[1] < 0):
            op = "ADD"
            if factor < 0 and total is not None:
                op, factor = "SUB", -factor
            term: Tensor | None = None
            for atom in monomial:
                value = self._atom_operand(atom)
                term = value if term is None else self._int("MUL", term, value)
            if term is None:
                term = self.int32([factor])
            elif factor != 1:
                term = self._int("MUL", term, self.int32([factor]))
            total = term if total is None else self._int(op, total, term)
        assert total is not None
        return total

    def _atom_operand(self, atom: str | Opaque) -> Tensor:
        if isinstance(atom, Opaque):
            left, right = self._dim_operand(atom.left), self._dim_operand(atom.right)
            op = {"floordiv": "FLOOR_DIV", "min": "MINIMUM"}[atom.kind]
            return self._once(("atom", atom), lambda: self._int(op, left, right))
        source = self.source_of(atom)
        if source is None:
            raise NeedsStaticShape(f"the dimension '{atom}' cannot be read from any input at run time",
                                   remedy="fix the input's dimensions: --shape NAME=1,3,512,512")
        return self._sizes(*source, 1)

    def _int(self, op: str, a: Tensor, b: Tensor) -> Tensor:
        return self.emit(op, [a, b], [(ElementType.INT32, (1,))])[0]

    def new_symbol(self, tensor: Tensor, axis: int, hint: str = "d") -> SymbolicDim:
        """A symbol for a dimension that only the run time knows; `tensor` shows its value along `axis`."""
        while self.knows_symbol(name := f"{hint}{next(self._numbers)}"):  # the model's own symbols come first
            pass
        self.symbol_sources[name] = (tensor, axis)
        return SymbolicDim.symbol(Counted(name))

    def sized_at_run_time(self, tensor: Tensor, dims: Sequence[Dim | None]) -> Tensor:
        """`tensor` with the shape `dims`; each None becomes a new symbol that `tensor` itself shows."""
        tensor.shape = (0,) * len(dims)
        tensor.shape = tuple(self.new_symbol(tensor, i) if d is None else d for i, d in enumerate(dims))
        return tensor

def _text(shape: Shape) -> str:
    return "[" + ",".join(str(d) for d in shape) + "]"
