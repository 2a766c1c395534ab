"""Small networks as TFLite graphs, seeded, for tests of quantization."""

from __future__ import annotations

import numpy as np

from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Graph, Model, Signature, Tensor
from fidelite.tflite.types import ElementType


def float_input(graph: Graph, name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = Tensor(name, ElementType.FLOAT32, shape)
    graph.inputs.append(tensor)
    return tensor


def finished(graph: Graph, outputs: dict[str, Tensor]) -> Model:
    for name, tensor in outputs.items():
        tensor.name = name
        graph.outputs.append(tensor)
    signature = Signature("serving_default", graph, [(t.name, t) for t in graph.inputs],
                          [(t.name, t) for t in graph.outputs])
    return Model([graph], [signature])


def weights(b: Builder, rng: np.random.Generator, *shape: int, outputs: int = 0) -> Tensor:
    """Normal weights whose products keep the variance; `outputs` is the axis of the output channels."""
    fan_in = np.prod(shape) / shape[outputs]
    return b.constant((rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32))


def bias(b: Builder, rng: np.random.Generator, size: int) -> Tensor:
    return b.constant((0.1 * rng.standard_normal(size)).astype(np.float32))


def conv_net(seed: int = 0, *, channels: int = 8, classes: int = 4) -> Model:
    """[1, 16, 16, 3] -> convolution, ReLU, convolution, a sum, its mean, a dense layer -> [1, classes]."""
    rng, graph = np.random.default_rng(seed), Graph()
    b = Builder(graph)
    x = float_input(graph, "x", (1, 16, 16, 3))
    first = b.relu(b.conv_2d(x, weights(b, rng, channels, 3, 3, 3), bias(b, rng, channels)))
    second = b.conv_2d(first, weights(b, rng, channels, 1, 1, channels), bias(b, rng, channels))
    third = b.reduce("MEAN", b.add(first, second), (1, 2), keep_dims=False)
    return finished(graph, {"y": b.fully_connected(third, weights(b, rng, classes, channels), bias(b, rng, classes))})


def boxes_and_scores(*, used: bool = False) -> Model:
    """Boxes of 0..600 and scores of 0..1 in one output, as detectors have them; `used`: a layer reads them."""
    rng, graph = np.random.default_rng(0), Graph()
    b = Builder(graph)
    x = float_input(graph, "x", (1, 20, 4))
    boxes = b.mul(x, b.constant(np.array(200.0, np.float32)))
    scores = b.logistic(b.add(x, b.constant(np.array(0.1, np.float32))))
    joined = b.concat([boxes, scores], 2)
    return finished(graph, {"y": b.fully_connected(joined, weights(b, rng, 4, 8), None) if used else joined})


def pictures(count: int, shape: tuple[int, ...] = (1, 16, 16, 3), seed: int = 0, name: str = "x"
             ) -> list[dict[str, np.ndarray]]:
    """Samples of a smooth kind, unlike one another."""
    rng = np.random.default_rng(seed)
    found: list[dict[str, np.ndarray]] = []
    for _ in range(count):
        waves = np.cumsum(rng.standard_normal(shape), axis=1) * 0.4 + rng.standard_normal() * 0.5
        found.append({name: waves.astype(np.float32)})
    return found
