"""Activations: functions of one element."""

from __future__ import annotations

from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


@lowers("Relu")
def relu(node: Node, b: Builder) -> Tensor:
    return b.relu(node.input(0))


@lowers("Sigmoid")
def sigmoid(node: Node, b: Builder) -> Tensor:
    return b.logistic(node.input(0))
