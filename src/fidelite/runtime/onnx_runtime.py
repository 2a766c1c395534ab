"""ONNX Runtime on the CPU: the oracle."""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fidelite.errors import MissingExtra, RuntimeCrash
from fidelite.runtime.protocol import Array, Arrays, Port, check_feeds, dtype_of, pick

_TYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float8e8m0": "float8_e8m0fnu",
    "float4e2m1": "float4_e2m1fn",
    "string": "str",
}
_PACKED = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
"""Types of which ONNX Runtime puts several in a byte, low bits first, and numpy one."""


class OnnxSession:
    """An ONNX model (file or bytes) in ONNX Runtime, on the CPU, in this process.

    `extra_outputs` names inner values to put out too, after the model's own. External data is found beside
    the file, or in `folder` where the model comes as bytes; it is mapped by ONNX Runtime and never read here.
    `optimize=False` switches graph optimisation off, so that each node runs as it is written.

    Raises `RuntimeCrash` with ONNX Runtime's words where it cannot load or run the model.
    """

    runtime = "ONNX Runtime"

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        extra_outputs: Sequence[str] = (),
        optimize: bool = True,
        folder: Path | None = None,
    ) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingExtra("onnxruntime is not installed", remedy="pip install onnxruntime") from error
        self._ort: Any = onnxruntime
        self._label = f"'{model.name}'" if isinstance(model, Path) else "the model"
        if isinstance(model, Path):
            folder = folder or model.absolute().parent
        options = self._options(threads, optimize)
        self._session: Any = None
        try:
            content = _with_outputs(model, extra_outputs) if extra_outputs else model
            if isinstance(content, bytes) and folder is not None:
                options.add_session_config_entry(
                    "session.model_external_initializers_file_folder_path", os.fspath(folder.absolute())
                )
            source = content if isinstance(content, bytes) else os.fspath(content)
            self._session = self._ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except self._failures() as error:
            raise _crash(f"cannot load {self._label}", error) from error
        self._inputs = tuple(_port(p) for p in self._session.get_inputs())
        self._outputs = tuple(_port(p) for p in self._session.get_outputs())

    def _options(self, threads: int, optimize: bool) -> Any:
        options = self._ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        if not optimize:
            options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return options

    def _failures(self) -> tuple[type[Exception], ...]:
        """ONNX Runtime's own exceptions, which have no common base, and those of its binding and of onnx."""
        state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        own = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
        from google.protobuf.message import Error

        return (*own, Error, OSError, RuntimeError, ValueError, TypeError, MemoryError)

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._outputs

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """See `Session.run`."""
        names = pick(self._outputs, outputs)
        found = self.prepared(feeds, names)()
        return {n: self._array(n, v) for n, v in zip(names, found, strict=True)}

    def prepared(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> Callable[[], Sequence[Any]]:
        """A function that runs the model once on these feeds and returns ONNX Runtime's own values."""
        if self._session is None:
            raise RuntimeCrash("The ONNX Runtime session is closed.")
        check_feeds(self._inputs, feeds, self.runtime)
        names = pick(self._outputs, outputs)
        values = {p.name: self._value(feeds[p.name]) for p in self._inputs}
        session, failures = self._session, self._failures()

        def run() -> Sequence[Any]:
            try:
                return session.run_with_ort_values(names, values)
            except failures as error:
                raise _crash(f"cannot run {self._label}", error) from error

        return run

    def _value(self, array: Array) -> Any:
        make: Any = self._ort.OrtValue
        array = array if array.flags.c_contiguous else array.copy(order="C")
        if array.dtype.isbuiltin == 1:
            return make.ortvalue_from_numpy(array)
        from onnx import helper

        bits = np.dtype(f"uint{8 * array.dtype.itemsize}")
        onnx_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        if array.dtype.name in _PACKED:
            array = _packed(array)
        return make.ortvalue_from_numpy_with_onnx_type(array.view(bits), onnx_type)

    def _array(self, name: str, value: Any) -> Array:
        kind: str = value.data_type()
        if not kind.startswith("tensor("):
            raise RuntimeCrash(f"Output '{name}' is a {kind}; only tensors can be read.")
        dtype = _dtype_name(kind)
        if dtype == "str" or dtype_of(dtype).isbuiltin == 1:
            return value.numpy()
        raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
        if dtype in _PACKED:
            return _unpacked(raw, dtype, tuple(value.shape()))
        return np.frombuffer(bytearray(raw), dtype_of(dtype)).reshape(tuple(value.shape()))

    def close(self) -> None:
        """Free the model."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _packed(array: Array) -> Array:
    """Bytes that begin with the packed elements, of as many bytes as there are elements."""
    per_byte = 8 // (width := _PACKED[array.dtype.name])
    flat = array.view(np.uint8).reshape(-1) & ((1 << width) - 1)
    groups = np.concatenate([flat, np.zeros(-flat.size % per_byte, np.uint8)]).reshape(-1, per_byte)
    packed = np.bitwise_or.reduce(groups << (width * np.arange(per_byte, dtype=np.uint8)), axis=1)
    result = np.zeros(array.shape, np.uint8)
    result.reshape(-1)[:packed.size] = packed
    return result


def _unpacked(raw: bytes, dtype: str, shape: tuple[int, ...]) -> Array:
    """The elements of packed bytes, one to a byte."""
    per_byte = 8 // (width := _PACKED[dtype])
    parts = np.frombuffer(raw, np.uint8)[:, None] >> (width * np.arange(per_byte, dtype=np.uint8))
    flat = (parts & ((1 << width) - 1)).reshape(-1)[: math.prod(shape)]
    if dtype.startswith("int"):  # the sign goes on to the left
        flat = ((flat ^ (1 << width - 1)) - (1 << width - 1)).astype(np.uint8)
        return flat.view(np.int8).astype(dtype_of(dtype)).reshape(shape)
    return flat.view(dtype_of(dtype)).reshape(shape)


def _with_outputs(model: Path | bytes, names: Sequence[str]) -> bytes:
    """The model with more outputs, of types for ONNX Runtime to infer. External data stays outside."""
    import onnx

    if isinstance(model, bytes):
        proto = onnx.load_model_from_string(model)
    else:
        proto = onnx.load_model(os.fspath(model), load_external_data=False)
    add_outputs(proto, names)
    return proto.SerializeToString()


def add_outputs(proto: Any, names: Sequence[str]) -> None:
    """Append graph outputs, without type, for those names that are no outputs yet."""
    import onnx

    known = {o.name for o in proto.graph.output}
    for name in dict.fromkeys(names):
        if name not in known:
            proto.graph.output.append(onnx.ValueInfoProto(name=name))


def _port(argument: Any) -> Port:
    shape = tuple(d if isinstance(d, int) else d or None for d in argument.shape)
    return Port(argument.name, _dtype_name(argument.type), shape)


def _dtype_name(kind: str) -> str:
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return _TYPES.get(inner, inner) if kind.startswith("tensor(") else kind


def _crash(what: str, error: Exception) -> RuntimeCrash:
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : (\w+) : ", r"\1: ", str(error))
    text = re.sub(r"\S*onnxruntime_src\S*", "", text)
    text = " ".join(text.split())
    return RuntimeCrash(f"ONNX Runtime {what}: {text[:1000]}", details={"runtime": "ONNX Runtime", "how": "refused"})
