"""Softmax and its kin: along an axis since opset 13, over everything from an axis on before."""

from __future__ import annotations

from collections.abc import Callable

from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import product
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import max_rank
from fidelite.tflite.types import ElementType

Rows = Callable[[Tensor], Tensor]


def _along(node: Node, b: Builder, build: Rows, rank: int) -> Tensor:
    """`build` along the axis, on at most `rank` dimensions."""
    x = node.input(0)
    if 0 in x.shape:
        return x
    axis = node.axis(x.rank, -1)

    def rows(y: Tensor) -> Tensor:
        if y.rank <= rank:
            return build(y)
        return b.reshape(build(b.reshape(y, (product(y.shape[:-1]), y.shape[-1]))), y.shape)

    return b.along_last_axis(x, axis, rows)


def _flattened(node: Node, b: Builder, build: Rows) -> Tensor:
    """`build` along everything from the axis on, taken as one."""
    x = node.input(0)
    if 0 in x.shape:
        return x
    axis = node.axis(x.rank, 1)
    flat = b.reshape(x, (product(x.shape[:axis]), product(x.shape[axis:])))
    return b.reshape(build(flat), x.shape)


def _hard(b: Builder) -> Rows:
    """1 at the first maximum of each row, else 0."""

    def build(x: Tensor) -> Tensor:
        depth = b.static_dim(x.shape[-1], "the axis of Hardmax")
        index = b.arg("ARG_MAX", x, -1, ElementType.INT32)
        wide = b.float32(x).element
        hot = b.one_hot(index, depth, b.scalar(1.0, wide), b.scalar(0.0, wide), -1)
        return b.cast(hot, x.element)

    return build


@lowers("Softmax", since=13)
def softmax(node: Node, b: Builder) -> Tensor:
    return _along(node, b, b.softmax, max_rank("SOFTMAX"))


@lowers("Softmax", until=12)
def softmax_flattening(node: Node, b: Builder) -> Tensor:
    return _flattened(node, b, b.softmax)


@lowers("LogSoftmax", since=13)
def log_softmax(node: Node, b: Builder) -> Tensor:
    return _along(node, b, b.log_softmax, max_rank("LOG_SOFTMAX"))


@lowers("LogSoftmax", until=12)
def log_softmax_flattening(node: Node, b: Builder) -> Tensor:
    return _flattened(node, b, b.log_softmax)


@lowers("Hardmax", since=13)
def hardmax(node: Node, b: Builder) -> Tensor:
    return _along(node, b, _hard(b), max_rank("ARG_MAX"))


@lowers("Hardmax", until=12)
def hardmax_flattening(node: Node, b: Builder) -> Tensor:
    return _flattened(node, b, _hard(b))
