"""The view of an ONNX node that a lowering gets: attributes (from `source`) and operands as TFLite tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fidelite.errors import InvalidModel, NeedsConstant, UnsupportedType
from fidelite.lower.sequences import TensorSequence
from fidelite.source.element import element_type_of
from fidelite.source.node import NodeView
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor

if TYPE_CHECKING:
    import onnx_ir

    from fidelite.lower.scope import Scope

    Contents = np.ndarray  # object array of int | SymbolicDim


class Node(NodeView):
    """One ONNX node while it is lowered. Operand positions are those of the ONNX schema."""

    def __init__(self, node: onnx_ir.Node, opsets: Mapping[str, int], version: int,
                 operands: Sequence[Tensor | TensorSequence | None], contents: Callable[[Tensor], Any],
                 scope: Scope | None = None) -> None:
        super().__init__(node, opsets)
        self._opsets = opsets
        self.version = version
        """The schema version in force (`since_version`), which the lowering was chosen by."""
        self._operands = operands
        self._contents = contents
        self._scope = scope

    def standing_for(self, operands: Sequence[Tensor | TensorSequence | None], version: int) -> Node:
        """This node with other operands, as a node of the standard's own operator in a schema version: for operators
        of other domains that are one of those and something more."""
        return Node(self.node, self._opsets, version, operands, self._contents, self._scope)

    @property
    def scope(self) -> Scope:
        """The graph that the node is lowered into, for operators with bodies."""
        assert self._scope is not None
        return self._scope

    @property
    def operands(self) -> Sequence[Tensor | None]:
        return [self.optional(i) for i in range(len(self._operands))]

    @property
    def held(self) -> Sequence[Tensor | TensorSequence | None]:
        """As `operands`, where operands may be sequences."""
        return self._operands

    def optional(self, index: int) -> Tensor | None:
        """The operand at `index`, or None where it is left out."""
        operand = self._operands[index] if index < len(self._operands) else None
        if isinstance(operand, TensorSequence):
            raise UnsupportedType(f"operand {index} is a sequence of tensors, which LiteRT does not have",
                                  where=self.where(), remedy="use its elements one by one in the model")
        return operand

    def input(self, index: int) -> Tensor:
        """The operand at `index`. Raises InvalidModel where it is left out."""
        tensor = self.optional(index)
        if tensor is None:
            raise InvalidModel(f"operand {index} is missing", where=self.where(),
                               remedy="check the model with onnx.checker, and export it again")
        return tensor

    def inputs(self) -> list[Tensor]:
        """All operands, for operators that take any number of them."""
        return [self.input(i) for i in range(len(self._operands))]

    def type_at(self, index: int) -> onnx_ir.DataType | None:
        """The ONNX element type of the operand at `index`, which its tensor may carry in another one; None where
        neither the model nor the schemas say it."""
        return element_type_of(self.node.inputs[index], self._opsets) if index < len(self.node.inputs) else None

    @property
    def output_count(self) -> int:
        """How many results the node has, those left out included."""
        return len(self.node.outputs)

    def wants(self, index: int) -> bool:
        """Whether the node has the result at `index`, and does not leave it out."""
        return index < len(self.node.outputs) and bool(self.node.outputs[index].name)

    def constant(self, index: int, what: str = "") -> np.ndarray:
        """The operand's value. Raises NeedsConstant where only the run time knows it."""
        tensor = self.input(index)
        if tensor.constant is None:
            raise NeedsConstant(
                f"operand {index} ({what or tensor.name}) must be known when converting, and the model computes it",
                where=self.where(), remedy="fix the input's dimensions (--shape NAME=1,3,512,512), or make it an "
                "initializer in the model", details={"operand": index, "value": tensor.name})
        return tensor.constant.numpy()

    def optional_constant(self, index: int, what: str = "") -> np.ndarray | None:
        """As `constant`; None where the operand is left out."""
        return None if self.optional(index) is None else self.constant(index, what)

    def ints_at(self, index: int, what: str = "") -> list[int]:
        """A constant integer operand as a list (a rank-0 one gives one entry)."""
        return [int(v) for v in self.constant(index, what).reshape(-1)]

    def dims_at(self, index: int, what: str = "") -> list[Dim]:
        """An integer operand that holds dimensions: ints, or symbols where it was computed from dynamic shapes."""
        known = self.known_dims(index)
        return [*self.ints_at(index, what)] if known is None else known

    def known_dims(self, index: int) -> list[Dim] | None:
        """As `dims_at`, but None where the content is not known in any form."""
        tensor = self.input(index)
        if tensor.constant is not None:
            return [int(v) for v in tensor.constant.numpy().reshape(-1)]
        contents = self._contents(tensor) if tensor.element.is_integer else None
        return None if contents is None else list(contents.reshape(-1))

    def declared_shape(self, index: int = 0) -> list[int] | None:
        """The shape that the model declares for the result at `index`, where it says all of it: what serves where an
        operand that decides it is known to the run time only."""
        shape = self.node.outputs[index].shape
        dims = [] if shape is None else [d for d in shape if isinstance(d, int)]
        return dims if shape is not None and len(dims) == len(shape) else None

    def axis(self, rank: int, default: int | None = None, name: str = "axis") -> int:
        """The axis attribute, counted from the front. Raises InvalidModel where it is out of range."""
        return self.normalized(self.int_(name) if default is None else self.int_(name, default), rank)

    def normalized(self, axis: int, rank: int) -> int:
        """An axis counted from the front. Raises InvalidModel where it is out of range."""
        if not -rank <= axis < max(rank, 1):
            raise InvalidModel(f"axis {axis} is out of range for {rank} dimensions", where=self.where(),
                               remedy="the model contradicts itself: export it again")
        return axis % rank if rank else 0

    def axes_operand_or_attribute(self, index: int, rank: int) -> list[int] | None:
        """Axes given as the operand at `index` (newer schemas) or as the attribute `axes` (older ones)."""
        raw = self.ints_at(index, "axes") if self.optional(index) is not None else self.ints("axes", None)
        return None if raw is None else [self.normalized(a, rank) for a in raw]
