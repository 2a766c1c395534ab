"""Whole networks: saved, proven in TensorFlow and after its own converter, loaded as anybody would load them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

import fidelite
from fidelite.errors import Mismatch, UnsupportedOp
from fidelite.examples import face_parsing
from fidelite.options import Normalization
from fidelite.saving import saved_model as saving
from fidelite.tflite.graph import Model
from fidelite.write.flatbuffer import write_model
from tests.cli.support import data as command
from tests.cli.support import segmenter
from tests.extras.tensorflow.support import in_litert, in_tensorflow
from tests.lower.test_control import IF, LOOP
from tests.optimize import classics
from tests.optimize.networks import NetworkMaker
from tests.tflite import graphs

MODEL = face_parsing.MODEL_PATH
LOADED = """
import json, sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
signature = model.signatures["serving_default"]
feeds = {name: tf.constant(np.full([2 if d is None else d for d in spec.shape], 0.5, spec.dtype.as_numpy_dtype))
         for name, spec in signature.structured_input_signature[1].items()}
with tf.GradientTape() as tape:
    results = signature(**feeds)
    loss = tf.add_n([tf.reduce_sum(tf.cast(r, tf.float32)) for r in results.values()])
variables = model.trainable_variables if hasattr(model, "trainable_variables") else model.weights
gradients = tape.gradient(loss, list(variables))
from tensorflow.core.protobuf import saved_model_pb2
proto = saved_model_pb2.SavedModel()
proto.ParseFromString(open(sys.argv[1] + "/saved_model.pb", "rb").read())
graph = proto.meta_graphs[0].graph_def
ops = {n.op for f in graph.library.function for n in f.node_def} | {n.op for n in graph.node}
print(json.dumps({
    "inputs": {k: v.shape.as_list() for k, v in signature.structured_input_signature[1].items()},
    "outputs": {k: v.shape.as_list() for k, v in signature.structured_outputs.items()},
    "signature": sorted(proto.meta_graphs[0].signature_def["serving_default"].inputs),
    "variables": len(variables), "trainable": all(v.trainable for v in variables),
    "gradients": sum(g is not None for g in gradients), "ops": sorted(ops)}))
