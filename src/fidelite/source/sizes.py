"""How many bytes a model's weights take, as they are and in each precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

PER_NODE = 240
"""Bytes of FlatBuffer tables for one operator and the tensor it makes."""
PER_CHANNEL = 12
"""Bytes of a channel's quantization: float32 scale, int64 zero point."""


def weight_tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Each tensor of the model once: initializers and attributes, of subgraphs and functions too."""
    seen: set[int] = set()
    for tensor in _all_tensors(model):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor


def all_graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph, those inside its nodes, and those of its functions."""
    yield from model.graphs()
    for function in model.functions.values():
        yield function.graph
        yield from function.subgraphs()


def _all_tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    import onnx_ir as ir

    for graph in all_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.is_ref():
                    continue
                if attribute.type == ir.AttributeType.TENSOR:
                    yield attribute.as_tensor()
                elif attribute.type == ir.AttributeType.TENSORS:
                    yield from attribute.as_tensors()


def expected_sizes(tensors: Iterable[ir.TensorProtocol], nodes: int) -> dict[str, int]:
    """Bytes of the `.tflite` file that is to be expected per precision: data, plus tables estimated per node.

    int8 and int4 apply to tensors of two or more dimensions; biases and other vectors stay as they are.
    """
    import onnx_ir as ir

    floats = {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    sizes = dict.fromkeys(("float32", "float16", "int8", "int4"), 0)
    for tensor in tensors:
        if tensor.dtype not in floats:
            count = tensor.nbytes if tensor.dtype != ir.DataType.STRING else 0
            sizes = {precision: size + count for precision, size in sizes.items()}
            continue
        shape = tensor.shape.numpy()
        scales = shape[0] * PER_CHANNEL if len(shape) > 1 else 0
        sizes["float32"] += tensor.size * 4
        sizes["float16"] += tensor.size * 2
        sizes["int8"] += tensor.size + scales if len(shape) > 1 else tensor.size * 4
        sizes["int4"] += -(-tensor.size // 2) + scales if len(shape) > 1 else tensor.size * 4
    tables = nodes * PER_NODE
    return {
        "float32": sizes["float32"] + tables,
        "float16": sizes["float16"] + tables,
        "dynamic-int8": sizes["int8"] + tables,
        "weight-int8": sizes["int8"] + tables,
        "weight-int4": sizes["int4"] + tables,
        "int8": sizes["int8"] + tables,
        "int16x8": sizes["int8"] + tables,
    }
