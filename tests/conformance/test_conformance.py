"""Tests of the runner itself, conformance.py."""
import json
import os
import subprocess
import sys
import textwrap

import flatbuffers
import ml_dtypes
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.conformance import conformance as c

HERE = os.path.dirname(os.path.abspath(c.__file__))
F32 = schema.TensorType.FLOAT32


def one_op(op, in_shape, out_shape, names=("x", "y"), dtype=F32):
    """A .tflite with one op without options."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = op, min(op, 127), 1
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    graph.tensors = []
    for name, shape in zip(names, (in_shape, out_shape)):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.buffer = name, dtype, list(shape), 0
        graph.tensors.append(tensor)
    node = schema.OperatorT()
    node.opcodeIndex, node.inputs, node.outputs = 0, [0], [1]
    graph.operators, graph.inputs, graph.outputs = [node], [0], [1]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def evaluate(tmp_path, content, x, y, names=("x", "y")):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    return c.evaluate(str(path), {
        "inputs": [names[0]], "outputs": [names[1]], "data_sets": [([x], [y])],
        "rtol": c.RTOL, "atol": c.ATOL, "resolver": "auto"})


X = np.random.default_rng(0).standard_normal((1, 2, 3, 4)).astype(np.float32)
RELU, NEG = schema.BuiltinOperator.RELU, schema.BuiltinOperator.NEG


def test_strict(tmp_path):
    row = evaluate(tmp_path, one_op(RELU, X.shape, X.shape), X, np.maximum(X, 0))
    assert row["status"] == "strict" and row["flags"] == []
    assert row["matched"] == "inputs by name, outputs by name"


def test_match_by_position(tmp_path):
    row = evaluate(tmp_path, one_op(RELU, X.shape, X.shape, ("a", "b")), X, np.maximum(X, 0))
    assert row["status"] == "strict"
    assert row["matched"] == "inputs by position, outputs by position"


def test_layout_change(tmp_path):
    last = (1, 3, 4, 2)
    row = evaluate(tmp_path, one_op(RELU, last, last), X, np.maximum(X, 0))
    assert row["status"] == "layout-change"


def test_dtype_and_shape_change(tmp_path):
    model = one_op(RELU, (1,), (1,))
    row = evaluate(tmp_path, model, np.array(2.0), np.array(2.0))
    assert row["status"] == "shape-change"
    assert row["flags"] == ["dtype-change", "shape-change"]


def test_wrong_values(tmp_path):
    row = evaluate(tmp_path, one_op(RELU, X.shape, X.shape), X, -X)
    assert (row["status"], row["wrong_kind"]) == ("wrong", "values")


def test_wrong_shape_and_interface(tmp_path):
    row = evaluate(tmp_path, one_op(RELU, X.shape, X.shape), X, X[:, :1])
    assert (row["status"], row["wrong_kind"]) == ("wrong", "shape")
    row = evaluate(tmp_path, one_op(RELU, (1, 9), (1, 9)), X, X)
    assert (row["status"], row["wrong_kind"]) == ("wrong", "interface")


def test_run_error(tmp_path):
    row = evaluate(tmp_path, b"no flatbuffer", X, X)
    assert row["status"] == "run-error"


def test_integers_are_exact_floats_are_not():
    assert not c._close(np.array([3]), np.array([4]), 1, 1)[0]
    assert c._close(np.array([1.0005], np.float32), np.array([1.0], np.float32), 1e-3, 0)[0]
    nan = np.array([np.nan, np.inf], np.float32)
    assert c._close(nan, nan, 1e-3, 0)[0]
    assert not c._close(np.array([0.0, 0.0], np.float32), nan, 1e-3, 0)[0]


def test_eight_bit_floats_compare_as_bytes():
    want = np.array([0.5, -1, 240], ml_dtypes.float8_e4m3fn)
    flags, _, _, _ = c._judge(want.view(np.int8), want, c.RTOL, c.ATOL)
    assert flags == {"dtype-change"}
    assert c._judge(np.zeros(3, np.int8), want, c.RTOL, c.ATOL)[0] is None
    assert np.array_equal(c._cast(want, np.int8), want.view(np.int8))


def test_cast_saturates():
    assert c._cast(np.array([2**62, -2**62]), np.int32).tolist() == [2**31 - 1, -2**31]


def test_suite_and_folding():
    cases = {case.name: case for case in c.load_suite()}
    assert len(cases) > 1500
    counts = {rule: 0 for rule, _, _ in c.EXCLUSIONS}
    for case in cases.values():
        rule = c.exclusion_of(case)
        if rule:
            counts[rule] += 1
    assert all(counts.values()), counts
    case = cases["test_reshape_negative_dim"]
    assert c.static_inputs(case) == ["shape"]
    folded = c.fold(case, ["shape"])
    assert [v.name for v in folded.model.graph.input] == ["data"]
    assert [t.name for t in folded.model.graph.initializer] == ["shape"]
    assert len(folded.data_sets[0][0]) == 1
    assert c.static_inputs(cases["test_relu"]) == []
    assert cases["test_relu_expanded_ver18"].base is cases["test_relu"]


ADAPTER = """
    import os, shutil, sys, time
    def convert(onnx_path, tflite_path):
        print("a converter may print")
        how = os.environ["HOW"]
        if how == "raise": raise ValueError("no such op")
        if how == "exit": sys.exit("bye")
        if how == "die": os._exit(9)
        if how == "abort": os.abort()
        if how == "hang": time.sleep(60)
        if how == "nothing": return
        shutil.copy(how, tflite_path)