"""


def loaded(folder: Path) -> Any:
    """What a program that knows nothing of fidelite finds in a SavedModel."""
    done = subprocess.run([sys.executable, "-c", LOADED, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def proven(model: Any, folder: Path, **options: Any) -> tuple[fidelite.Conversion, Any]:
    """Convert and save; both proofs must hold."""
    result = fidelite.convert(model, **options)
    made = result.save_saved_model(folder)
    assert made.verification is not None
    assert made.reconverted is not None, made.refused
    assert (made.verification.verdict, made.reconverted.verdict) == ("proven", "proven")
    return result, made


def parsed(text: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}')


def test_face_parsing_by_the_command(tmp_path: Path) -> None:
    """The shipped network (IR version 10, opset 18), from the command line to a program that only knows TensorFlow."""
    folder = tmp_path / "two words"
    told = command("convert", MODEL, "-o", tmp_path / "face.tflite", "--saved-model", folder)["saved_model"]
    assert told["verification"]["proven"]
    assert told["reconverted"]["proven"]
    assert not told["reconversion_refused"]
    found = loaded(folder)
    assert found["inputs"] == {"input": [1, 3, 512, 512]}
    assert found["outputs"] == {"output": [1, 19, 512, 512]}
    assert found["variables"] == told["variables"] > 50
    assert found["trainable"]
    assert found["gradients"] == found["variables"]
    assert "Conv2D" in found["ops"]
    assert not [op for op in found["ops"] if "PyFunc" in op or op.startswith(("Xla", "Flex", "TFLite"))]
    summary = json.loads((folder / "assets.extra" / "fidelite.json").read_text("utf-8"))
    assert summary["source"]["name"] == MODEL.name
    assert summary["saved_model"]["reconverted"]["proven"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["face.tflite", "two words"]


@pytest.mark.parametrize("make", [classics.residual, classics.squeeze_excite, classics.tokens, classics.concatenated,
                                  classics.classifier, classics.normalised], ids=lambda make: make.__name__)
def test_classics(make: Callable[[], tuple[Any, onnx.ModelProto]], tmp_path: Path) -> None:
    proven(make()[1], tmp_path / "saved")


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_precisions(precision: Any, tmp_path: Path) -> None:
    _, made = proven(segmenter(tmp_path), tmp_path / "saved", precision=precision)
    assert made.variables == 4


def test_edges(tmp_path: Path) -> None:
    """Layout, normalisation and argmax are in the graph that is saved."""
    edges = {"layout": {"input": "nhwc"}, "normalize": {"input": Normalization.imagenet()}, "argmax": "scores"}
    _, made = proven(segmenter(tmp_path), tmp_path / "saved", **edges)
    assert loaded(made.folder)["outputs"] == {"scores": [1, 32, 32]}


def test_dynamic_batch(tmp_path: Path) -> None:
    text = """g (float[N,3,H,W] x) => (float[N,6,P,Q] y, float[N,6] z) {
      w = RandomNormal<seed = 1.0, shape = [6, 3, 3, 3]>() c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)
      y = Relu(c) p = GlobalAveragePool(y) z = Flatten(p) }"""
    model = parsed(text)
    weights = np.random.default_rng(0).standard_normal((6, 3, 3, 3)).astype(np.float32)
    del model.graph.node[0]
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    _, made = proven(model, tmp_path / "saved")
    found = loaded_shapes(made.folder)
    assert found == {"x": [None, 3, None, None]}


def loaded_shapes(folder: Path) -> Mapping[str, Any]:
    script = ("import json, sys, tensorflow as tf\n"
              "s = tf.saved_model.load(sys.argv[1]).signatures['serving_default'].structured_input_signature[1]\n"
              "print(json.dumps({k: v.shape.as_list() for k, v in s.items()}))")
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_lstm(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    node = onnx.helper.make_node("LSTM", ["x", "w", "r"], ["y", "h", ""], hidden_size=5)
    initializers = [onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) * 0.4, name)
                    for name, shape in (("w", (1, 20, 4)), ("r", (1, 20, 5)))]
    infos = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
             for name, shape in (("x", (40, 2, 4)), ("y", (40, 1, 2, 5)), ("h", (1, 2, 5)))}
    graph = onnx.helper.make_graph([node], "g", [infos["x"]], [infos["y"], infos["h"]], initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    proven(model, tmp_path / "saved")


def test_control_flow(tmp_path: Path) -> None:
    result, _ = proven(parsed(IF), tmp_path / "if")
    assert "IF" in {o.op for o in result.model.main.operators}
    loop = f"""g (float[2,3] x, int64 n) => (float[2,3] y) {{
      yes = Constant<value = bool {{1}}>() y, all = Loop(n, yes, x)<body = {LOOP} {{
      after = Identity(going) half = Constant<value = float {{0.5}}>() w = Mul(v, half) s = Identity(w) }}> }}"""
    result, _ = proven(parsed(loop), tmp_path / "loop")
    assert "WHILE" in {o.op for o in result.model.main.operators}


def test_names_that_tensorflow_does_not_take(tmp_path: Path) -> None:
    model = onnx.load(segmenter(tmp_path))
    for value in [*model.graph.input, *model.graph.node]:
        if isinstance(value, onnx.ValueInfoProto):
            value.name = "self"
        else:
            value.input[:] = ["self" if name == "input" else name for name in value.input]
    _, made = proven(model, tmp_path / "saved")
    assert made.renamed == [("self", "self_")]
    assert loaded(made.folder)["signature"] == ["self_"]


def test_a_wrong_result_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    right = fidelite.convert(segmenter(tmp_path / "right"))
    wrong = fidelite.convert(segmenter(tmp_path / "wrong", activation="Tanh"))
    monkeypatch.setattr(saving, "write_model", lambda model, stream: write_model(wrong.model, stream))
    with pytest.raises(Mismatch) as caught:
        right.save_saved_model(tmp_path / "saved")
    assert "TensorFlow does not give what ONNX Runtime gives" in caught.value.reason
    assert sorted(p.name for p in tmp_path.iterdir()) == ["right", "wrong"]


def test_an_earlier_one_is_replaced(tmp_path: Path) -> None:
    proven(segmenter(tmp_path), tmp_path / "saved")
    proven(segmenter(tmp_path, classes=5), tmp_path / "saved")
    assert loaded(tmp_path / "saved")["outputs"]["scores"][1] == 5
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["saved"]


def test_int8_weights_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = parsed("g (float[2,64] x) => (float[2,64] y) { y = MatMul(x, w) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal((64, 64)).astype(np.float32), "w"))
    result = fidelite.convert(model, precision="dynamic-int8")
    with pytest.raises(UnsupportedOp) as caught:
        result.save_saved_model(tmp_path / "saved")
    assert caught.value.code == "F412"
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("op", ["RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"])
def test_random_numbers_are_spread_as_they_should(op: str) -> None:
    from fidelite.tflite.types import ElementType

    model: Model = graphs.build(lambda b, n: b.sized_at_run_time(
        b.emit(op, [n], [(ElementType.FLOAT32, (0, 0))], {"seed": 1, "seed2": 2})[0], [None, None]), (np.int32, (2,)))
    found, = in_tensorflow(model, [np.array([200, 300], np.int32)])
    assert found.shape == (200, 300)
    mean, deviation = (0.5, 12 ** -0.5) if op == "RANDOM_UNIFORM" else (0.0, 1.0)
    assert abs(found.mean() - mean) < 0.02
    assert abs(found.std() - deviation) < 0.02


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed: int) -> None:
    """Optimized graphs of all kinds, some with a dynamic batch: LiteRT's numbers."""
    maker = NetworkMaker(seed, dynamic=seed % 5 == 4)
    model = fidelite.convert(maker.model(3 + seed % 11), verify=False).model
    feeds = maker.feeds()
    arrays = [feeds[t.name] for t in model.main.inputs]
    for wanted, found in zip(in_litert(model, arrays), in_tensorflow(model, arrays), strict=True):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        scale = float(np.max(np.abs(wanted), initial=1e-6))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * scale)
