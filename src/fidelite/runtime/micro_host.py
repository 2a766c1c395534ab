"""A model as the worker holds it in TensorFlow Lite Micro's interpreter."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fidelite.runtime.hosts import SIGNATURE
from fidelite.runtime.protocol import Array

_USED = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_ROOM = 64 << 20
_ALIGNMENT = 16


class MicroHost:
    """One interpreter over the file's bytes. What it prints is kept for its errors."""

    def __init__(self, path: str, arena: int | None) -> None:
        self._content = Path(path).read_bytes()
        names = _Names(self._content)
        # Inner values of a float graph seldom need more than this; what is not touched takes no memory.
        self._arena = arena if arena is not None else _ROOM + 8 * names.value_bytes
        self._model: Any = self._interpreter(self._arena)
        self._inputs = [_port(name, self._model.get_input_details(i)) for i, name in enumerate(names.inputs)]
        self._outputs = [_port(name, self._model.get_output_details(i)) for i, name in enumerate(names.outputs)]

    def _interpreter(self, arena: int) -> Any:
        from tflite_micro import runtime  # pyright: ignore[reportMissingImports]

        with _listening() as said:
            try:
                return runtime.Interpreter.from_bytes(self._content, arena_size=arena)
            except (RuntimeError, ValueError) as error:
                raise ValueError(_words(error, said())) from error

    def describe(self) -> dict[str, Any]:
        return {"inputs": self._inputs, "outputs": self._outputs}

    def feed(self, names: list[str], arrays: list[Array]) -> Callable[[], object]:
        def invoke() -> None:
            with _listening() as said:
                try:
                    self._model.reset()
                    for name, array in zip(names, arrays, strict=True):
                        index = next(i for i, p in enumerate(self._inputs) if p["name"] == name)
                        self._model.set_input(np.ascontiguousarray(array), index)
                    self._model.invoke()
                except (RuntimeError, ValueError) as error:
                    raise ValueError(_words(error, said())) from error

        return invoke

    def fetch(self, names: list[str]) -> list[Array]:
        places = {p["name"]: i for i, p in enumerate(self._outputs)}
        return [np.array(self._model.get_output(places[name])) for name in names]

    def answer(self, what: str, header: dict[str, Any]) -> tuple[dict[str, Any], list[Array]]:
        if what != "arena":
            raise ValueError(f"the micro worker does not know {what!r}")
        with _listening() as said:
            self._model.print_allocations()
            found = {kind: int(size) for kind, size in _USED.findall(said())}
        if "total" not in found:
            raise ValueError("the interpreter did not print its allocations")
        return {"ok": True, "values": found["head"], "structures": found["tail"],
                "smallest": self._smallest(found["total"])}, []

    def _smallest(self, low: int) -> int:
        """The least arena, a multiple of 16 bytes, with which the model can be allocated."""
        low = low // _ALIGNMENT * _ALIGNMENT
        high = low + _ALIGNMENT
        while not self._fits(high):
            low, high = high, high + 2 * (high - low)
        while high - low > _ALIGNMENT:
            middle = (low + high) // (2 * _ALIGNMENT) * _ALIGNMENT
            low, high = (low, middle) if self._fits(middle) else (middle, high)
        return high

    def _fits(self, arena: int) -> bool:
        try:
            self._interpreter(arena)
        except ValueError:
            return False
        return True


class _Names:
    """Names of a file's inputs and outputs, as its signature gives them, and the bytes of its values."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated

        schema: Any = schema_py_generated
        model = schema.Model.GetRootAs(content, 0)
        graph = model.Subgraphs(0)
        named: tuple[dict[int, list[str]], dict[int, list[str]]] = ({}, {})
        for i in range(model.SignatureDefsLength()):
            signature = model.SignatureDefs(i)
            if signature.SignatureKey() == SIGNATURE.encode():
                for found, kind in zip(named, ("Inputs", "Outputs"), strict=True):
                    for k in range(getattr(signature, f"{kind}Length")()):
                        entry = getattr(signature, kind)(k)
                        found.setdefault(int(entry.TensorIndex()), []).append(entry.Name().decode("utf-8"))
        self.inputs = _unique([(named[0].get(int(i)) or [graph.Tensors(int(i)).Name().decode("utf-8")])[0]
                               for i in (graph.Inputs(k) for k in range(graph.InputsLength()))])
        self.outputs = _unique([(named[1].get(int(i)) or [graph.Tensors(int(i)).Name().decode("utf-8")])[0]
                                for i in (graph.Outputs(k) for k in range(graph.OutputsLength()))])
        shapes = [[graph.Tensors(i).Shape(k) for k in range(graph.Tensors(i).ShapeLength())]
                  for i in range(graph.TensorsLength())
                  if not model.Buffers(int(graph.Tensors(i).Buffer())).DataLength()]
        self.value_bytes = sum(4 * int(np.prod(shape, dtype=np.int64)) for shape in shapes)


def _unique(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        unique, count = name, 1
        while unique in found:
            unique, count = f"{name}:{count}", count + 1
        found.append(unique)
    return found


def _port(name: str, details: Any) -> dict[str, Any]:
    return {"name": name, "dtype": np.dtype(details["dtype"]).name, "shape": [int(d) for d in details["shape"]]}


@contextmanager
def _listening() -> Generator[Callable[[], str]]:
    """Keep what native code writes to standard error; the function gives it so far."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            def said() -> str:
                file.seek(0)
                return file.read().decode("utf-8", "replace")

            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _words(error: Exception, said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return " ".join([*lines[-6:], str(error)])
