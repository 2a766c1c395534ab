"""A `.tflite` file in: the graph as fidelite holds it, with weights mapped from the file."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from fidelite.errors import LoadError
from fidelite.tflite.archive import read_files
from fidelite.tflite.constant import Constant
from fidelite.tflite.dims import Dim, SymbolicDim
from fidelite.tflite.graph import Graph, Model, Operator, Quantization, Signature, Tensor
from fidelite.tflite.ops import OPS
from fidelite.tflite.types import ElementType

_BROKEN = (struct.error, IndexError, ValueError, TypeError, KeyError, AttributeError, UnicodeDecodeError, OverflowError)


def read_tflite(path: Path) -> Model:
    """Read a file. Raises LoadError: F305 it is not there, F360 it is damaged, F361 it has operators that are not
    TFLite's builtin ones."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            files = read_files(stream)
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise LoadError(f"'{path}' cannot be read: {error.strerror or error}", code="F305") from error
    if content[4:8] != b"TFL3":
        raise LoadError(f"'{path.name}' is no TFLite file: its identifier is missing", code="F360",
                        remedy="fidelite convert MODEL.onnx makes one")
    try:
        model = _Reader(content).model()
    except _BROKEN as error:
        raise LoadError(f"'{path.name}' is damaged: {error or type(error).__name__}", code="F360",
                        remedy="make it again: fidelite convert MODEL.onnx") from error
    model.files = files
    return model


class _Reader:
    def __init__(self, content: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema: Any = schema
        self.content = content
        self.root: Any = schema.Model.GetRootAs(content, 0)
        self.ops = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}

    def model(self) -> Model:
        root = self.root
        graphs = [Graph((root.Subgraphs(i).Name() or b"").decode("utf-8")) for i in range(root.SubgraphsLength())]
        tensors = [self._graph(graph, root.Subgraphs(i), graphs) for i, graph in enumerate(graphs)]
        model = Model(graphs, description=(root.Description() or b"").decode("utf-8"))
        for i in range(root.SignatureDefsLength()):
            model.signatures.append(self._signature(root.SignatureDefs(i), graphs, tensors))
        for i in range(root.MetadataLength()):
            entry = root.Metadata(i)
            data = self._data(entry.Buffer())
            model.metadata[entry.Name().decode("utf-8")] = b"" if data is None else data.tobytes()
        return model

    def _graph(self, graph: Graph, table: Any, graphs: list[Graph]) -> list[Tensor]:
        tensors = [self._tensor(table.Tensors(i)) for i in range(table.TensorsLength())]
        graph.inputs = [tensors[table.Inputs(i)] for i in range(table.InputsLength())]
        for i in range(table.OperatorsLength()):
            graph.append(self._operator(table.Operators(i), tensors, graphs))
        for tensor in tensors:  # a constant of no elements has no bytes to be told by
            if tensor.users and tensor.producer is None and tensor.constant is None and tensor not in graph.inputs \
                    and tensor.is_static and 0 in tensor.shape:
                empty = np.zeros(tensor.static_shape, tensor.element.dtype)
                tensor.constant = Constant.of(empty)
        graph.outputs = [tensors[table.Outputs(i)] for i in range(table.OutputsLength())]
        return tensors

    def _tensor(self, table: Any) -> Tensor:
        element = ElementType(table.Type())
        shape = [int(table.Shape(i)) for i in range(table.ShapeLength())]
        signature = [int(table.ShapeSignature(i)) for i in range(table.ShapeSignatureLength())] or shape
        name = (table.Name() or b"").decode("utf-8")
        dims: list[Dim] = [SymbolicDim.symbol(f"{name}:{i}") if d < 0 else d for i, d in enumerate(signature)]
        constant = self._constant(table.Buffer(), element, tuple(shape))
        return Tensor(name, element, tuple(dims), constant=constant, quantization=self._quantization(table),
                      is_variable=bool(table.IsVariable()))

    def _quantization(self, table: Any) -> Quantization | None:
        facts = table.Quantization()
        if facts is None or not facts.ScaleLength():
            return None
        return Quantization(tuple(float(s) for s in facts.ScaleAsNumpy()),
                            tuple(int(z) for z in facts.ZeroPointAsNumpy()), facts.QuantizedDimension())

    def _data(self, index: int) -> np.ndarray | None:
        buffer = self.root.Buffers(index)
        if buffer.DataLength():
            return buffer.DataAsNumpy()
        if buffer.Size() > 1:
            return np.frombuffer(self.content, np.uint8, buffer.Size(), buffer.Offset())
        return None

    def _constant(self, index: int, element: ElementType, shape: tuple[int, ...]) -> Constant | None:
        data = self._data(index)
        if data is None:
            return None
        if element.bits < 8 or element is ElementType.STRING:
            raise ValueError(f"constants of {element.name} are not read yet")
        if data.size != int(np.prod(shape)) * element.bits // 8:
            raise ValueError(f"buffer {index} has {data.size} bytes, and its tensor needs another number")
        return Constant(element, shape, lambda: data.view(element.dtype).reshape(shape), ("tflite", id(self), index))

    def _operator(self, table: Any, tensors: list[Tensor], graphs: list[Graph]) -> Operator:
        code = self.root.OperatorCodes(table.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self.ops.get(number, str(number))
        if name not in OPS:
            custom = (code.CustomCode() or b"").decode("utf-8")
            raise LoadError(f"the file has the operator {custom or name}, which is none of LiteRT's builtin ones",
                            code="F361", remedy="convert the model again with fidelite")
        inputs = [None if table.Inputs(i) < 0 else tensors[table.Inputs(i)] for i in range(table.InputsLength())]
        outputs = [tensors[table.Outputs(i)] for i in range(table.OutputsLength())]
        operator = Operator(name, inputs, outputs, self._options(table))
        operator.version = code.Version()
        for key, value in operator.options.items():
            if key.lower().endswith("subgraphindex"):
                operator.options[key] = graphs[value]
                operator.graphs = (*operator.graphs, graphs[value])
        return operator

    def _options(self, table: Any) -> dict[str, Any]:
        unpacked = self.schema.OperatorT.InitFromObj(table)
        options = unpacked.builtinOptions or unpacked.builtinOptions2
        if options is None:
            return {}
        found = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(options).items()}
        return {k: v for k, v in found.items() if v is not None}

    def _signature(self, table: Any, graphs: list[Graph], tensors: list[list[Tensor]]) -> Signature:
        index = table.SubgraphIndex()
        inputs = [table.Inputs(i) for i in range(table.InputsLength())]
        outputs = [table.Outputs(i) for i in range(table.OutputsLength())]
        return Signature(table.SignatureKey().decode("utf-8"), graphs[index],
                         [(t.Name().decode("utf-8"), tensors[index][t.TensorIndex()]) for t in inputs],
                         [(t.Name().decode("utf-8"), tensors[index][t.TensorIndex()]) for t in outputs])
