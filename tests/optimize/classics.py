"""The networks that every converter meets, small."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.lower.support import Array


class Net:
    """Writes nodes down one by one; `w` and `i` make constants."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.numbers = np.random.default_rng(0)

    def constant(self, array: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def w(self, *shape: int) -> str:
        return self.constant(np.asarray(self.numbers.standard_normal(shape), np.float32))

    def i(self, *values: int) -> str:
        return self.constant(np.asarray(values, np.int64))

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def conv(self, x: str, before: int, after: int, kernel: int = 3) -> str:
        return self.add("Conv", x, self.w(after, before, kernel, kernel), self.w(after), pads=[kernel // 2] * 4)

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_empty_tensor_value_info(o) for o in outputs], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)

    def feeds(self) -> dict[str, Array]:
        return {"x": np.random.default_rng(1).standard_normal(self.shape).astype(np.float32)}


def residual() -> tuple[Net, onnx.ModelProto]:
    n = Net((1, 4, 5, 6))
    inner = n.conv(n.add("Relu", n.conv("x", 4, 4)), 4, 4)
    return n, n.model(n.add("Relu", n.add("Add", inner, "x")))


def squeeze_excite() -> tuple[Net, onnx.ModelProto]:
    n = Net((1, 3, 6, 6))
    x = n.add("Relu", n.conv("x", 3, 8))
    gate = n.add("Sigmoid", n.conv(n.add("Relu", n.conv(n.add("GlobalAveragePool", x), 8, 2, 1)), 2, 8, 1))
    return n, n.model(n.conv(n.add("Mul", x, gate), 8, 4, 1))


def tokens() -> tuple[Net, onnx.ModelProto]:
    """A feature map flattened to tokens, as vision transformers start."""
    n = Net((1, 3, 8, 8))
    x = n.add("Conv", "x", n.w(16, 3, 4, 4), n.w(16), strides=[4, 4])
    x = n.add("Transpose", n.add("Reshape", x, n.i(1, 16, 4)), perm=[0, 2, 1])
    return n, n.model(n.add("MatMul", x, n.w(16, 16)))


def concatenated() -> tuple[Net, onnx.ModelProto]:
    n = Net((1, 3, 6, 6))
    a = n.add("Relu", n.conv("x", 3, 4))
    b = n.add("MaxPool", a, kernel_shape=[3, 3], pads=[1] * 4)
    return n, n.model(n.conv(n.add("Concat", a, b, axis=1), 8, 4))


def classifier() -> tuple[Net, onnx.ModelProto]:
    """Features, flattened, and a dense layer whose weights are in the source's order of the features."""
    n = Net((1, 3, 6, 6))
    x = n.add("MaxPool", n.add("Relu", n.conv("x", 3, 4)), kernel_shape=[2, 2], strides=[2, 2])
    return n, n.model(n.add("Gemm", n.add("Flatten", x), n.w(5, 36), n.w(5), transB=1))


def normalised() -> tuple[Net, onnx.ModelProto]:
    """Convolution, scale and shift, activation."""
    n = Net((1, 3, 5, 6))
    x = n.add("Conv", "x", n.w(4, 3, 3, 3), pads=[1] * 4)
    return n, n.model(n.add("Relu", n.add("Add", n.add("Mul", x, n.w(4, 1, 1)), n.w(4, 1, 1))))


def shuffled(kind: str) -> tuple[Net, onnx.ModelProto]:
    """A pixel shuffle between convolutions; the depth in torch's order (CRD) or in blocks first (DCR)."""
    n = Net((1, 3, 5, 6))
    x = n.add("Relu", n.conv("x", 3, 12))
    crd, dcr = ((1, 3, 2, 2, 5, 6), [0, 1, 4, 2, 5, 3]), ((1, 2, 2, 3, 5, 6), [0, 3, 4, 1, 5, 2])
    split, order = crd if kind == "CRD" else dcr
    x = n.add("Transpose", n.add("Reshape", x, n.i(*split)), perm=order)
    return n, n.model(n.conv(n.add("Reshape", x, n.i(1, 3, 10, 12)), 3, 4))


CLASSICS = {"residual": residual, "squeeze_excite": squeeze_excite, "tokens": tokens, "concatenated": concatenated,
            "classifier": classifier, "normalised": normalised, "crd": lambda: shuffled("CRD"),
            "dcr": lambda: shuffled("DCR")}
