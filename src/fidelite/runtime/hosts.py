"""Models as the worker holds them: a LiteRT interpreter, or an ONNX Runtime session to measure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fidelite.runtime.protocol import Array
from fidelite.runtime.statistics import TensorStatistics

SIGNATURE = "serving_default"


class LiteRtHost:
    """One LiteRT interpreter, resized when inputs of another shape come."""

    def __init__(self, path: str, threads: int, xnnpack: bool, preserve: bool) -> None:
        self._options: dict[str, Any] = {"num_threads": threads}
        self._path = path
        self._xnnpack = xnnpack
        self._model: Any = self._interpreter(experimental_preserve_all_tensors=preserve)
        self._model.allocate_tensors()
        self._preserve = preserve
        self._observed: dict[int, TensorStatistics] = {}
        try:
            inputs, outputs = self._model.get_input_details(), self._model.get_output_details()
        except ValueError as error:
            raise ValueError(
                f"{error} (its Python binding cannot show inputs and outputs of some types, bfloat16 among them)"
            ) from error
        names: tuple[dict[int, list[str]], ...] = self._signature_names()
        self._inputs = dict(zip(_named(inputs, names[0]), inputs, strict=True))
        self._outputs = dict(zip(_named(outputs, names[1]), outputs, strict=True))
        self._shapes = {n: tuple(int(s) for s in d["shape"]) for n, d in self._inputs.items()}

    def _interpreter(self, **options: Any) -> Any:
        from ai_edge_litert import interpreter as litert  # pyright: ignore[reportMissingTypeStubs]

        kind: Any = litert.OpResolverType
        if not self._xnnpack:
            options["experimental_op_resolver_type"] = kind.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        make: Any = litert.Interpreter
        if sys.platform == "win32" and not self._path.isascii():
            content = Path(self._path).read_bytes()  # its file reader takes the path in the ANSI code page
            return make(model_content=content, **self._options, **options)
        return make(model_path=self._path, **self._options, **options)

    def _signature_names(self) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
        """For inputs and outputs: tensor index -> the names that the signature gives it."""
        known: dict[str, Any] = self._model._get_full_signature_list()
        signature = known.get(SIGNATURE) or next(iter(known.values()), {})
        inputs, outputs = dict[int, list[str]](), dict[int, list[str]]()
        for found, part in ((inputs, "inputs"), (outputs, "outputs")):
            for name, index in signature.get(part, {}).items():
                found.setdefault(int(index), []).append(name)
        return inputs, outputs

    def describe(self) -> dict[str, Any]:
        return {
            "inputs": [_port(n, d) for n, d in self._inputs.items()],
            "outputs": [_port(n, d) for n, d in self._outputs.items()],
        }

    def feed(self, names: list[str], arrays: list[Array]) -> Callable[[], object]:
        for name, array in zip(names, arrays, strict=True):
            if array.shape != self._shapes[name]:
                self._model.resize_tensor_input(self._inputs[name]["index"], list(array.shape))
                self._shapes[name] = ()  # unknown until it is allocated
        if any(self._shapes[n] != a.shape for n, a in zip(names, arrays, strict=True)):
            self._model.allocate_tensors()
            self._shapes = {n: a.shape for n, a in zip(names, arrays, strict=True)}
        for name, array in zip(names, arrays, strict=True):
            if array.size:
                self._model.set_tensor(self._inputs[name]["index"], array)
        return self._model.invoke

    def fetch(self, names: list[str]) -> list[Array]:
        return [self._read(self._outputs[n]["index"]) for n in names]

    def _read(self, index: int) -> Array:
        details: Any = self._model._get_tensor_details(index, 0)
        if 0 in details["shape"]:
            return np.empty(tuple(details["shape"]), details["dtype"])
        return self._model.get_tensor(index)

    def answer(self, what: str, header: dict[str, Any]) -> tuple[dict[str, Any], list[Array]]:
        if what == "delegated":
            return {"ok": True, "ops": self._delegated()}, []
        if what == "details":
            found = [_port(d["name"], d) | {"index": int(d["index"])} for d in self._model.get_tensor_details()]
            return {"ok": True, "tensors": found}, []
        if not self._preserve:
            raise ValueError("inner tensors are only kept with preserve_all")
        if what == "observe":
            return self._observe(header["which"], set(header["channels"]), header["number"]), []
        if what == "observed":
            return self._statistics()
        return self._tensors(header["which"])

    def _observe(self, which: list[int], channels: set[int], number: int) -> dict[str, Any]:
        """Take the values of the last run into the statistics, where they lie, one tensor after the other."""
        for index in which:
            values = self._model.tensor(index)()
            self._observed.setdefault(index, TensorStatistics()).add(values, number, channels=index in channels)
            del values  # LiteRT runs again only when nobody holds its memory
        return {"ok": True}

    def _statistics(self) -> tuple[dict[str, Any], list[Array]]:
        """All that was observed: facts per tensor, and for each the histogram and the sums of channels."""
        facts = {str(index): found.facts() for index, found in self._observed.items()}
        arrays = [a for found in self._observed.values() for a in (found.counts, found.channel_sum)]
        return {"ok": True, "tensors": facts}, arrays

    def _tensors(self, which: Iterable[str | int]) -> tuple[dict[str, Any], list[Array]]:
        indices = dict[str, int]()
        for details in self._model.get_tensor_details():
            indices.setdefault(details["name"], int(details["index"]))
        found: list[Array] = []
        for key in which:
            if isinstance(key, str) and key not in indices:
                raise ValueError(f"the model has no tensor called '{key}'")
            found.append(self._read(indices[key] if isinstance(key, str) else key))
        return {"ok": True}, found

    def _delegated(self) -> list[tuple[str, bool]]:
        """Each operator of the main graph with whether XNNPACK took it, told by delegating one at a time."""
        model = self._interpreter(experimental_disable_delegate_node_fusion=True)
        model.allocate_tensors()
        inner: Any = model._interpreter  # its names and outputs; types are told for fewer models
        ops = [(str(inner.NodeName(i)), inner.NodeOutputs(i)) for i in range(inner.NumNodes())]
        taken = {int(o) for name, outputs in ops if name == "DELEGATE" for o in outputs}
        return [(name, any(int(o) in taken for o in outputs)) for name, outputs in ops if name != "DELEGATE"]


class OnnxHost:
    """An ONNX Runtime session in the worker, so that it is measured as LiteRT is."""

    def __init__(self, path: str, threads: int) -> None:
        from fidelite.runtime.onnx_runtime import OnnxSession

        self._session = OnnxSession(Path(path), threads=threads)

    def describe(self) -> dict[str, Any]:
        session = self._session
        return {
            "inputs": [p.to_json() for p in session.inputs],
            "outputs": [p.to_json() for p in session.outputs],
        }

    def feed(self, names: list[str], arrays: list[Array]) -> Callable[[], object]:
        return self._session.prepared(dict(zip(names, arrays, strict=True)))

    def fetch(self, names: list[str]) -> list[Array]:
        raise ValueError("the ONNX worker only measures")

    def answer(self, what: str, header: dict[str, Any]) -> tuple[dict[str, Any], list[Array]]:
        raise ValueError(f"the ONNX worker does not know {what!r}")


def _named(details: list[Any], names: dict[int, list[str]]) -> list[str]:
    """One name per port: the signature's, else the tensor's own; made unique with a number."""
    left = {index: list(found) for index, found in names.items()}
    result: list[str] = []
    for d in details:
        own = left.get(int(d["index"]), [])
        name = own.pop(0) if own else str(d["name"])
        unique, count = name, 1
        while unique in result:
            unique, count = f"{name}:{count}", count + 1
        result.append(unique)
    return result


def _port(name: str, details: Any) -> dict[str, Any]:
    signature = [int(d) for d in details["shape_signature"]]
    shape = signature if len(signature) == len(details["shape"]) else [int(d) for d in details["shape"]]
    dtype = np.dtype(details["dtype"])
    return {
        "name": name,
        "dtype": "str" if dtype.kind in "SUO" else dtype.name,
        "shape": [None if d < 0 else d for d in shape],
    }
