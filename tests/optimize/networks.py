"""Random small networks, since converters break where operators meet: residuals, concats, squeeze-and-excite,
mixed ranks, square shapes, outputs taken in the middle, one tensor read by many."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
OPSET = 18


class NetworkMaker:
    """Grows a network node by node. `values` holds what can be read, with its shape."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        size = self.random.choice([4, 4, 5, 6])
        channels = self.random.choice([3, 4, size])
        self.input_shape = (1, channels, size, self.random.choice([size, size, 6]))
        self.values: list[tuple[str, tuple[int, ...]]] = [("x", self.input_shape)]

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        values = self.numbers.standard_normal(shape).astype(np.float32) * 0.5
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def integers(self, *values: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> tuple[str, tuple[int, ...]]:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        self.values.append((name, shape))
        return name, shape

    def pick(self, rank: int | None = None) -> tuple[str, tuple[int, ...]]:
        pool = [v for v in self.values if rank is None or len(v[1]) == rank]
        return self.random.choice(pool[-6:] if pool else self.values[:1])

    def grow(self) -> None:
        step = self.random.choice(STEPS)
        step(self)

    def model(self, steps: int) -> onnx.ModelProto:
        for _ in range(steps):
            self.grow()
        used = {name for node in self.nodes for name in node.input}
        ends = [v for v in self.values if v[0] not in used and v[0] != "x"]
        middle = [v for v in self.values if v[0] in used and v[0] != "x"]
        outputs = ends[:3] + (self.random.sample(middle, 1) if middle and self.random.random() < 0.5 else [])
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs]
        graph = helper.make_graph(self.nodes, "net", [helper.make_tensor_value_info(
            "x", TensorProto.FLOAT, self.input_shape)], infos, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def conv(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    out = m.random.choice([c, 4, 6, h])
    k = m.random.choice([1, 3])
    m.add("Conv", [name, m.weight(out, c, k, k), m.weight(out)], (n, out, h, w), pads=[k // 2] * 4)


def depthwise(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    m.add("Conv", [name, m.weight(c, 1, 3, 3)], (n, c, h, w), pads=[1] * 4, group=c)


def activation(m: NetworkMaker) -> None:
    name, shape = m.pick()
    m.add(m.random.choice(["Relu", "Sigmoid", "Tanh"]), [name], shape)


def affine(m: NetworkMaker) -> None:
    name, shape = m.pick(4)
    op = m.random.choice(["Mul", "Add", "Sub"])
    m.add(op, [name, m.weight(*m.random.choice([(shape[1], 1, 1), (1, shape[1], 1, 1), (1,), (shape[3],), shape]))],
          shape)


def binary(m: NetworkMaker) -> None:
    a, shape = m.pick()
    partners = [n for n, s in m.values if s == shape or s == shape[1:] or (len(s) == len(shape) and all(
        d in (1, e) for d, e in zip(s, shape, strict=True)))]
    m.add(m.random.choice(["Add", "Mul", "Max"]), [a, m.random.choice(partners)], shape)


def concat(m: NetworkMaker) -> None:
    a, shape = m.pick(4)
    axis = m.random.choice([1, 1, 2, 3, -1])
    parts = [n for n, s in m.values if len(s) == 4 and all(s[i] == shape[i] for i in range(4) if i != axis % 4)]
    chosen = [a, m.random.choice(parts)]
    shapes = dict(m.values)
    size = sum(shapes[n][axis % 4] for n in chosen)
    m.add("Concat", chosen, tuple(size if i == axis % 4 else d for i, d in enumerate(shape)), axis=axis)


def squeeze_excite(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    pooled, _ = m.add("GlobalAveragePool", [name], (n, c, 1, 1))
    gate, _ = m.add("Conv", [pooled, m.weight(c, c, 1, 1)], (n, c, 1, 1))
    gate, _ = m.add("Sigmoid", [gate], (n, c, 1, 1))
    m.add("Mul", [name, gate], (n, c, h, w))


def pool(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if min(h, w) >= 4:
        m.add("MaxPool", [name], (n, c, h // 2, w // 2), kernel_shape=[2, 2], strides=[2, 2])


def transpose(m: NetworkMaker) -> None:
    name, shape = m.pick()
    order = list(range(len(shape)))
    m.random.shuffle(order)
    m.add("Transpose", [name], tuple(shape[a] for a in order), perm=order)


def flatten_space(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    m.add("Reshape", [name, m.integers(n, c, h * w)], (n, c, h * w))


def channel_shuffle(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if c % 2 == 0:
        a, _ = m.add("Reshape", [name, m.integers(n, 2, c // 2, h, w)], (n, 2, c // 2, h, w))
        a, _ = m.add("Transpose", [a], (n, c // 2, 2, h, w), perm=[0, 2, 1, 3, 4])
        m.add("Reshape", [a, m.integers(n, c, h, w)], (n, c, h, w))


def reduce(m: NetworkMaker) -> None:
    name, shape = m.pick()
    if len(shape) < 2:
        return
    axis = m.random.randrange(len(shape))
    keep = m.random.choice([0, 1])
    result = tuple(1 if i == axis else d for i, d in enumerate(shape) if keep or i != axis)
    m.add(m.random.choice(["ReduceMean", "ReduceMax"]), [name, m.integers(axis)], result, keepdims=keep)


def softmax(m: NetworkMaker) -> None:
    name, shape = m.pick()
    if shape:
        m.add("Softmax", [name], shape, axis=m.random.randrange(len(shape)))


def pad(m: NetworkMaker) -> None:
    name, shape = m.pick(4)
    if max(shape) < 12:
        m.add("Pad", [name, m.integers(0, 0, 1, 0, 0, 1, 0, 2)], (shape[0], shape[1] + 1, shape[2] + 1, shape[3] + 2))


def cut(m: NetworkMaker) -> None:
    name, shape = m.pick(4)
    axis = m.random.choice([1, 2, 3])
    if shape[axis] > 2:
        m.add("Slice", [name, m.integers(1), m.integers(shape[axis]), m.integers(axis)],
              tuple(d - 1 if i == axis else d for i, d in enumerate(shape)))


def resize(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if max(h, w) <= 8:
        m.add("Resize", [name, "", "", m.integers(n, c, h * 2, w * 2)], (n, c, h * 2, w * 2),
              mode=m.random.choice(["nearest", "linear"]), coordinate_transformation_mode="asymmetric",
              nearest_mode="floor")


def attention(m: NetworkMaker) -> None:
    name, shape = m.pick(3)
    if len(shape) != 3:
        return
    n, t, d = shape
    q, _ = m.add("MatMul", [name, m.weight(d, d)], shape)
    k, _ = m.add("Transpose", [name], (n, d, t), perm=[0, 2, 1])
    s, _ = m.add("MatMul", [q, k], (n, t, t))
    s, _ = m.add("Softmax", [s], (n, t, t), axis=-1)
    m.add("MatMul", [s, name], (n, t, d))


STEPS = [conv, conv, depthwise, activation, affine, binary, binary, concat, squeeze_excite, pool, transpose,
         flatten_space, channel_shuffle, reduce, softmax, pad, cut, resize, attention]
