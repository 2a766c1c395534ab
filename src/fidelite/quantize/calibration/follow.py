"""Which values take the grid of others: results of operators that move values, or compute on their operand's grid."""

from __future__ import annotations

from fidelite.tflite.graph import Operator, Tensor
from fidelite.tflite.quantized import Kind, row_of
from fidelite.tflite.types import ElementType

_FREE = frozenset({"MAXIMUM", "MINIMUM"})
"""Of several operands, and still free in their result's grid: choosing the larger commutes with rounding to any."""


def followed(operator: Operator) -> list[Tensor]:
    """The operands whose grid the results must have; none where the results' own range counts."""
    row = row_of(operator.op)
    if row is None or row.kind not in (Kind.MOVES, Kind.KEEPS) or operator.op in _FREE:
        return []
    found = row.quantities(operator)
    return found if all(t.element is ElementType.FLOAT32 for t in found) else []


def moves(operator: Operator) -> bool:
    """Whether an operator only moves values or chooses among them."""
    row = row_of(operator.op)
    return row is not None and row.kind is Kind.MOVES
