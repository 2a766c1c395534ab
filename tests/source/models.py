"""Small ONNX models, made whole or broken on purpose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from fidelite.errors import FideliteError


def tensor(name: str, *shape: int, value: float | None = None) -> TensorProto:
    """A float32 initializer; seeded by its name unless `value` fills it."""
    if value is not None:
        return numpy_helper.from_array(np.full(shape, value, np.float32), name)
    seed = sum(name.encode())
    return numpy_helper.from_array(
        np.random.default_rng(seed).standard_normal(shape).astype(np.float32), name
    )


def info(
    name: str, shape: Sequence[int | str | None] | None, type_: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, type_, shape)


def graph_model(
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
    initializers: Iterable[TensorProto] = (),
    *,
    opset: int = 18,
    producer: tuple[str, str] = ("", ""),
    value_info: Iterable[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes), "g", list(inputs), list(outputs), list(initializers), value_info=list(value_info)
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model.producer_name, model.producer_version = producer
    return model


def conv_model(**attributes: Any) -> onnx.ModelProto:
    """`y = Relu(Conv(x, w, b))`: [1, 3, 8, 8] to [1, 4, 6, 6]."""
    return graph_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", **attributes),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        [info("x", [1, 3, 8, 8])],
        [info("y", [1, 4, 6, 6])],
        [tensor("w", 4, 3, 3, 3), tensor("b", 4)],
    )


def move_out(model: onnx.ModelProto, location: str = "m.onnx.data") -> bytes:
    """Make all initializers external, in `location`; returns the bytes that belong there."""
    data = b""
    for initializer in model.graph.initializer:
        raw = initializer.raw_data
        set_external(initializer, location=location, offset=len(data), length=len(raw))
        data += raw
    return data


def set_external(initializer: TensorProto, **entries: object) -> None:
    """Say that the initializer lies elsewhere."""
    initializer.ClearField("raw_data")
    del initializer.external_data[:]
    initializer.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        if value is not None:
            initializer.external_data.add(key=key, value=str(value))


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def external_model(folder: Path, location: str = "m.onnx.data", *, write: bool = True) -> Path:
    """The convolution with its weights in a file beside it (or nowhere)."""
    model = conv_model()
    data = move_out(model, location)
    if write:
        (folder / location).write_bytes(data)
    return save(model, folder / "m.onnx")


def codes(error: FideliteError) -> list[str]:
    """The codes of all single errors, sorted."""
    return sorted(e.code for e in error.errors)


def seeded_data(length: int) -> bytes:
    """Small float32 numbers, `length` bytes of them."""
    numbers = np.random.default_rng(0).standard_normal(-(-length // 4)).astype(np.float32) * 0.05
    return numbers.tobytes()[:length]


def tflite(operators: Sequence[int], codes: Sequence[tuple[int, str]]) -> bytes:
    """A `.tflite` file of one subgraph: per operator the index of its code, per code builtin number and custom name."""
    builder = flatbuffers.Builder(256)
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = [_code(number, name) for number, name in codes]
    graph = schema.SubGraphT()
    graph.operators = [_operator(index) for index in operators]
    model.subgraphs = [graph]
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _code(number: int, name: str) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.customCode = name or None
    return code


def _operator(index: int) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex = index
    return operator
