"""Facts of a `.tflite` file for `fidelite inspect`: edge, operators, sizes, metadata. Weights are never read."""

from __future__ import annotations

import json
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from fidelite.errors import LoadError
from fidelite.tasks.card import read_card
from fidelite.tflite.archive import read_files

_MANIFEST = "fidelite.manifest"
_BITS = {"int4": 4, "uint4": 4, "int2": 2, "bool": 8, "float16": 16, "bfloat16": 16, "int16": 16, "uint16": 16,
         "int8": 8, "uint8": 8, "float8_e4m3fn": 8, "float8_e5m2": 8, "float64": 64, "int64": 64, "uint64": 64,
         "complex64": 64, "complex128": 128}


def tflite_facts(path: Path) -> dict[str, Any]:
    """What the file holds, as plain data. Raises LoadError (F308) where its tables are damaged."""
    import struct

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            facts = _Reader(data).facts(read_files(file))
            return facts | {"path": str(path), "file_bytes": len(data)}
        except (struct.error, IndexError, TypeError, UnicodeDecodeError, AttributeError) as error:
            raise LoadError(f"'{path}' is a .tflite file whose tables are damaged ({error})", code="F308",
                            remedy="copy, download or convert the file again",
                            details={"path": str(path)}) from error


class _Reader:
    """One pass over the tables of a file. The generated classes read fields where they lie."""

    def __init__(self, data: Any) -> None:
        from ai_edge_litert import schema_py_generated

        self.schema: Any = schema_py_generated
        self.model: Any = self.schema.Model.GetRootAs(data, 0)
        self.types = _names(self.schema.TensorType)
        self.builtins = _names(self.schema.BuiltinOperator)
        self.data = data

    def facts(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        main = self.model.Subgraphs(0) if self.model.SubgraphsLength() else None
        signatures = [self._signature(self.model.SignatureDefs(i)) for i in range(self.model.SignatureDefsLength())]
        named = next((s for s in signatures if s["key"] == "serving_default"), signatures[0] if signatures else None)
        operators, custom = self._operators()
        metadata = self._metadata()
        weights = self._weights()
        return {
            "version": int(self.model.Version()),
            "description": _text(self.model.Description()),
            "subgraphs": self.model.SubgraphsLength(),
            "inputs": [] if main is None else list(self._edges(main, "Inputs", _by_index(named, "inputs"))),
            "outputs": [] if main is None else list(self._edges(main, "Outputs", _by_index(named, "outputs"))),
            "signatures": signatures,
            "operators": sum(operators.values()),
            "ops": dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
            "custom_ops": custom,
            "weights": weights,
            "activation_bytes": 0 if main is None else self._peak(main),
            "metadata": sorted(metadata),
            "manifest": _manifest(metadata.get(_MANIFEST)),
            "files": {name: len(content) for name, content in sorted(files.items())},
            "task": None if (card := read_card(metadata, files)) is None else card.to_json(),
        }

    def _operators(self) -> tuple[Counter[str], list[str]]:
        codes = [self._code(self.model.OperatorCodes(i)) for i in range(self.model.OperatorCodesLength())]
        counts: Counter[str] = Counter()
        custom: set[str] = set()
        for graph in self._graphs():
            for i in range(graph.OperatorsLength()):
                name, is_custom = codes[graph.Operators(i).OpcodeIndex()]
                counts[name] += 1
                if is_custom:
                    custom.add(name)
        return counts, sorted(custom)

    def _code(self, code: Any) -> tuple[str, bool]:
        number = max(int(code.DeprecatedBuiltinCode()), int(code.BuiltinCode()))
        if number == self.schema.BuiltinOperator.CUSTOM:
            return _text(code.CustomCode()) or "CUSTOM", True
        return self.builtins.get(number, f"BUILTIN {number}"), False

    def _graphs(self) -> Iterator[Any]:
        return (self.model.Subgraphs(i) for i in range(self.model.SubgraphsLength()))

    def _signature(self, definition: Any) -> dict[str, Any]:
        def maps(kind: str) -> dict[str, int]:
            count = getattr(definition, f"{kind}Length")()
            entries = [getattr(definition, kind)(i) for i in range(count)]
            return {_text(e.Name()): int(e.TensorIndex()) for e in entries}

        return {"key": _text(definition.SignatureKey()), "subgraph": int(definition.SubgraphIndex()),
                "inputs": maps("Inputs"), "outputs": maps("Outputs")}

    def _edges(self, graph: Any, kind: str, names: dict[int, str]) -> Iterator[dict[str, Any]]:
        for i in range(getattr(graph, f"{kind}Length")()):
            index = int(getattr(graph, kind)(i))
            tensor = graph.Tensors(index)
            shape = _shape(tensor)
            yield {
                "name": names.get(index) or _text(tensor.Name()),
                "type": self._type(tensor),
                "shape": shape,
                "bytes": self._bytes(tensor),
                "quantization": _quantization(tensor),
            }

    def _type(self, tensor: Any) -> str:
        return self.types.get(int(tensor.Type()), "?").lower()

    def _bytes(self, tensor: Any) -> int | None:
        shape = _shape(tensor)
        if any(d is None for d in shape) or self._type(tensor) in ("string", "resource", "variant"):
            return None
        return (prod(d for d in shape if d is not None) * _BITS.get(self._type(tensor), 32) + 7) // 8

    def _constant(self, tensor: Any) -> bool:
        buffer = self.model.Buffers(int(tensor.Buffer()))
        return bool(buffer.DataLength() or (hasattr(buffer, "Size") and buffer.Size() > 1))

    def _weights(self) -> dict[str, Any]:
        """Constants by element type; a buffer that several tensors share counts once."""
        seen: set[int] = set()
        by_type: Counter[str] = Counter()
        parameters = tensors = 0
        for graph in self._graphs():
            for i in range(graph.TensorsLength()):
                tensor = graph.Tensors(i)
                if int(tensor.Buffer()) in seen or not self._constant(tensor):
                    continue
                seen.add(int(tensor.Buffer()))
                tensors += 1
                by_type[self._type(tensor)] += self._bytes(tensor) or 0
                if _quantization(tensor) is not None or self._type(tensor).startswith(("float", "bfloat")):
                    parameters += prod(d or 1 for d in _shape(tensor))
        return {"tensors": tensors, "parameters": parameters, "bytes": sum(by_type.values()),
                "bytes_by_type": dict(by_type.most_common())}

    def _peak(self, graph: Any) -> int:
        """Bytes of the values that are alive at once, at most; free dimensions count as 1."""
        sizes = {i: self._bytes(t) or 0 for i in range(graph.TensorsLength())
                 if not self._constant(t := graph.Tensors(i))}
        last: dict[int, int] = {}
        for step in range(graph.OperatorsLength()):
            last.update(dict.fromkeys(_indices(graph.Operators(step), "Inputs"), step))
        kept = {*_indices(graph, "Inputs"), *_indices(graph, "Outputs")}
        alive = peak = sum(sizes.get(i, 0) for i in _indices(graph, "Inputs"))
        for step in range(graph.OperatorsLength()):
            operator = graph.Operators(step)
            alive += sum(sizes.get(i, 0) for i in _indices(operator, "Outputs"))
            peak = max(peak, alive)
            dying = {i for i in _indices(operator, "Inputs") if last[i] == step and i not in kept}
            alive -= sum(sizes.get(i, 0) for i in dying)
        return peak

    def _metadata(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for i in range(self.model.MetadataLength()):
            entry = self.model.Metadata(i)
            buffer = self.model.Buffers(int(entry.Buffer()))
            found[_text(entry.Name())] = bytes(buffer.DataAsNumpy()) if buffer.DataLength() else b""
        return found


def _by_index(signature: dict[str, Any] | None, kind: str) -> dict[int, str]:
    return {} if signature is None else {index: name for name, index in signature[kind].items()}


def _names(enum: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", "replace")


def _shape(tensor: Any) -> list[int | None]:
    signature = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())]
    shape = [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]
    return [None if d < 0 else d for d in (signature if len(signature) == len(shape) else shape)]


def _quantization(tensor: Any) -> dict[str, Any] | None:
    facts = tensor.Quantization()
    if facts is None or not facts.ScaleLength():
        return None
    if facts.ScaleLength() > 1:
        return {"scales": int(facts.ScaleLength()), "axis": int(facts.QuantizedDimension())}
    zero = int(facts.ZeroPoint(0)) if facts.ZeroPointLength() else 0
    return {"scale": float(facts.Scale(0)), "zero_point": zero}


def _indices(table: Any, kind: str) -> list[int]:
    return [int(getattr(table, kind)(i)) for i in range(getattr(table, f"{kind}Length")())]


def _manifest(content: bytes | None) -> dict[str, Any] | None:
    if content is None:
        return None
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
