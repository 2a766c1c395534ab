"""Random small networks, since converters break where operators meet: residuals, concats, squeeze-and-excite,
mixed ranks, square shapes, outputs taken in the middle, one tensor read by many."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
OPSET = 18


class NetworkMaker:
    """Grows a network node by node. `values` holds the float32 values that can be read, with their shapes.

    Where it is `dynamic`, the batch is a symbol in the model (and 2 in `shape`s), and stays in front.
    """

    def __init__(self, seed: int, *, dynamic: bool = False) -> None:
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.dynamic = dynamic
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        size = self.random.choice([4, 4, 5, 6])
        channels = self.random.choice([3, 4, size])
        batch = 2 if dynamic else self.random.choice([1, 1, 1, 2])
        self.input_shape = (batch, channels, size, self.random.choice([size, size, 6]))
        self.values: list[tuple[str, Shape]] = [("x", self.input_shape)]
        self.integer_values: list[tuple[str, Shape]] = []

    def weight(self, *shape: int) -> str:
        return self.constant(np.asarray(self.numbers.standard_normal(shape) * 0.5, np.float32))

    def positive(self, *shape: int) -> str:
        return self.constant(np.asarray(self.numbers.random(shape) + 0.5, np.float32))

    def number(self, value: float) -> str:
        return self.constant(np.asarray(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.asarray(values, np.int64))

    def int32(self, value: int) -> str:
        return self.constant(np.asarray(value, np.int32))

    def scalar_index(self, value: int) -> str:
        return self.constant(np.asarray(value, np.int64))

    def constant(self, array: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, inputs: list[str], shape: Shape, *, kind: str = "float",
            **attributes: Any) -> tuple[str, Shape]:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        (self.integer_values if kind == "int" else self.values).append((name, shape))
        return name, shape

    def add_many(self, op: str, inputs: list[str], shapes: list[Shape], **attributes: Any) -> list[str]:
        names = [f"v{len(self.nodes)}_{i}" for i in range(len(shapes))]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n_{names[0]}", **attributes))
        self.values += zip(names, shapes, strict=True)
        return names

    def reshape(self, name: str, shape: Shape, *, kind: str = "float") -> tuple[str, Shape]:
        sizes = (-1, *shape[1:]) if self.dynamic else shape
        return self.add("Reshape", [name, self.integers(*sizes)], shape, kind=kind)

    def pick(self, rank: int | None = None) -> tuple[str, Shape]:
        """One of the newest values (of a rank, which the input is reshaped to where there is none)."""
        pool = [v for v in self.values if rank is None or len(v[1]) == rank]
        if not pool:
            n, c, h, w = self.input_shape
            return self.reshape("x", {2: (n, c * h * w), 3: (n, c, h * w)}.get(rank or 4, self.input_shape))
        return self.random.choice(pool[-6:])

    def integer_value(self) -> tuple[str, Shape]:
        if not self.integer_values:
            self.integer_values.append(("k", (self.input_shape[0], 3, 4)))
        return self.random.choice(self.integer_values[-3:])

    def free_axes(self, shape: Shape) -> list[int]:
        """Axes that may be cut, moved or dropped."""
        return list(range(int(self.dynamic), len(shape)))

    def grow(self, steps: Sequence[Callable[[NetworkMaker], None]]) -> None:
        self.random.choice(steps)(self)

    def model(self, steps: int, choices: Sequence[Callable[[NetworkMaker], None]] | None = None) -> onnx.ModelProto:
        for _ in range(steps):
            self.grow(choices or STEPS)
        used = {name for node in self.nodes for name in node.input}
        ends = [v for v in self.values if v[0] not in used and v[0] != "x"]
        middle = [v for v in self.values if v[0] in used and v[0] != "x"]
        outputs = ends[:3] + (self.random.sample(middle, 1) if middle and self.random.random() < 0.5 else [])
        outputs = self._awkward_outputs(outputs or [("x", self.input_shape)])
        infos = [self._info(n, s) for n, s in outputs]
        loose = [v for v in self.integer_values if v[0] not in used and v[0] != "k"][:2]
        infos += [self._info(n, s, TensorProto.INT32) for n, s in loose]
        inputs = [self._info("x", self.input_shape)]
        if self.integer_values:
            inputs.append(self._info("k", self.integer_values[0][1], TensorProto.INT32))
        graph = helper.make_graph(self.nodes, "net", inputs, infos, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)

    def _awkward_outputs(self, outputs: list[tuple[str, Shape]]) -> list[tuple[str, Shape]]:
        """Now and then an output that is the input, a constant, or another output once more."""
        sources = [("x", self.input_shape), outputs[0], (self.weight(2, 3), (2, 3))]
        if outputs[0][0] == "x" or self.random.random() < 0.15:
            name, shape = self.random.choice(sources)
            self.nodes.append(helper.make_node("Identity", [name], ["again"], name="n_again"))
            outputs = [o for o in outputs if o[0] != "x"] + [("again", shape)]
        return outputs

    def _info(self, name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        dims: list[int | str] = list(shape)
        if self.dynamic and shape[0] == 2 and name != "again":
            dims[0] = "N"
        return helper.make_tensor_value_info(name, kind, dims)

    def feeds(self, seed: int = 0) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        feeds: dict[str, Array] = {"x": rng.standard_normal(self.input_shape).astype(np.float32)}
        if self.integer_values:
            feeds["k"] = rng.integers(-50, 50, self.integer_values[0][1], dtype=np.int32)
        return feeds


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
    partners = [n for n, s in m.values if s == shape or (s == shape[1:] and not m.dynamic) or (
        len(s) == len(shape) and all(d in (1, e) for d, e in zip(s, shape, strict=True)))]
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
    free = m.free_axes(shape)
    order = [*range(len(shape) - len(free)), *m.random.sample(free, len(free))]
    m.add("Transpose", [name], tuple(shape[a] for a in order), perm=order)


def flatten_space(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    m.reshape(name, (n, c, h * w))


def channel_shuffle(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if c % 2 == 0:
        a, _ = m.reshape(name, (n, 2, c // 2, h, w))
        a, _ = m.add("Transpose", [a], (n, c // 2, 2, h, w), perm=[0, 2, 1, 3, 4])
        m.reshape(a, (n, c, h, w))


def reduce(m: NetworkMaker) -> None:
    name, shape = m.pick()
    if len(shape) < 2:
        return
    axis = m.random.choice(m.free_axes(shape))
    keep = m.random.choice([0, 1])
    result = tuple(1 if i == axis else d for i, d in enumerate(shape) if keep or i != axis)
    m.add(m.random.choice(["ReduceMean", "ReduceMax"]), [name, m.integers(axis)], result, keepdims=keep)


def softmax(m: NetworkMaker) -> None:
    name, shape = m.pick()
    if m.free_axes(shape):
        m.add("Softmax", [name], shape, axis=m.random.choice(m.free_axes(shape)))


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
        m.add("Resize", [name, "", m.constant(np.asarray([1, 1, 2, 2], np.float32))], (n, c, h * 2, w * 2),
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
