"""What LiteRT's integer kernels ask of their operands' grids, as a table: one row for each operator that has one.

Found by experiment: one-operator models in int8, uint8 and int16, with and without XNNPACK, against numpy's integer
arithmetic (ai-edge-litert 2.3.0, x86-64; `tests/quantize/test_kernels.py` repeats it). The rules themselves are in
TensorFlow Lite's quantization specification and in each kernel's `Prepare`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fidelite.tflite.graph import Operator, Quantization, Tensor
from fidelite.tflite.grid import Grid, moved_axis
from fidelite.tflite.types import SHORT, ElementType


class Kind(enum.Enum):
    """How an operator's integer kernel treats scales and zero points."""

    MOVES = "moves"
    """Elements are moved or chosen: results have the operands' grid, and the operator commutes with rounding to it."""
    KEEPS = "keeps"
    """New values, rounded on the operand's own grid, which the result must have."""
    RESCALES = "rescales"
    """Any grids of operands and results."""
    FIXED = "fixed"
    """The result's grid is the kernel's own."""
    WEIGHTED = "weighted"
    """Constant weights on a grid of their own, an int32 or int64 bias of the product of the scales."""
    READS = "reads"
    """The result is no quantity of this kind: an index."""


@dataclass(frozen=True, slots=True)
class Row:
    """`types` of the activations; `data`: which operands are quantities (None: all); `fixed`: grids of the result."""

    kind: Kind
    types: frozenset[ElementType]
    data: tuple[int, ...] | None = (0,)
    fixed: Mapping[ElementType, Grid] = field(default_factory=dict[ElementType, Grid])

    def positions(self, operator: Operator) -> tuple[int, ...]:
        """The positions of the operands that are quantities."""
        return tuple(range(len(operator.inputs))) if self.data is None else tuple(
            p for p in self.data if p < len(operator.inputs) and operator.inputs[p] is not None)

    def quantities(self, operator: Operator) -> list[Tensor]:
        """The operands that are quantities."""
        return [t for p in self.positions(operator) if (t := operator.inputs[p]) is not None]


@dataclass(frozen=True, slots=True)
class Weighted:
    """Where an operator with weights has them, and along which axis of them its output channels lie."""

    data: int
    weights: int
    bias: int
    axis: int


