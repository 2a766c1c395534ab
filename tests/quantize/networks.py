"""Small quantized networks, made by hand, so that no quantizer is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]


class Qdq:
    """An ONNX model in the QDQ format: each value goes through QuantizeLinear and DequantizeLinear."""

    def __init__(self, seed: int = 0, activations: type[np.integer[Any]] = np.int8) -> None:
        self.rng = np.random.default_rng(seed)
        self.activations = np.dtype(activations)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self._count = 0

    def name(self, hint: str) -> str:
        self._count += 1
        return f"{hint}{self._count}"

    def constant(self, value: Array, hint: str = "c") -> str:
        name = self.name(hint)
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        result = self.name(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [result], name=f"the_{result}", **attributes))
        return result

    def rounded(self, x: str, scale: float, zero_point: int = 0) -> str:
        """`x` through a QuantizeLinear and a DequantizeLinear."""
        parameters = [self.constant(np.asarray(scale, np.float32), "s"),
                      self.constant(np.asarray(zero_point, self.activations), "z")]
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *parameters]), *parameters])

    def weights(self, shape: Sequence[int], *, axis: int | None = 0, dtype: type[np.integer[Any]] = np.int8,
                zero_point: int = 0) -> tuple[str, Array]:
        """Integers behind a DequantizeLinear, with scales along `axis` (None: one); and the scales."""
        span = np.iinfo(dtype)
        values = self.rng.integers(max(span.min, -127), span.max, shape, endpoint=True).astype(dtype)
        count = 1 if axis is None else shape[axis]
        scale = self.rng.uniform(0.002, 0.01, count).astype(np.float32)
        zeros = np.full(count, zero_point, dtype)
        if axis is None:
            scale, zeros = scale.reshape(()), zeros.reshape(())
        operands = [self.constant(values, "w"), self.constant(scale, "s"), self.constant(zeros, "z")]
        return self.node("DequantizeLinear", operands, axis=axis or 0), scale.reshape(-1)

    def bias(self, count: int, scale: Array) -> str:
        """An int32 bias in steps of `scale` behind a DequantizeLinear."""
        values = self.rng.integers(-500, 500, count).astype(np.int32)
        scales = np.broadcast_to(scale.astype(np.float32), (count,)).copy()
        return self.node("DequantizeLinear", [self.constant(values, "b"), self.constant(scales, "s")], axis=0)

    def conv(self, x: str, x_scale: float, channels: int, filters: int, **attributes: Any) -> str:
        """A 3x3 convolution with weights and bias on grids."""
        group = attributes.get("group", 1)
        w, scale = self.weights((filters, channels // group, 3, 3))
        return self.node("Conv", [x, w, self.bias(filters, scale * np.float32(x_scale))], pads=[1, 1, 1, 1],
                         **attributes)

    def model(self, shape: Sequence[int], outputs: Sequence[str], *, opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                                  [helper.make_empty_tensor_value_info(o) for o in outputs], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def residual_network(seed: int = 0, activations: type[np.integer[Any]] = np.int8) -> onnx.ModelProto:
    """Convolutions (one of them depthwise), a residual sum, pools, a joint of branches and a linear layer."""
    q = Qdq(seed, activations)
    middle = 128 if q.activations.kind == "u" else 0
    x = q.rounded("x", 0.05, middle)
    a = q.rounded(q.node("Relu", [q.conv(x, 0.05, 3, 8)]), 0.03, middle - 100)
    b = q.rounded(q.conv(a, 0.03, 8, 8, group=8), 0.04, middle + 5)
    total = q.rounded(q.node("Add", [a, b]), 0.05, middle - 20)
    pooled = q.rounded(q.node("MaxPool", [total], kernel_shape=[2, 2], strides=[2, 2]), 0.05, middle - 20)
    gate = q.rounded(q.node("Sigmoid", [pooled]), 1 / 256, middle - 128)
    scaled = q.rounded(q.node("Mul", [pooled, gate]), 0.04, middle - 20)
    joint = q.rounded(q.node("Concat", [scaled, pooled], axis=1), 0.05, middle - 20)
    mean = q.rounded(q.node("GlobalAveragePool", [joint]), 0.03, middle - 10)
    flat = q.rounded(q.node("Flatten", [mean]), 0.03, middle - 10)
    w, scale = q.weights((10, 16))
    y = q.node("Gemm", [flat, w, q.bias(10, scale * np.float32(0.03))], transB=1)
    return q.model((1, 3, 12, 12), [q.rounded(y, 0.02, middle)])
