"""How operators of two operands line them up: numpy's rule since opset 7, an axis named by the node before."""

from __future__ import annotations

from fidelite.lower.node import Node
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


def pair(node: Node, b: Builder) -> tuple[Tensor, Tensor]:
    """The node's two operands, in shapes that numpy's rule broadcasts as the node asks.

    Before opset 7, `broadcast` lets the second operand's axes match the first one's from `axis` on (default: the last).
    """
    x, y = node.input(0), node.input(1)
    if node.version >= 7 or not node.int_("broadcast", 0):
        return x, y
    axis = node.int_("axis", None)
    if axis is None or y.rank == 0:
        return x, y
    behind = x.rank - node.normalized(axis, x.rank) - y.rank
    return x, b.reshape(y, y.shape + (1,) * max(behind, 0))
