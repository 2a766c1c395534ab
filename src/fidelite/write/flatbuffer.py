"""Write a model as a FlatBuffer that any TFLite reader takes, streaming the weights.

The tables are packed with one-byte placeholders for the data; then each data vector (uint32 length, bytes on a
16-byte boundary) is appended behind them, and the `data` offset of its Buffer table is patched. Offsets point
forward, so the file is valid; nothing but one tensor is in memory at a time. It holds up to 2 GB. A model's `files`
come last of all, as a zip.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fidelite.errors import ConversionError, InternalError
from fidelite.tflite.archive import append_files
from fidelite.tflite.dims import evaluate, product
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.ops import OPS
from fidelite.tflite.placeholders import placeholders
from fidelite.tflite.types import ElementType
from fidelite.tflite.versions import op_version

if TYPE_CHECKING:
    Load = Callable[[], bytes | memoryview]

ALIGNMENT = 16
MAX_BYTES = (1 << 31) - 1
_FILE_IDENTIFIER = b"TFL3"
_PLACEHOLDER_OP_CODE = 127


def write_model(model: Model, stream: BinaryIO) -> int:
    """Write `model` to `stream` (from its present position, which must be 0) and return the bytes written.

    Raises ConversionError (F480) where the file would pass 2 GB.
    """
    packer = _Packer(model)
    tables = bytearray(packer.tables())
    data_slots = _buffer_data_slots(tables)
    end = len(tables)
    layout: list[tuple[int, int]] = []
    for size in packer.sizes:
        start = -(-(end + 4) // ALIGNMENT) * ALIGNMENT - 4
        layout.append((start, size))
        end = start + 4 + size
    if end > MAX_BYTES:
        raise ConversionError(
            f"the file would have {end / 1e9:.2f} GB, and an ordinary .tflite holds 2 GB", code="F480",
            remedy="halve it with --precision float16, or quarter it with --precision dynamic-int8")
    for slot, (start, _) in zip(data_slots, layout, strict=True):
        struct.pack_into("<I", tables, slot, start - slot)
    stream.write(tables)
    position = len(tables)
    for (start, size), load in zip(layout, packer.loads, strict=True):
        stream.write(b"\0" * (start - position) + struct.pack("<I", size))
        data = load()
        if len(data) != size:
            raise InternalError(f"a tensor of {size} bytes gave {len(data)}")
        stream.write(data)
        position = start + 4 + size
    return append_files(stream, model.files) if model.files else position


class _Packer:
    """Builds the tables. Equal constants share a buffer; buffer 0 is the empty one that the schema asks for."""

    def __init__(self, model: Model) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema: Any = schema
        self.model = model
        self.sizes: list[int] = []
        self.loads: list[Load] = []
        self._buffers: dict[Hashable, int] = {}
        self._codes: dict[tuple[str, int], int] = {}
        self._placeholders = placeholders(
            (t.shape for g in model.graphs for t in g.tensors() if not t.is_static),
            [(product(o.inputs[0].shape), product(o.outputs[0].shape)) for g in model.graphs for o in g.operators
             if o.op == "RESHAPE" and o.inputs[0] is not None and not o.inputs[0].is_static])

    def tables(self) -> bytes:
        import flatbuffers

        s = self.schema
        root = s.ModelT()
        root.version = 3
        root.description = self.model.description
        indices = [self._tensor_indices(graph) for graph in self.model.graphs]
        graph_index = {id(graph): i for i, graph in enumerate(self.model.graphs)}
        root.subgraphs = [self._graph(g, at, graph_index) for g, at in zip(self.model.graphs, indices, strict=True)]
        root.signatureDefs = [self._signature(d, indices[graph_index[id(d.graph)]], graph_index[id(d.graph)])
                              for d in self.model.signatures]
        root.metadata = [self._metadata(name, data) for name, data in self.model.metadata.items()]
        root.operatorCodes = [self._code(op, version) for op, version in self._codes]
        root.buffers = [s.BufferT()] + [self._placeholder() for _ in self.sizes]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(root.Pack(builder), _FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _placeholder(self) -> Any:
        buffer = self.schema.BufferT()
        buffer.data = b"\0"
        return buffer

    def _tensor_indices(self, graph: Graph) -> dict[Tensor, int]:
        return {tensor: i for i, tensor in enumerate(graph.tensors())}

    def _graph(self, graph: Graph, at: dict[Tensor, int], graph_index: dict[int, int]) -> Any:
        table = self.schema.SubGraphT()
        table.name = graph.name
        names = unique_names(graph, at)
        table.tensors = [self._tensor(t, names[t]) for t in at]
        table.inputs = np.asarray([at[t] for t in graph.inputs], np.int32)
        table.outputs = np.asarray([at[t] for t in graph.outputs], np.int32)
        table.operators = [self._operator(o, at, graph_index) for o in graph.operators]
        return table

    def _tensor(self, tensor: Tensor, name: str) -> Any:
        table = self.schema.TensorT()
        table.name = name
        table.type = tensor.element.value
        table.shape = np.asarray([max(evaluate(d, self._placeholders), 0) for d in tensor.shape], np.int32)
        if not tensor.is_static:
            table.shapeSignature = np.asarray([d if isinstance(d, int) else -1 for d in tensor.shape], np.int32)
        table.hasRank = not tensor.shape
        table.isVariable = tensor.is_variable
        table.buffer = self._buffer(tensor)
        if tensor.quantization is not None:
            table.quantization = self._quantization(tensor)
        return table

    def _quantization(self, tensor: Tensor) -> Any:
        facts = tensor.quantization
        assert facts is not None
        table = self.schema.QuantizationParametersT()
        table.scale = np.asarray(facts.scale, np.float32)
        table.zeroPoint = np.asarray(facts.zero_point, np.int64)
        table.quantizedDimension = facts.axis
        if facts.block_size:
            raise InternalError("blockwise quantization is not written yet")
        return table

    def _buffer(self, tensor: Tensor) -> int:
        constant = tensor.constant
        if constant is None or constant.nbytes == 0:
            return 0
        return self._new_buffer(constant.identity, constant.nbytes,
                                lambda: constant_bytes(constant.numpy(), constant.element))

    def _new_buffer(self, key: Hashable, size: int, load: Load) -> int:
        if key not in self._buffers:
            self.sizes.append(size)
            self.loads.append(load)
            self._buffers[key] = len(self.sizes)
        return self._buffers[key]

    def _metadata(self, name: str, data: bytes) -> Any:
        table = self.schema.MetadataT()
        table.name = name
        table.buffer = self._new_buffer(("metadata", name), len(data), lambda: data)
        return table

    def _operator(self, operator: Operator, at: dict[Tensor, int], graph_index: dict[int, int]) -> Any:
        table = self.schema.OperatorT()
        key = (operator.op, op_version(operator))
        table.opcodeIndex = self._codes.setdefault(key, len(self._codes))
        table.inputs = np.asarray([-1 if t is None else at[t] for t in operator.inputs], np.int32)
        table.outputs = np.asarray([at[t] for t in operator.outputs], np.int32)
        name = OPS[operator.op].options
        if name:
            self._options(table, name, operator, graph_index)
        return table

    def _options(self, table: Any, name: str, operator: Operator, graph_index: dict[int, int]) -> None:
        s = self.schema
        options = getattr(s, name + "T")()
        for field_name, value in operator.options.items():
            if not hasattr(options, field_name):
                raise InternalError(f"{name} has no field {field_name}")
            if isinstance(value, Graph):
                value = graph_index[id(value)]
            setattr(options, field_name, value)
        if hasattr(s.BuiltinOptions, name):
            table.builtinOptionsType, table.builtinOptions = getattr(s.BuiltinOptions, name), options
        else:
            table.builtinOptions2Type, table.builtinOptions2 = getattr(s.BuiltinOptions2, name), options

    def _code(self, op: str, version: int) -> Any:
        table = self.schema.OperatorCodeT()
        table.builtinCode = getattr(self.schema.BuiltinOperator, op)
        table.deprecatedBuiltinCode = min(table.builtinCode, _PLACEHOLDER_OP_CODE)
        table.version = version
        return table

    def _signature(self, definition: Any, at: dict[Tensor, int], index: int) -> Any:
        table = self.schema.SignatureDefT()
        table.signatureKey = definition.key
        table.subgraphIndex = index
        table.inputs = [self._tensor_map(n, at[t]) for n, t in definition.inputs]
        table.outputs = [self._tensor_map(n, at[t]) for n, t in definition.outputs]
        return table

    def _tensor_map(self, name: str, index: int) -> Any:
        table = self.schema.TensorMapT()
        table.name, table.tensorIndex = name, index
        return table


def unique_names(graph: Graph, tensors: Iterable[Tensor]) -> dict[Tensor, str]:
    """A name for each tensor: inputs and outputs keep theirs, others that are taken get a number."""
    names = {tensor: tensor.name for tensor in (*graph.inputs, *graph.outputs)}
    taken = set(names.values())
    counts: dict[str, int] = {}
    for tensor in tensors:
        if tensor in names:
            continue
        name, count = tensor.name, counts.get(tensor.name, 0)
        while name in taken:
            count += 1
            name = f"{tensor.name}:{count}"
        counts[tensor.name] = count
        taken.add(name)
        names[tensor] = name
    return names


def constant_bytes(array: np.ndarray, element: ElementType) -> bytes | memoryview:
    """An array as TFLite stores it: little-endian, row-major, 4- and 2-bit integers packed, low bits first."""
    array = np.ascontiguousarray(array)
    if element.bits < 8:
        per_byte = 8 // element.bits
        flat = array.reshape(-1).astype(np.int8).view(np.uint8) & ((1 << element.bits) - 1)
        flat = np.concatenate([flat, np.zeros(-len(flat) % per_byte, np.uint8)]).reshape(-1, per_byte)
        packed = np.zeros(len(flat), np.uint8)
        for i in range(per_byte):
            packed |= flat[:, i] << (i * element.bits)
        return packed.tobytes()
    if array.ndim == 0:
        return array.tobytes()
    return array.view(np.uint8).reshape(-1).data if array.size else b""


def _buffer_data_slots(tables: bytes | bytearray) -> list[int]:
    """Positions of the `data` offsets of all Buffer tables that have one, in order."""

    def u32(at: int) -> int:
        return struct.unpack_from("<I", tables, at)[0]

    def field_at(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", tables, table)[0]
        size = struct.unpack_from("<H", tables, vtable)[0]
        slot = 4 + 2 * number
        offset = struct.unpack_from("<H", tables, vtable + slot)[0] if slot < size else 0
        return table + offset if offset else 0

    model_buffers, buffer_data = 4, 0  # field numbers in the schema
    where = field_at(u32(0), model_buffers)
    vector = where + u32(where)
    slots: list[int] = []
    for i in range(u32(vector)):
        at = vector + 4 + 4 * i
        if slot := field_at(at + u32(at), buffer_data):
            slots.append(slot)
    return slots
