"""Nearly two gigabytes of weights, from a sparse file, with memory for a few of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

WIDTH, LAYERS = 5700, 15
EACH = WIDTH * WIDTH * 4
CAP = 1 << 30
"""Bytes that the conversion may hold privately: a float32 weight has 130 MB."""

SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[3]),) * 2)
import fidelite
fidelite.convert(sys.argv[1], verify=False).save(sys.argv[2])
"""


def sparse_model(folder: Path) -> Path:
    weights: list[onnx.TensorProto] = []
    for i in range(LAYERS):
        tensor = onnx.TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "net.data"), ("offset", str(i * EACH)), ("length", str(EACH))):
            tensor.external_data.add(key=key, value=value)
        weights.append(tensor)
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"n{i}") for i in range(LAYERS)]
    ports = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, WIDTH])] for n in ("x0", f"x{LAYERS}")]
    graph = helper.make_graph(nodes, "large", ports[0], ports[1], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with (folder / "net.data").open("wb") as stream:
        stream.truncate(LAYERS * EACH)
        for i in range(LAYERS):  # one row is not zero, so that the weights differ
            stream.seek(i * EACH)
            stream.write(bytes([0, 0, 128, 63 + i % 2]) * 8)
    return path


@pytest.mark.large
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings only on Linux")
def test_weights_are_streamed(tmp_path: Path) -> None:
    source, result = sparse_model(tmp_path), tmp_path / "net.tflite"
    assert LAYERS * EACH > 1.9e9
    subprocess.run([sys.executable, "-c", SCRIPT, str(source), str(result), str(CAP)], check=True, timeout=280)
    assert result.stat().st_size > LAYERS * EACH
    from fidelite.source.tflite_file import read_tflite

    weights = [o.inputs[1] for o in read_tflite(result).main.operators]
    assert len(weights) == LAYERS
    for weight in weights:
        assert weight is not None
        assert weight.constant is not None
        assert weight.constant.numpy()[:8, 0].tolist() != [0.0] * 8
