"""Models that ONNX Runtime's optimizer has written: a transformer and a convolutional network, converted and proven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import fidelite
from fidelite.errors import FideliteError

LEVELS = {"basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
          "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
          "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL}


class Network:
    """Nodes and weights, one after the other."""

    def __init__(self, opset: int = 17) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.opset = opset

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        array = self.rng.standard_normal(shape).astype(np.float32) * scale
        return self.constant(array)

    def constant(self, array: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"{op}_{len(self.nodes)}", **attributes))
        return name

    def model(self, inputs: dict[str, tuple[int, list[int]]], output: str) -> onnx.ModelProto:
        infos = [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()]
        graph = helper.make_graph(self.nodes, "g", infos, [helper.make_empty_tensor_value_info(output)], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


def transformer() -> onnx.ModelProto:
    """One layer as exporters write it: normalization, attention with a past of none, GELU, residuals."""
    n, heads, size, length = Network(), 2, 8, 6
    width = heads * size
    ids = "ids"
    x = n.add("Add", n.add("Gather", n.weight(11, width), ids), n.weight(1, length, width))
    x = n.add("LayerNormalization", x, n.weight(width), n.weight(width), axis=-1)
    parts: list[str] = []
    for _ in range(3):
        y = n.add("Add", n.add("MatMul", x, n.weight(width, width, scale=0.3)), n.weight(width))
        y = n.add("Reshape", y, n.constant(np.array([0, 0, heads, size])))
        parts.append(n.add("Transpose", y, perm=[0, 2, 3, 1] if len(parts) == 1 else [0, 2, 1, 3]))
    scores = n.add("Div", n.add("MatMul", parts[0], parts[1]), n.constant(np.float32(np.sqrt(size))))
    y = n.add("MatMul", n.add("Softmax", scores, axis=-1), parts[2])
    y = n.add("Reshape", n.add("Transpose", y, perm=[0, 2, 1, 3]), n.constant(np.array([0, 0, width])))
    y = n.add("Add", n.add("MatMul", y, n.weight(width, width, scale=0.3)), n.weight(width))
    x = n.add("LayerNormalization", n.add("Add", y, x), n.weight(width), n.weight(width), axis=-1)
    y = n.add("Add", n.add("MatMul", x, n.weight(width, 4 * width, scale=0.3)), n.weight(4 * width))
    erf = n.add("Erf", n.add("Div", y, n.constant(np.float32(np.sqrt(2)))))
    y = n.add("Mul", n.add("Mul", y, n.add("Add", erf, n.constant(np.float32(1)))), n.constant(np.float32(0.5)))
    y = n.add("Add", n.add("MatMul", y, n.weight(4 * width, width, scale=0.2)), n.weight(width))
    x = n.add("LayerNormalization", n.add("Add", y, x), n.weight(width), n.weight(width), axis=-1)
    return n.model({"ids": (onnx.TensorProto.INT64, [2, length])}, x)


def convolutional() -> onnx.ModelProto:
    """Convolutions with batch normalization and each activation that is fused, a residual, pooling, a product."""
    n = Network()
    x = "x"
    channels = 3
    for activation in ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"):
        x = n.add("Conv", x, n.weight(8, channels, 3, 3, scale=0.3), n.weight(8), pads=[1, 1, 1, 1])
        x = n.add("BatchNormalization", x, n.weight(8), n.weight(8), n.weight(8),
                  n.constant(np.full(8, 1.5, np.float32)))
        x = n.add(activation, x)
        channels = 8
    y = n.add("Conv", x, n.weight(8, 8, 1, 1, scale=0.3), n.weight(8))
    x = n.add("Relu", n.add("Add", y, x))
    x = n.add("Clip", n.add("Conv", x, n.weight(8, 1, 3, 3), group=8), n.constant(np.float32(0)),
              n.constant(np.float32(6)))
    x = n.add("Flatten", n.add("GlobalAveragePool", n.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])))
    return n.model({"x": (onnx.TensorProto.FLOAT, [1, 3, 12, 12])},
                   n.add("Relu", n.add("Gemm", x, n.weight(8, 5), n.weight(5))))


def optimized(model: onnx.ModelProto, level: str, folder: Path) -> Path:
    """The model as ONNX Runtime's optimizer writes it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath = str(folder / f"{level}.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return folder / f"{level}.onnx"


@pytest.mark.parametrize("level", ["basic", "extended"])
@pytest.mark.parametrize("make", [transformer, convolutional])
def test_optimized_models(make: Any, level: str, tmp_path: Path) -> None:
    """The proof's source is the optimized file; the standard's own evaluator agrees on the model before that."""
    model = make()
    path = optimized(model, level, tmp_path)
    if level == "extended":
        domains = {node.domain for node in onnx.load(path).graph.node}
        assert "com.microsoft" in domains
    result = fidelite.convert(path)
    assert result.verification is not None
    assert result.verification.proven
    file = result.save(tmp_path / "result.tflite")
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    rng = np.random.default_rng(1)
    feeds: dict[str, Any] = {name: rng.integers(0, 11, shape) if name == "ids" else
                             rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    evaluator: Any = ReferenceEvaluator(model)
    wanted = evaluator.run(None, feeds)
    with fidelite.Runner(file) as runner:
        outputs = runner.run_arrays(feeds).outputs
    np.testing.assert_allclose(next(iter(outputs.values())), wanted[0], rtol=1e-4, atol=1e-5)


def test_an_embedding_of_words_and_segments(tmp_path: Path) -> None:
    """Made-up inputs stay within the tables, each its own."""
    n = Network()
    tables = [n.weight(11, 8), n.weight(6, 8), n.weight(2, 8), n.weight(8), n.weight(8)]
    node = helper.make_node("EmbedLayerNormalization", ["ids", "parts", *tables], ["y", "count"],
                            domain="com.microsoft")
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.INT32, [2, 6]) for name in ("ids", "parts")]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT,
                                                                                  [2, 6, 8])], n.weights)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    onnx.save(model, tmp_path / "words.onnx")
    result = fidelite.convert(tmp_path / "words.onnx")
    assert result.verification is not None
    assert result.verification.proven


def test_layouts_of_the_machine_are_refused(tmp_path: Path) -> None:
    """Level "all" may put weights in blocks; where it does, that is refused by name, with what to do instead."""
    path = optimized(convolutional(), "all", tmp_path)
    blocked = "com.microsoft.nchwc" in {node.domain for node in onnx.load(path).graph.node}
    if not blocked:
        assert fidelite.convert(path).verification is not None
        return
    with pytest.raises(FideliteError) as caught:
        fidelite.convert(path)
    assert {error.code for error in caught.value.errors} == {"F410"}
    assert "ORT_ENABLE_EXTENDED" in caught.value.errors[0].remedy
