"""TensorFlow Lite Micro's interpreter: models proven in it, its arena, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fidelite
from fidelite.errors import RuntimeCrash, TargetError
from fidelite.examples import face_parsing
from fidelite.runtime.litert import LiteRtSession
from fidelite.runtime.micro import MicroSession
from fidelite.targets.micro_kernels import KERNELS, VERSION

FACE = Path(face_parsing.__file__).parent / "face_parsing.onnx"


def _model(nodes: list[onnx.NodeProto], shape: list[int], out: list[int],
           *weights: tuple[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * np.float32(0.3)


def _convolutions() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["d"], transB=1),
        helper.make_node("Softmax", ["d"], ["y"]),
    ]
    return _model(nodes, [1, 3, 32, 32], [1, 5], ("w1", _normal(8, 3, 3, 3)), ("b1", _normal(8)),
                  ("w2", _normal(5, 8)), ("b2", _normal(5)))


def _recurrent() -> onnx.ModelProto:
    nodes = [helper.make_node("LSTM", ["x", "w", "r", "b"], ["h"], hidden_size=6),
             helper.make_node("Squeeze", ["h", "axes"], ["y"])]
    return _model(nodes, [5, 1, 4], [5, 1, 6], ("w", _normal(1, 24, 4)), ("r", _normal(1, 24, 6, seed=1)),
                  ("b", _normal(1, 48, seed=2)), ("axes", np.array([1], np.int64)))


def _attention() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"]), helper.make_node("MatMul", ["x", "wk"], ["k"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]), helper.make_node("MatMul", ["q", "kt"], ["s"]),
        helper.make_node("Softmax", ["s"], ["a"]), helper.make_node("MatMul", ["a", "x"], ["v"]),
        helper.make_node("LayerNormalization", ["v", "g", "bb"], ["y"]),
    ]
    return _model(nodes, [1, 6, 8], [1, 6, 8], ("wq", _normal(8, 8)), ("wk", _normal(8, 8, seed=1)),
                  ("g", np.ones(8, np.float32)), ("bb", np.zeros(8, np.float32)))


@pytest.mark.parametrize("make", [_convolutions, _recurrent, _attention])
def test_proven_in_the_interpreter(make: Callable[[], onnx.ModelProto]) -> None:
    result = fidelite.convert(make(), target="micro")
    assert result.device["verification"]["result"] == "TensorFlow Lite Micro"
    assert result.device["verification"]["proven"] is True
    assert result.manifest["device"]["proof"]["verdict"] == "proven"
    arena = result.device["arena"]
    assert 0 < arena["values"] < arena["smallest"]


def test_the_arena_is_the_smallest(tmp_path: Path) -> None:
    result = fidelite.convert(_convolutions(), target="micro")
    smallest = result.device["arena"]["smallest"]
    feeds = {"x": _normal(1, 3, 32, 32)}
    with MicroSession(result.bytes, arena=smallest) as session:
        found = session.run(feeds)
    with LiteRtSession(result.bytes) as session:
        np.testing.assert_allclose(found["y"], session.run(feeds)["y"], atol=1e-5)
    with pytest.raises(RuntimeCrash):
        MicroSession(result.bytes, arena=smallest - 64)
    _, header = result.save_c_array(tmp_path / "net.cc")
    assert f"{smallest} bytes" in header.read_text("ascii")


def test_face_parsing() -> None:
    """The embedded network, of 512 by 512 pixels."""
    result = fidelite.convert(FACE, target="micro", layout={"input": "nhwc", "output": "nhwc"})
    assert result.device["verification"]["rows"][0]["argmax_agreement"] > 0.9999
    assert result.device["arena"]["smallest"] < 64_000_000


def test_a_quantized_model(tmp_path: Path) -> None:
    """int8 values and weights, as ONNX Runtime's quantizer writes them (QDQ)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Random(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"x": _normal(1, 3, 32, 32, seed=i) * 4} for i in range(4)]

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            return self.left.pop() if self.left else None

    onnx.save(_convolutions(), tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", Random(), quant_format=QuantFormat.QDQ,
                    per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8)
    result = fidelite.convert(tmp_path / "int8.onnx", target="micro")
    convolution = next(o for o in result.model.main.operators if o.op == "CONV_2D")
    assert convolution.inputs[0] is not None
    assert convolution.inputs[0].element.name == "INT8"
    assert result.device["verification"]["proven"] is True
    whole = fidelite.convert(tmp_path / "float.onnx", target="micro").device["arena"]
    assert result.device["arena"]["values"] < 0.6 * whole["values"]
    assert result.device["arena"]["smallest"] < whole["smallest"]


def test_state_is_reset_between_runs() -> None:
    result = fidelite.convert(_recurrent(), target="micro", verify=False)
    feeds = {"x": _normal(5, 1, 4)}
    with MicroSession(result.bytes) as session:
        np.testing.assert_array_equal(session.run(feeds)["y"], session.run(feeds)["y"])


def test_what_the_table_refuses_the_interpreter_refuses() -> None:
    """An operator without a row is one that the interpreter does not know."""
    node = helper.make_node("Gelu", ["x"], ["y"])
    model = _model([node], [1, 8], [1, 8])
    model.opset_import[0].version = 20
    with pytest.raises(TargetError) as caught:
        fidelite.convert(model, target="micro")
    assert caught.value.code == "F471"
    assert "GELU" not in KERNELS
    with pytest.raises(RuntimeCrash, match="GELU"):
        MicroSession(fidelite.convert(model, verify=False).bytes)


def test_the_table_is_of_this_version() -> None:
    from importlib.metadata import version

    assert version("tflite-micro") == VERSION


def test_the_table_is_what_the_probe_finds() -> None:
    """A few rows, probed again (scripts/probe_micro.py writes them all)."""
    from scripts.probe_micro import Probe, probe

    machine = Probe()
    for op in ("ADD", "CONV_2D", "FULLY_CONNECTED", "RESIZE_BILINEAR", "GELU", "CAST", "RELU6"):
        assert probe(op, machine) == KERNELS.get(op), op


def test_gelu_by_tanh_runs() -> None:
    node = helper.make_node("Gelu", ["x"], ["y"])
    model = _model([node], [1, 64], [1, 64])
    model.opset_import[0].version = 20
    result = fidelite.convert(model, target="micro", approximate=("gelu-tanh",))
    assert result.exact_verification is not None
    assert result.device["verification"]["proven"] is True


def test_command_line(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from fidelite.cli import cli

    model = tmp_path / "net.onnx"
    onnx.save(_convolutions(), model)
    words = ["convert", str(model), "--target", "micro", "--c-array", str(tmp_path / "net.cc"), "--json"]
    run = CliRunner().invoke(cli, words)
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["device"]["arena"]["smallest"] > 0
    assert (tmp_path / "net.h").exists()