"""


def relu_suite(tmp_path):
    """A suite folder with test_relu alone; to load the whole suite takes seconds."""
    folder = tmp_path / "suite" / "node" / "test_relu"
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    x = np.random.default_rng(1).standard_normal((3, 4, 5)).astype(np.float32)
    infos = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, x.shape)
             for n in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)],
                                     ir_version=8), folder / "model.onnx")
    for name, array in (("input_0", x), ("output_0", np.maximum(x, 0))):
        (data / f"{name}.pb").write_bytes(
            onnx.numpy_helper.from_array(array).SerializeToString())
    return tmp_path / "suite"


@pytest.mark.parametrize("how, status, stage", [
    ("raise", "convert-error", "convert"), ("exit", "convert-error", "convert"),
    ("die", "crash", "convert"), ("abort", "crash", "convert"),
    ("hang", "timeout", "convert"), ("nothing", "convert-error", "convert"),
    ("model", "strict", "run"), ("junk", "run-error", "run")])
@pytest.mark.parametrize("template", [False, True])
def test_end_to_end(tmp_path, how, status, stage, template):
    adapter = tmp_path / "adapter.py"
    adapter.write_text(textwrap.dedent(ADAPTER) + textwrap.dedent("""
        if __name__ == "__main__":
            convert(*sys.argv[1:3])
    """))
    if how in ("model", "junk"):
        path = tmp_path / "given.tflite"
        path.write_bytes(one_op(RELU, (3, 4, 5), (3, 4, 5)) if how == "model" else b"junk")
        how = str(path)
    if how == "die" and template:
        status = "convert-error"   # of a command, a plain exit code is an error
    chosen = (["--command", f"{sys.executable} {adapter} {{onnx}} {{tflite}}"] if template
              else ["--converter", f"{adapter}:convert"])
    out = tmp_path / "result.json"
    subprocess.run(
        [sys.executable, os.path.join(HERE, "conformance.py"), "run", *chosen, "--out",
         str(out), "--suite", str(relu_suite(tmp_path)), "--timeout", "5", "--jobs", "1"],
        check=True, env={**os.environ, "HOW": how}, capture_output=True)
    rows = json.loads(out.read_text())["rows"]
    assert [r["mode"] for r in rows] == ["as-is", "folded"]
    assert all((r["status"], r["stage"]) == (status, stage) for r in rows), rows
    assert rows[1]["same_as"] == "as-is"
    assert str(tmp_path) not in json.dumps([r for r in rows if r["stage"] == "convert"]) \
        or template
