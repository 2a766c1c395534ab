"""Pools: windows whose weights are fixed."""

from __future__ import annotations

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.lower.windows import apply_padding, read_window
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


@lowers("GlobalAveragePool")
def global_average_pool(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    return b.reduce("MEAN", x, range(2, x.rank), keep_dims=True)


@lowers("MaxPool")
def max_pool(node: Node, b: Builder) -> Tensor:
    x = node.input(0)
    if x.rank != 4 or len(node.output_names) > 1 or node.int_("ceil_mode", 0):
        raise UnsupportedAttribute("only plain 2-D pooling so far")
    window = read_window(node, node.ints("kernel_shape"))
    last, padding = apply_padding(b, b.channels_last(x), window, value=float("-inf"))
    return b.channels_first(b.pool_2d("MAX_POOL_2D", last, kernel=window.kernel, strides=window.strides,
                                      padding=padding))
