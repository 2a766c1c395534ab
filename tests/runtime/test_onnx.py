"""ONNX Runtime and the reference evaluator behind the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fidelite.errors import BadSample, RuntimeCrash
from fidelite.runtime import OnnxSession, ReferenceSession
from tests.runtime import tiny

X = np.array([[-1.0, 0.0, 1.0, 2.0]], np.float32)


@pytest.mark.parametrize("kind", [OnnxSession, ReferenceSession])
def test_runs_and_exposes_inner_values(kind: Any) -> None:
    with kind(tiny.onnx_add(), extra_outputs=["inner", "y"]) as session:
        assert [str(p) for p in session.inputs] == ["x: float32[n, 4]"]
        assert [p.name for p in session.outputs] == ["y", "inner"]
        found = session.run({"x": X})
        np.testing.assert_array_equal(found["y"], np.maximum(X, 0) + 1)
        np.testing.assert_array_equal(found["inner"], np.maximum(X, 0))
        assert list(session.run({"x": X}, ["inner"])) == ["inner"]
        with pytest.raises(BadSample):
            session.run({"x": X.astype(np.float16)})


def test_scalars_and_nothing_keep_their_shape() -> None:
    for shape in ((), (0, 3), (1,)):
        model = tiny.onnx_model(
            [helper.make_node("Neg", ["x"], ["y"])],
            [("x", TensorProto.FLOAT, shape)],
            [("y", TensorProto.FLOAT, shape)],
        )
        with OnnxSession(model.SerializeToString()) as session:
            assert session.run({"x": np.ones(shape, np.float32)})["y"].shape == shape


def test_results_outlive_the_session() -> None:
    with OnnxSession(tiny.onnx_add()) as session:
        found = [session.run({"x": X + i})["y"] for i in range(20)]
    with pytest.raises(RuntimeCrash, match="closed"):
        session.run({"x": X})
    for i, y in enumerate(found):
        np.testing.assert_array_equal(y, np.maximum(X + np.float32(i), 0) + 1)


def test_unoptimised_runs_give_the_same() -> None:
    with OnnxSession(tiny.onnx_add(), optimize=False) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], np.maximum(X, 0) + 1)


def _with_external_data(folder: Path) -> Path:
    weights = np.arange(16, dtype=np.float32).reshape(4, 4)
    model = tiny.onnx_model(
        [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("y", TensorProto.FLOAT, ["n", 4])],
        {"w": weights},
    )
    path = folder / "model.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.data", size_threshold=0)
    return path


@pytest.mark.parametrize("extra", [(), ("a",)])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_external_data_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: tuple[str, ...], as_bytes: bool
) -> None:
    path = _with_external_data(tmp_path)
    model = path.read_bytes() if as_bytes else path
    other = tmp_path / "elsewhere"
    other.mkdir()
    monkeypatch.chdir(other)
    with OnnxSession(model, extra_outputs=extra, folder=tmp_path if as_bytes else None) as session:
        assert [p.name for p in session.outputs] == ["y", *extra]
        assert session.run({"x": X})["y"][0, 3] == 3 * -1 + 11 + 2 * 15


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float16", "float64", "int64", "bool", "uint8"])
def test_element_types(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    model = tiny.onnx_model(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", kind, [2, 2])], [("y", kind, [2, 2])], opset=21
    )
    x = np.array([[0, 1], [2, 3]]).astype(dtype)
    with OnnxSession(model.SerializeToString()) as session:
        assert session.inputs[0].dtype == name
        found = session.run({"x": x})["y"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.astype(np.float64), x.astype(np.float64))


def test_failures_quote_the_runtime_cleanly(tmp_path: Path) -> None:
    with pytest.raises(RuntimeCrash, match=r"cannot load 'none\.onnx'"):
        OnnxSession(tmp_path / "none.onnx")
    with pytest.raises(RuntimeCrash, match="cannot load the model: INVALID_PROTOBUF"):
        OnnxSession(b"\xff\xff")
    with pytest.raises(RuntimeCrash, match=r"cannot load 'none\.onnx'"):
        OnnxSession(tmp_path / "none.onnx", extra_outputs=["a"])
    with pytest.raises(RuntimeCrash, match="cannot load the model"):
        OnnxSession(b"\xff\xff", extra_outputs=["a"])
    path = _with_external_data(tmp_path)
    (tmp_path / "weights.data").unlink()
    with pytest.raises(RuntimeCrash, match=r"weights\.data"):
        OnnxSession(path)
    with pytest.raises(RuntimeCrash, match="nothing_of_that_name"):
        OnnxSession(tiny.onnx_add(), extra_outputs=["nothing_of_that_name"])


def test_failures_while_running(capfd: pytest.CaptureFixture[str]) -> None:
    model = tiny.onnx_model(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [("x", TensorProto.FLOAT, [1, 4]), ("s", TensorProto.INT64, [1])],
        [("y", TensorProto.FLOAT, ["m"])],
    ).SerializeToString()
    feeds = {"x": X, "s": np.array([3], np.int64)}
    with OnnxSession(model) as session, pytest.raises(RuntimeCrash, match="cannot run the model") as caught:
        session.run(feeds)
    assert "onnxruntime_src" not in caught.value.reason
    with ReferenceSession(model) as other, pytest.raises(RuntimeCrash, match="cannot run the model"):
        other.run(feeds)
    assert capfd.readouterr() == ("", "")


def test_sequences_are_refused() -> None:
    sequence = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [sequence],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with OnnxSession(model.SerializeToString()) as session, pytest.raises(RuntimeCrash, match="only tensors"):
        session.run({"x": X})


def test_the_reference_evaluator_names_what_it_cannot_load() -> None:
    with pytest.raises(RuntimeCrash, match="cannot load"):
        ReferenceSession(b"\xff\xff")


@pytest.mark.parametrize("dtype", ["int4", "uint4"])
def test_packed_integers(dtype: str) -> None:
    """ONNX Runtime holds two to a byte, numpy one."""
    small = np.dtype(getattr(ml_dtypes, dtype))
    x = (np.arange(15).reshape(3, 5) - (8 if dtype == "int4" else 0)).astype(np.int8)
    for source, target, fed in ((TensorProto.INT8, helper.np_dtype_to_tensor_dtype(small), x),
                                (helper.np_dtype_to_tensor_dtype(small), TensorProto.INT8, x.astype(small))):
        model = tiny.onnx_model([helper.make_node("Cast", ["x"], ["y"], to=target)], [("x", source, (3, 5))],
                                [("y", target, (3, 5))], opset=21)
        with OnnxSession(model.SerializeToString()) as session:
            found = session.run({"x": fed})["y"]
        assert found.dtype == helper.tensor_dtype_to_np_dtype(target)
        np.testing.assert_array_equal(found.astype(np.int8), x)
