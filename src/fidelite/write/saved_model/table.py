"""The table: a TFLite operator's name and the function that makes the operators of TensorFlow that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from fidelite.tflite.graph import Graph, Operator, Tensor

Value = Any
"""A tensor of TensorFlow."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operator to make. `operands` are tensors of TensorFlow in the operator's order, None where one is left out;
    `weight(i, permutation)` is operand `i` with its axes in that order: a variable that is stored so, where the operand
    is a weight."""

    tf: Any
    operator: Operator
    operands: Sequence[Value]
    weight: Callable[[int, Sequence[int]], Value]
    run: Callable[[Graph, Sequence[Value]], list[Value]]
    """Makes what another graph of the model computes from these operands (IF, WHILE)."""

    def __getitem__(self, index: int) -> Value:
        return self.operands[index]

    def has(self, index: int) -> bool:
        return index < len(self.operands) and self.operands[index] is not None

    def option(self, name: str, default: Any = None) -> Any:
        """A field of the operator's options; the schema's default where it is not set."""
        return self.operator.options.get(name, default)

    def tensor(self, index: int) -> Tensor:
        """The operand as the TFLite graph has it."""
        found = self.operator.inputs[index]
        assert found is not None
        return found

    def known(self, index: int) -> np.ndarray | None:
        """An operand's value, where it is known when converting."""
        constant = self.tensor(index).constant
        return None if constant is None else constant.numpy()

    def dtype(self, index: int = 0) -> Any:
        """The element type of a result."""
        return self.tf.as_dtype(self.operator.outputs[index].element.dtype.name)


Maker = Callable[[Call], Any]
"""Gives the operator's result, or a sequence of them where there are several."""


@dataclass(frozen=True, slots=True)
class Family:
    """Makers of one family, gathered while its module is loaded."""

    makers: dict[str, Maker]

    def makes(self, *ops: str) -> Callable[[Maker], Maker]:
        def put(maker: Maker) -> Maker:
            for op in ops:
                if op in self.makers:
                    raise KeyError(f"{op} is made twice")
                self.makers[op] = maker
            return maker
        return put


@cache
def makers() -> MappingProxyType[str, Maker]:
    """All makers by the TFLite operator's name."""
    from fidelite.write.saved_model import contents, control, elementwise, movement, network

    table: dict[str, Maker] = {}
    for module in (elementwise, movement, contents, network, control):
        if twice := set(table) & set(module.FAMILY.makers):
            raise KeyError(f"made twice: {sorted(twice)}")
        table |= module.FAMILY.makers
    return MappingProxyType(table)
