"""LiteRT in its worker: names, order, resizing, and deaths that take nothing with them."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fidelite.errors import BadSample, RuntimeCrash
from fidelite.runtime import LiteRtSession, Worker
from tests.runtime import tiny

X = np.array([[-1.0, 0.0, 1.0, 2.0]], np.float32)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(timeout=60) as one:
        yield one


def test_runs_a_file_whose_path_is_not_ascii(tmp_path: Path) -> None:
    path = tmp_path / "modèle ü.tflite"
    path.write_bytes(tiny.add_model(2.0))
    with LiteRtSession(path, timeout=60) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], np.maximum(X, 0) + 2)
        assert session.load_seconds > 0


def test_names_come_from_the_signature_and_order_from_the_graph(worker: Worker) -> None:
    tensors = [tiny.T("a", (2,)), tiny.T("b", (2,)), tiny.T("sum", (2,)), tiny.T("difference", (2,))]
    ops = [
        tiny.Op("ADD", [0, 1], [2], tiny.schema.AddOptionsT()),
        tiny.Op("SUB", [0, 1], [3], tiny.schema.SubOptionsT()),
    ]
    names = ({"self": 1, "zebra": 0}, {"z": 2, "a": 3})
    with LiteRtSession(tiny.tflite(tensors, ops, [1, 0], [2, 3], names), worker=worker) as session:
        assert [p.name for p in session.inputs] == ["self", "zebra"]
        assert [p.name for p in session.outputs] == ["z", "a"]
        feeds = {"self": np.array([1, 2], np.float32), "zebra": np.array([5, 5], np.float32)}
        assert list(session.run(feeds)) == ["z", "a"]
        found = session.run(feeds, ["a"])
        assert list(found) == ["a"]
        np.testing.assert_array_equal(found["a"], [4, 3])


def test_without_signature_the_tensors_names_serve_and_are_made_unique(worker: Worker) -> None:
    tensors = [tiny.T("x", (2,)), tiny.T("y", (2,))]
    with LiteRtSession(tiny.tflite(tensors, [tiny.Op("ABS", [0], [1])], [0], [1, 1]), worker=worker) as session:
        assert [p.name for p in session.outputs] == ["y", "y:1"]


def test_scalars_stay_scalars(worker: Worker) -> None:
    tensors = [tiny.T("x", ()), tiny.T("y", ())]
    model = tiny.tflite(tensors, [tiny.Op("ABS", [0], [1])], [0], [1])
    with LiteRtSession(model, worker=worker) as session:
        found = session.run({"x": np.array(-2, np.float32)})["y"]
    assert found.shape == ()
    assert found == 2


def test_resizes_to_the_feeds_and_back(worker: Worker) -> None:
    with LiteRtSession(tiny.add_model(shape=(-1, 4)), worker=worker) as session:
        assert session.inputs[0].shape == (None, 4)
        for rows in (3, 1, 3, 0, 2):
            x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
            np.testing.assert_array_equal(session.run({"x": x})["y"], x + 1)


def test_takes_strided_arrays(worker: Worker) -> None:
    with LiteRtSession(tiny.add_model(), worker=worker) as session:
        np.testing.assert_array_equal(session.run({"x": X[:, ::-1]})["y"], np.maximum(X[:, ::-1], 0) + 1)


def test_feeds_that_do_not_fit_are_refused_by_name(worker: Worker) -> None:
    with LiteRtSession(tiny.add_model(), worker=worker) as session:
        with pytest.raises(BadSample, match=r"inputs are 'x', but what was given is 'z'"):
            session.run({"z": X})
        with pytest.raises(BadSample, match="is float32, but the array given is float64"):
            session.run({"x": X.astype(np.float64)})
        with pytest.raises(BadSample, match=r"wants x: float32\[1, 4\]"):
            session.run({"x": X[:, :3]})
        with pytest.raises(BadSample, match="no output 'q'"):
            session.run({"x": X}, ["q"])


def test_inner_tensors_by_name_and_index(worker: Worker) -> None:
    with LiteRtSession(tiny.add_model(), preserve_all=True, worker=worker) as session:
        session.run({"x": X})
        inner, out = session.tensors(["inner", 3])
        np.testing.assert_array_equal(inner, np.maximum(X, 0))
        np.testing.assert_array_equal(out, np.maximum(X, 0) + 1)
        assert {t.name for t in session.details()} >= {"t_in", "inner", "t_out"}
        with pytest.raises(RuntimeCrash, match="no tensor called 'nope'"):
            session.tensors(["nope"])
    with (
        LiteRtSession(tiny.add_model(), worker=worker) as session,
        pytest.raises(RuntimeCrash, match="preserve_all"),
    ):
        session.tensors(["inner"])


def test_says_what_xnnpack_took(worker: Worker) -> None:
    tensors = [tiny.T("x", (1, 4)), tiny.T("a", (1, 4)), tiny.T("y", (1, 4))]
    ops = [tiny.Op("RELU", [0], [1]), tiny.Op("POW", [1, 1], [2], tiny.schema.PowOptionsT())]
    model = tiny.tflite(tensors, ops, [0], [2])
    with LiteRtSession(model, worker=worker) as session:
        found = session.delegated()
    assert (found.taken, found.total) == (1, 2)
    assert found.ops == (("RELU", True), ("POW", False))
    assert found.to_json()["per_op"] == {"RELU": [1, 1], "POW": [0, 1]}
    with LiteRtSession(model, xnnpack=False, worker=worker) as session:
        assert session.delegated().taken == 0


def test_state_lives_on_between_runs(worker: Worker) -> None:
    x = np.ones((1, 4, 2), np.float32)
    with LiteRtSession(tiny.lstm_model(), worker=worker) as session:
        assert not np.array_equal(session.run({"x": x})["y"], session.run({"x": x})["y"])


def test_abort_while_loading_is_a_crash_and_the_worker_starts_anew() -> None:
    with Worker(timeout=60) as worker:
        healthy = LiteRtSession(tiny.add_model(), worker=worker)
        with pytest.raises(RuntimeCrash, match=r"LiteRT died .* while loading the model") as caught:
            LiteRtSession(tiny.raw_int8_model(), worker=worker)
        assert caught.value.details["how"] == "died"
        with pytest.raises(RuntimeCrash, match="had ended before"):
            healthy.run({"x": X})
        healthy.close()
        with LiteRtSession(tiny.add_model(), worker=worker) as again:
            assert again.run({"x": X})["y"].shape == (1, 4)


def test_segfault_while_running_is_a_crash() -> None:
    with LiteRtSession(tiny.depthwise_without_bias(), timeout=60) as session:
        x = np.ones((1, 8, 8, 4), np.float32)
        with pytest.raises(RuntimeCrash, match=r"LiteRT died .* while running the model") as caught:
            session.run({"x": x})
        if sys.platform == "linux":
            assert "SIGSEGV" in caught.value.reason
        with pytest.raises(RuntimeCrash, match="had ended before"):
            session.run({"x": x})


def test_a_graph_without_end_is_stopped() -> None:
    with Worker(timeout=60) as worker, LiteRtSession(tiny.while_model(), worker=worker) as session:
        worker.timeout = 0.2
        with pytest.raises(RuntimeCrash, match=r"stopped after 0\.2 seconds of running") as caught:
            session.run({"x": np.ones(1, np.float32)})
        assert caught.value.details["how"] == "timeout"


def test_refusals_quote_litert_and_leave_the_worker_alive(worker: Worker, tmp_path: Path) -> None:
    generation = worker.generation
    with pytest.raises(RuntimeCrash, match=r"refused when loading the model: .*Flatbuffer") as caught:
        LiteRtSession(b"no model", worker=worker)
    assert caught.value.details["how"] == "refused"
    with pytest.raises(RuntimeCrash, match=r"'none\.tflite'"):
        LiteRtSession(tmp_path / "none.tflite", worker=worker)
    assert worker.generation == max(generation, 1)


def test_the_temporary_file_goes(worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with LiteRtSession(tiny.add_model(), worker=worker):
        assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(RuntimeCrash):
        LiteRtSession(b"no model", worker=worker)
    assert not list(tmp_path.iterdir())


def test_forgotten_sessions_are_freed_with_the_next_request(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    session = LiteRtSession(tiny.add_model(), worker=worker)
    del session
    gc.collect()
    assert sys.platform == "win32" or not list(tmp_path.iterdir())
    with LiteRtSession(tiny.add_model(), worker=worker) as other:
        assert other.run({"x": X})["y"].shape == (1, 4)


def test_types_that_the_binding_cannot_show_are_refused_with_a_reason(worker: Worker) -> None:
    kind = tiny.schema.TensorType.BFLOAT16
    tensors = [tiny.T("x", (2,), kind), tiny.T("s", (1,), tiny.INT32, np.array([2], np.int32))]
    model = tiny.tflite([*tensors, tiny.T("y", (2,), kind)], [tiny.Op("RESHAPE", [0, 1], [2])], [0], [2])
    with pytest.raises(RuntimeCrash, match="bfloat16 among them"):
        LiteRtSession(model, worker=worker)


def test_what_a_runtime_prints_stays_out_of_the_protocol() -> None:
    code = (
        "import os\n"
        "from fidelite.runtime import worker\n"
        "source, sink = worker._streams()\n"
        "os.write(1, b'native noise'); print('noise')\n"
        "sink.write(source.read()); sink.flush()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], input=b"\r\n\x1a\x00", capture_output=True, check=True)
    assert run.stdout == b"\r\n\x1a\x00"
    assert b"native noise" in run.stderr


def test_importing_the_package_loads_no_runtime() -> None:
    code = (
        "import sys, fidelite.runtime, fidelite.errors;"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'ai_edge_litert', 'subprocess'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
