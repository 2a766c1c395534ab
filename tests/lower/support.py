"""Run an ONNX model through fidelite and LiteRT, and compare with ONNX Runtime: shape and type before values."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import onnx_ir
from onnx import helper

from fidelite.lower.driver import lower_model
from fidelite.lower.registry import converts
from fidelite.prepare.fold import fold
from fidelite.prepare.graph import prepare
from fidelite.runtime.litert import LiteRtSession
from fidelite.runtime.onnx_runtime import OnnxSession
from fidelite.runtime.process import Worker
from fidelite.tflite.graph import Model
from fidelite.write.flatbuffer import write_model

Array = np.ndarray[Any, Any]


@cache
def shared_worker() -> Worker:
    """One LiteRT process for all tests of this process: starting one for each model would take most of the time."""
    worker = Worker(timeout=60.0)
    atexit.register(worker.close)
    return worker


def one_node(op: str, inputs: Mapping[str, Array], *, opset: int, constants: Mapping[str, Array] | None = None,
             operands: Sequence[str] | None = None, outputs: int = 1, domain: str = "",
             **attributes: Any) -> onnx.ModelProto:
    """A model of one node. `inputs` become graph inputs, `constants` initializers; `operands` orders their names
    ('' where an operand is left out; default: inputs, then constants)."""
    constants = constants or {}
    names = list(operands) if operands is not None else [*inputs, *constants]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name=f"the_{op}", domain=domain, **attributes)
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in inputs.items()]
    graph = helper.make_graph([node], "g", infos, [helper.make_empty_tensor_value_info(r) for r in results],
                              [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()])
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=imports, ir_version=min(10, onnx.IR_VERSION))
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def lowered(model: onnx.ModelProto) -> Model:
    """The TFLite model as lowering gives it, before any pass."""
    return lower_model(prepare(onnx_ir.from_proto(model), converts), fold=fold).model


def tflite_bytes(model: Model) -> bytes:
    stream = BytesIO()
    write_model(model, stream)
    return stream.getvalue()


def run_litert(content: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    with LiteRtSession(content, worker=shared_worker()) as session:
        return session.run(feeds)


def run_onnx(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    with OnnxSession(model.SerializeToString(), optimize=False) as session:
        return session.run(feeds)


def check(model: onnx.ModelProto, feeds: Mapping[str, Array], *, rtol: float = 1e-5, atol: float = 1e-6,
          expected: Mapping[str, Array] | None = None) -> Model:
    """Assert that fidelite's result equals ONNX Runtime's (or `expected`); returns the lowered model."""
    result = lowered(model)
    found = run_litert(tflite_bytes(result), feeds)
    wanted = expected if expected is not None else run_onnx(model, feeds)
    assert list(found) == list(wanted)
    for name, want in wanted.items():
        have = found[name]
        assert have.shape == want.shape, f"{name}: shape {have.shape}, not {want.shape}"
        assert have.dtype == want.dtype, f"{name}: type {have.dtype}, not {want.dtype}"
        if want.dtype.kind in "biu":
            np.testing.assert_array_equal(have, want, err_msg=name)
        else:
            scale = float(np.max(np.abs(want[np.isfinite(want)]), initial=0.0))
            np.testing.assert_allclose(have.astype(np.float64), want.astype(np.float64), rtol=rtol,
                                       atol=atol + rtol * scale * 0.1, err_msg=name)
    return result