WEIGHTED: Mapping[str, Weighted] = {
    "CONV_2D": Weighted(0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": Weighted(0, 1, 2, 3),
    "TRANSPOSE_CONV": Weighted(2, 1, 3, 0),
    "FULLY_CONNECTED": Weighted(0, 1, 2, 0),
}
_I8, _U8, _I16 = ElementType.INT8, ElementType.UINT8, ElementType.INT16


def _types(names: str) -> frozenset[ElementType]:
    return frozenset(SHORT[name] for name in names.split())


def _rows(kind: Kind, types: str, names: str, data: tuple[int, ...] | None = (0,)) -> dict[str, Row]:
    return {name: Row(kind, _types(types), data) for name in names.split()}


def _fixed(int8: tuple[float, int], int16: float = 0.0) -> Row:
    """The result's grid in int8 (uint8: its zero point 128 higher), and in int16 where there is such a kernel."""
    scale, zero_point = int8
    grids = {_I8: Grid.of(_I8, scale, zero_point), _U8: Grid.of(_U8, scale, zero_point + 128)}
    if int16:
        grids[_I16] = Grid.of(_I16, int16)
    return Row(Kind.FIXED, frozenset(grids), (0,), grids)


ROWS: Mapping[str, Row] = {
    **_rows(Kind.MOVES, "i8 u8 i16",
            "RESHAPE TRANSPOSE EXPAND_DIMS SQUEEZE SPLIT_V UNPACK TILE BROADCAST_TO SLICE STRIDED_SLICE PAD "
            "MIRROR_PAD GATHER GATHER_ND REVERSE_V2 SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND MAX_POOL_2D REDUCE_MAX "
            "REDUCE_MIN RESIZE_NEAREST_NEIGHBOR TOPK_V2"),
    **_rows(Kind.MOVES, "i8 u8", "SPACE_TO_DEPTH DEPTH_TO_SPACE"),
    **_rows(Kind.MOVES, "i8 u8 i16", "SPLIT", (1,)),
    **_rows(Kind.MOVES, "i8 u8 i16", "PADV2", (0, 2)),
    **_rows(Kind.MOVES, "i8 u8 i16", "DYNAMIC_UPDATE_SLICE", (0, 1)),
    **_rows(Kind.MOVES, "i8 u8 i16", "SELECT_V2", (1, 2)),
    **_rows(Kind.MOVES, "i8 u8 i16", "CONCATENATION PACK MAXIMUM MINIMUM", None),
    **_rows(Kind.KEEPS, "i8 u8 i16", "AVERAGE_POOL_2D RESIZE_BILINEAR"),
    **_rows(Kind.READS, "i8 u8", "ARG_MAX ARG_MIN"),
    **_rows(Kind.RESCALES, "i8 u8 i16", "ADD SUB MUL", None),
    **_rows(Kind.RESCALES, "i8", "SQUARED_DIFFERENCE", None),
    **_rows(Kind.RESCALES, "i8 i16", "BATCH_MATMUL", (0, 1)),
    **_rows(Kind.RESCALES, "i8 u8", "PRELU", (0, 1)),
    **_rows(Kind.RESCALES, "i8 u8 i16", "SUM MEAN RELU RELU6 LEAKY_RELU"),
    **_rows(Kind.RESCALES, "i8 u8", "RELU_N1_TO_1 RELU_0_TO_1 HARD_SWISH GELU"),
    **_rows(Kind.RESCALES, "i8", "ELU EXP"),
    **_rows(Kind.RESCALES, "i8 i16", "ABS"),
    "LOGISTIC": _fixed((1 / 256, -128), 1 / 32768),
    "TANH": _fixed((1 / 128, 0), 1 / 32768),
    "SOFTMAX": _fixed((1 / 256, -128), 1 / 32768),
    "LOG_SOFTMAX": _fixed((16 / 256, 127)),
    "L2_NORMALIZATION": _fixed((1 / 128, 0)),
    **{op: Row(Kind.WEIGHTED, _types("i8 u8 i16"), (facts.data,)) for op, facts in WEIGHTED.items()},
}


def row_of(op: str) -> Row | None:
    """What is known of `op`'s integer kernel; None where it has none."""
    return ROWS.get(op)


def carry_grid(operator: Operator) -> None:
    """Give the results of an operator that moves integers on a grid that grid. Where operands have none, or
    different ones, the integers are plain numbers, and so are the results."""
    row = ROWS.get(operator.op)
    if row is None or row.kind is not Kind.MOVES:
        return
    quantities = row.quantities(operator)
    facts = next((t.quantization for t in quantities if t.quantization is not None), None)
    if facts is None:
        return
    for tensor in quantities:
        if tensor.is_constant and tensor.quantization is None:
            tensor.quantization = facts
    if any(t.quantization != facts for t in quantities):
        return
    source = quantities[0]
    for result in operator.outputs:
        if result.element is source.element:
            result.quantization = _moved(operator, source, result, facts)


def _moved(operator: Operator, source: Tensor, result: Tensor, facts: Quantization) -> Quantization | None:
    """The grid of a result: with its axis, where it has one, where the operator moved that."""
    if len(facts.scale) == 1:
        return facts
    axis: int | None = None
    if operator.op == "RESHAPE":
        axis = moved_axis(facts.axis, source.shape, result.shape)
    elif operator.op == "TRANSPOSE" and (order := operator.inputs[1]) is not None and order.constant is not None:
        axis = [int(a) for a in order.constant.numpy()].index(facts.axis)
    return None if axis is None else replace(facts, axis=axis)
