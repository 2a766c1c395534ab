"""The pipeline: what is proven, what is published, and what the user's own script sees."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import fidelite
from fidelite import pipeline
from fidelite.errors import OutputError
from fidelite.files import publish
from fidelite.manifest import MANIFEST, VALUES, read_manifest
from fidelite.options import ConvertOptions, Precision
from fidelite.source.tflite_file import read_tflite
from tests.lower.support import run_onnx
from tests.optimize.classics import Net, residual, squeeze_excite

SCRIPT = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
x = np.load(sys.argv[2])
interpreter.set_tensor(interpreter.get_input_details()[0]['index'], x)
interpreter.invoke()
output = interpreter.get_output_details()[0]
np.save(sys.argv[3], interpreter.get_tensor(output['index']))
"""


def wide() -> tuple[Net, onnx.ModelProto]:
    """Enough weights to be stored smaller."""
    n = Net((1, 8, 8, 8))
    x = n.add("Relu", n.conv("x", 8, 32))
    x = n.add("GlobalAveragePool", n.add("Relu", n.conv(x, 32, 32)))
    return n, n.model(n.add("Gemm", n.add("Flatten", x), n.w(40, 32), n.w(40), transB=1))


def test_stages_and_progress() -> None:
    told: list[tuple[str, float]] = []
    _, model = residual()
    result = fidelite.convert(model, on_progress=lambda stage, done: told.append((stage, done)))
    stages = list(dict.fromkeys(stage for stage, _ in told))
    assert stages == ["read", "prepare", "lower", "optimize", "verify"]
    assert all(0.0 <= done <= 1.0 for _, done in told)
    assert {stage for stage, done in told if done == 1.0} == set(stages)
    assert set(result.seconds) == set(stages)
    assert result.verification is not None
    assert result.verification.proven
    assert result.log is not None
    assert result.log.changes


@pytest.mark.parametrize("precision", ["float16", "dynamic-int8"])
def test_smaller_files_are_proven_in_two_steps(precision: Precision) -> None:
    _, model = wide()
    full = fidelite.convert(model)
    small = fidelite.convert(model, precision=precision)
    assert full.float_verification is None
    assert small.float_verification is not None
    assert small.float_verification.proven
    assert small.verification is not None
    assert small.verification.proven
    assert len(small.bytes) < len(full.bytes) * (0.62 if precision == "float16" else 0.45)
    proof = small.manifest["proof"]
    assert set(proof) == {"file", "float"}
    assert small.model.main.inputs[0].element is full.model.main.inputs[0].element


def test_without_a_proof_the_manifest_says_so() -> None:
    _, model = residual()
    assert fidelite.convert(model, verify=False).manifest["proof"] == {"verdict": "not verified"}


def test_the_same_bytes_twice_and_a_manifest_within(tmp_path: Path) -> None:
    _, model = squeeze_excite()
    source = tmp_path / "net.onnx"
    onnx.save(model, source)
    contents: list[bytes] = []
    for name in ("a.tflite", "b.tflite"):
        result = fidelite.convert(source)
        assert result.save(tmp_path / name) == tmp_path / name
        contents.append((tmp_path / name).read_bytes())
        assert result.bytes == contents[-1]
    assert contents[0] == contents[1]
    read = read_tflite(tmp_path / "a.tflite")
    assert {MANIFEST, VALUES} <= set(read.metadata)
    manifest = read_manifest(read)
    assert manifest is not None
    assert manifest["source"]["name"] == "net.onnx"
    assert len(manifest["source"]["sha256"]) == 64
    assert manifest["fidelite"] == fidelite.__version__
    assert str(tmp_path) not in json.dumps(manifest)
    assert fidelite.verify(source, tmp_path / "a.tflite").proven


def test_the_user_s_own_script(tmp_path: Path) -> None:
    net, model = residual()
    (tmp_path / "script.py").write_text(SCRIPT, "utf-8")
    fidelite.convert(model).save(tmp_path / "model.tflite")
    np.save(tmp_path / "x.npy", net.feeds()["x"])
    names = [str(tmp_path / n) for n in ("script.py", "model.tflite", "x.npy", "y.npy")]
    subprocess.run([sys.executable, *names], check=True, capture_output=True, timeout=120)
    (want,) = run_onnx(model, net.feeds()).values()
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want, atol=1e-4)


# -- publishing

def test_publish(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with publish(target) as temporary:
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
        assert temporary.parent == tmp_path
    assert target.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["out.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_published_files_have_the_usual_permissions(tmp_path: Path) -> None:
    with publish(tmp_path / "out.bin") as temporary:
        temporary.write_bytes(b"new")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "out.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("ours"), OSError(errno.ENOSPC, "No space left")])
def test_a_failing_write_leaves_nothing_behind(error: BaseException, tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    expected = OutputError if isinstance(error, OSError) else type(error)

    def fail() -> None:
        with publish(target) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(expected) as caught:
        fail()
    if isinstance(caught.value, OutputError):
        assert caught.value.code == "F214"
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.bin"]


@pytest.mark.parametrize(("number", "code"), [
    (errno.EACCES, "F213"), (errno.EROFS, "F213"), (errno.ENOSPC, "F214"), (errno.EIO, "F215")])
def test_faults_of_the_system(number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(OutputError) as caught, publish(tmp_path / "out.bin"):
        pass
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    result = fidelite.convert(residual()[1], verify=False)
    for target, code in ((tmp_path, "F211"), (tmp_path / "none" / "out.tflite", "F212")):
        with pytest.raises(OutputError) as caught:
            result.save(target)
        assert caught.value.code == code
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError) as caught:
            fidelite.convert(residual()[1], verify=False).save(tmp_path / "out.tflite")
    finally:
        tmp_path.chmod(0o700)
    assert caught.value.code == "F213"


def test_a_write_that_fails_half_way_keeps_the_user_s_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.tflite"
    target.write_bytes(b"the user's")
    result = fidelite.convert(residual()[1], verify=False)

    def full(model: object, stream: Any) -> int:
        stream.write(b"TFL3")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fidelite.write.flatbuffer.write_model", full)
    with pytest.raises(OutputError) as caught:
        result.save(target)
    assert caught.value.code == "F214"
    assert target.read_bytes() == b"the user's"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tflite"]


def test_the_source_may_be_the_folder_s_only_file(tmp_path: Path) -> None:
    """Nothing but the result is written, not even beside the source."""
    source = tmp_path / "net.onnx"
    onnx.save(residual()[1], source)
    before = source.read_bytes()
    pipeline.convert(source, ConvertOptions()).save(tmp_path / "net.tflite")
    assert source.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "net.tflite"]
