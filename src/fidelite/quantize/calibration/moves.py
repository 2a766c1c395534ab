"""Operators whose results hold the values of their operand, in other places or between them, and zeros perhaps.

Their results take the operand's scale: int8 kernels of LiteRT ask for it, and no information is lost. `tflite-micro`
and XNNPACK ask the same.
"""

from __future__ import annotations

from fidelite.tflite.graph import Operator, Tensor

_NAMES = (
    "RESHAPE TRANSPOSE SQUEEZE EXPAND_DIMS PAD MIRROR_PAD SLICE STRIDED_SLICE SPLIT SPLIT_V GATHER GATHER_ND "
    "MAX_POOL_2D AVERAGE_POOL_2D RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SPACE_TO_DEPTH DEPTH_TO_SPACE "
    "SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND TILE BROADCAST_TO REVERSE_V2 UNPACK REDUCE_MAX REDUCE_MIN")
MOVES = frozenset(_NAMES.split())

SOURCE_OPERAND = {"SPLIT": 1}
"""Which operand is moved, where that is not the first."""


def moved(operator: Operator) -> Tensor | None:
    """The operand whose values the operator moves."""
    return operator.inputs[SOURCE_OPERAND.get(operator.op, 0)]
