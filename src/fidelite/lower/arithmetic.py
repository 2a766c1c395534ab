"""Arithmetic, comparison and logic on pairs of elements."""

from __future__ import annotations

from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


@lowers("Add", since=7)
def add(node: Node, b: Builder) -> Tensor:
    return b.add(node.input(0), node.input(1))


@lowers("Mul", since=7)
def mul(node: Node, b: Builder) -> Tensor:
    return b.mul(node.input(0), node.input(1))
