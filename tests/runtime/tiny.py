"""Tiny LiteRT and ONNX models, built by hand, for tests of the runtimes and of what rests on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated
from onnx import TensorProto, helper

schema: Any = schema_py_generated

F32 = schema.TensorType.FLOAT32
INT32 = schema.TensorType.INT32
INT8 = schema.TensorType.INT8


@dataclass
class T:
    """A tensor: shape (-1: dynamic), type, and its data if it is a constant."""

    name: str
    shape: Sequence[int]
    dtype: Any = F32
    data: np.ndarray[Any, Any] | None = None
    variable: bool = False


@dataclass
class Op:
    """An operator: builtin name, input and output indices (-1: absent) and its options."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: Any = None


def tflite(
    tensors: Sequence[T],
    ops: Sequence[Op],
    inputs: Sequence[int],
    outputs: Sequence[int],
    signature: tuple[dict[str, int], dict[str, int]] | None = None,
) -> bytes:
    """The bytes of a model with one subgraph; `signature` maps input and output names to tensor indices."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers = 3, [schema.BufferT()]
    graph.inputs, graph.outputs = list(inputs), list(outputs)
    graph.tensors = [_tensor(model, t) for t in tensors]
    names = sorted({op.name for op in ops})
    model.operatorCodes = [_code(name) for name in names]
    graph.operators = [_operator(op, names.index(op.name)) for op in ops]
    model.subgraphs = [graph]
    if signature is not None:
        definition = schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = "serving_default", 0
        definition.inputs, definition.outputs = (_maps(names) for names in signature)
        model.signatureDefs = [definition]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(model: Any, t: T) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.isVariable = t.name, t.dtype, t.variable
    tensor.shape, tensor.buffer = [max(d, 1) for d in t.shape], 0
    if any(d < 0 for d in t.shape):
        tensor.shapeSignature = list(t.shape)
    if t.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(t.data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    return tensor


def _code(name: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    return code


def _operator(op: Op, code: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, list(op.inputs), list(op.outputs)
    if op.options is not None:
        operator.builtinOptions = op.options
        kind = type(op.options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    return operator


def _maps(names: dict[str, int]) -> list[Any]:
    maps: list[Any] = []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        maps.append(entry)
    return maps


def add_model(value: float = 1.0, *, shape: Sequence[int] = (1, 4), names: tuple[str, str] = ("x", "y")) -> bytes:
    """`y = relu(x) + value`; signature names may differ from the tensors' own names, t_in and t_out."""
    tensors = [
        T("t_in", shape),
        T("c", (), data=np.array(value, np.float32)),
        T("inner", shape),
        T("t_out", shape),
    ]
    ops = [Op("RELU", [0], [2]), Op("ADD", [2, 1], [3], schema.AddOptionsT())]
    return tflite(tensors, ops, [0], [3], ({names[0]: 0}, {names[1]: 3}))


def raw_int8_model() -> bytes:
    """ADD of int8 tensors without quantization parameters: LiteRT dies of it."""
    tensors = [T("a", (1, 4), INT8), T("b", (1, 4), INT8), T("y", (1, 4), INT8)]
    return tflite(tensors, [Op("ADD", [0, 1], [2], schema.AddOptionsT())], [0, 1], [2])


def depthwise_without_bias() -> bytes:
    """DEPTHWISE_CONV_2D with no bias: LiteRT reads through a null pointer."""
    options = schema.DepthwiseConv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.depthMultiplier = 1
    weights = np.ones((1, 3, 3, 4), np.float32)
    tensors = [T("x", (1, 8, 8, 4)), T("w", weights.shape, data=weights), T("y", (1, 8, 8, 4))]
    return tflite(tensors, [Op("DEPTHWISE_CONV_2D", [0, 1], [2], options)], [0], [2])


def lstm_model(units: int = 3, features: int = 2, steps: int = 4) -> bytes:
    """UNIDIRECTIONAL_SEQUENCE_LSTM, whose state variables outlive an invocation."""
    rng = np.random.default_rng(0)
    tensors = [T("x", (1, steps, features))]
    inputs = [0] + [-1] * 23

    def constant(slot: int, shape: Sequence[int]) -> None:
        inputs[slot] = len(tensors)
        data = rng.normal(size=shape).astype(np.float32)
        tensors.append(T(f"w{slot}", shape, data=data))

    for slot in range(1, 5):
        constant(slot, (units, features))
    for slot in range(5, 9):
        constant(slot, (units, units))
    for slot in range(12, 16):
        constant(slot, (units,))
    for slot in (18, 19):
        inputs[slot] = len(tensors)
        tensors.append(T(f"state{slot}", (1, units), variable=True))
    tensors.append(T("y", (1, steps, units)))
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    out = len(tensors) - 1
    ops = [Op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [out], options)]
    return tflite(tensors, ops, [0], [out], ({"x": 0}, {"y": out}))


def while_model() -> bytes:
    """A graph that never ends: WHILE whose condition is always true."""
    main = tflite([T("x", (1,)), T("y", (1,))], [Op("WHILE", [0], [1], schema.WhileOptionsT())], [0], [1])
    model = schema.ModelT.InitFromPackedBuf(main, 0)
    model.subgraphs[0].operators[0].builtinOptions.condSubgraphIndex = 1
    model.subgraphs[0].operators[0].builtinOptions.bodySubgraphIndex = 2
    tensors = [T("x", (1,)), T("b", (1,), schema.TensorType.BOOL)]
    condition = tflite(tensors, [Op("EQUAL", [0, 0], [1])], [0], [1])
    body = tflite([T("x", (1,)), T("y", (1,))], [Op("ABS", [0], [1])], [0], [1])
    for part in (condition, body):
        other = schema.ModelT.InitFromPackedBuf(part, 0)
        for operator in other.subgraphs[0].operators:
            operator.opcodeIndex = len(model.operatorCodes)
        model.operatorCodes += other.operatorCodes
        model.subgraphs += other.subgraphs
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def onnx_model(
    nodes: Sequence[Any],
    inputs: Sequence[tuple[str, int, Sequence[int | str]]],
    outputs: Sequence[tuple[str, int, Sequence[int | str]]],
    initializers: dict[str, np.ndarray[Any, Any]] | None = None,
    opset: int = 18,
) -> Any:
    """An ONNX model from nodes (onnx.helper.make_node) and (name, type, shape) triples."""
    from onnx import numpy_helper

    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in (initializers or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def onnx_add(value: float = 1.0) -> bytes:
    """The ONNX twin of `add_model`: `y = relu(x) + value` over [n, 4]; the inner value is called `inner`."""
    model = onnx_model(
        [helper.make_node("Relu", ["x"], ["inner"]), helper.make_node("Add", ["inner", "c"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("y", TensorProto.FLOAT, ["n", 4])],
        {"c": np.array(value, np.float32)},
    )
    return model.SerializeToString()
