"""The reference evaluator of the `onnx` package: slow, in NumPy, for nodes that ONNX Runtime cannot run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fidelite.errors import RuntimeCrash
from fidelite.runtime.onnx_runtime import add_outputs
from fidelite.runtime.protocol import Array, Arrays, Port, check_feeds, pick

_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class ReferenceSession:
    """An ONNX model in `onnx.reference.ReferenceEvaluator`. Not known to be right for every op: a fallback.

    Known to be wrong: Softmax and LogSoftmax of opset < 13, which flatten to two dimensions, and here do not.
    Raises `RuntimeCrash` where the evaluator fails, which it does with errors of any kind.
    """

    runtime = "the ONNX reference evaluator"

    def __init__(self, model: Path | bytes, *, extra_outputs: Sequence[str] = ()) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        try:
            if isinstance(model, bytes):
                proto = onnx.load_model_from_string(model)
            else:
                proto = onnx.load_model(os.fspath(model))
            self._inputs = tuple(_port(v) for v in _free_inputs(proto.graph))
            known = {v.name: _port(v) for v in [*proto.graph.output, *proto.graph.value_info]}
            add_outputs(proto, extra_outputs)
            self._outputs = tuple(known.get(v.name, Port(v.name, "", ())) for v in proto.graph.output)
            self._evaluator: Any = ReferenceEvaluator(proto)
        except (*_FAILURES, _decode_error()) as error:
            raise _crash("cannot load the model", error) from error

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The model's outputs; an extra output of unknown type has dtype '' and shape ()."""
        return self._outputs

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """See `Session.run`."""
        check_feeds(self._inputs, feeds, self.runtime)
        names = pick(self._outputs, outputs)
        try:
            with np.errstate(all="ignore"):
                found: list[Any] = self._evaluator.run(names, dict(feeds))
        except _FAILURES as error:
            raise _crash("cannot run the model", error) from error
        for name, value in zip(names, found, strict=True):
            if not isinstance(value, (np.ndarray, np.generic)):
                raise RuntimeCrash(f"Output '{name}' is a {type(value).__name__}; only tensors can be read.")
        return {n: np.asarray(v) for n, v in zip(names, found, strict=True)}

    def close(self) -> None:
        self._evaluator = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _free_inputs(graph: Any) -> list[Any]:
    """Inputs without an initializer of that name (older models list the weights as inputs)."""
    weights = {t.name for t in graph.initializer}
    return [v for v in graph.input if v.name not in weights]


def _port(value: Any) -> Port:
    from onnx import helper

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return Port(value.name, str(value.type.WhichOneof("value") or ""), ())
    dims: list[int | str | None] = [
        d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim
    ]
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return Port(value.name, "str" if dtype.kind in "OSU" else dtype.name, tuple(dims))


def _decode_error() -> type[Exception]:
    from google.protobuf.message import DecodeError

    return DecodeError


def _crash(what: str, error: Exception) -> RuntimeCrash:
    text = " ".join(str(error).split())[:1000] or type(error).__name__
    return RuntimeCrash(
        f"The ONNX reference evaluator {what}: {text}",
        details={"runtime": "onnx.reference", "how": "refused", "exception": type(error).__name__},
    )
