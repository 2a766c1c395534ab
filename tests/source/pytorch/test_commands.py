"""The commands of docs/from-pytorch.md, from its first line to its last, in a folder with what the page assumes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

torch: Any = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from fidelite.examples.face_parsing import MODEL_PATH  # noqa: E402
from fidelite.examples.face_parsing.bisenet import bisenet  # noqa: E402
from fidelite.examples.face_parsing.drawing import draw_face  # noqa: E402
from fidelite.examples.face_parsing.small import trained  # noqa: E402
from fidelite.runtime import OnnxSession  # noqa: E402
from tests.cli.support import data, fidelite  # noqa: E402
from tests.cli.test_convert import wrong_relu  # noqa: E402, F401  # pyright: ignore[reportUnusedImport]
from tests.docs.blocks import blocks  # noqa: E402
from tests.house import ROOT  # noqa: E402
from tests.source.pytorch import nets  # noqa: E402

PAGE = ROOT / "docs" / "from-pytorch.md"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(bisenet(seed=1).state_dict(), "79999_iter.pth")
    Image.fromarray(draw_face(7, 256)[0]).save("face.png")
    (module,) = blocks(PAGE, "python")
    Path("my_network.py").write_text(module.text, "utf-8")
    names: dict[str, Any] = {}
    exec(compile(module.text, "my_network.py", "exec"), names)
    torch.save({"model": names["Segmenter"]().state_dict()}, "weights.pth")
    lines = [shlex.split(line) for block in blocks(PAGE, "sh") for line in block.text.splitlines() if line.strip()]
    assert {words[1] for words in lines} == {"convert", "export", "run"}
    for words in lines:
        fidelite(*words[1:])
    assert [d.dim_param or d.dim_value for d in onnx.load("segmenter.onnx").graph.input[0].type.tensor_type.shape.dim] \
        == ["N", 3, "H", "W"]
    assert Path("face.compare.png").stat().st_size > 10_000


def test_export_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    word = f"{nets.__name__}:Pyramid"
    monkeypatch.syspath_prepend(str(ROOT))
    shown = fidelite("export", word, "--shape", "picture=1,3,16,16", "--output-names", "scores").output
    assert "ONNX Runtime gives what PyTorch gives" in shown
    assert onnx.load("Pyramid.onnx").graph.output[0].name == "scores"
    found = data("export", word, "--shape", "picture=1,3,16,16", "-o", "out.onnx", "--external-data", "--opset", "13")
    assert (found["exporter"], found["opset"], found["data_file"]) == ("torchscript", 13, "out.onnx.data")
    assert Path("out.onnx.data").exists()
    assert found["verification"]["proven"]
    errors = data("export", word, "--shape", "picture=1,3,16,16", "-o", "none/out.onnx", code=2)["errors"]
    assert errors[0]["code"] == "F212"


def test_convert_command_has_three_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    words = ("convert", f"{nets.__name__}:Pyramid", "--shape", "picture=1,3,16,16")
    shown = fidelite(*words, "--report", "report.html").output
    assert "ONNX Runtime and LiteRT give what PyTorch gives" in shown
    assert "ONNX: max error" in shown
    assert "LiteRT: max error" in shown
    assert "benchmark" not in shown
    assert "ONNX: max error" in Path("report.html").read_text("utf-8")
    assert Path("Pyramid.tflite").exists()
    found = data(*words)
    assert found["source"]["pytorch"]["exporter"] == "dynamo"
    assert found["verification"]["exported"]["verdict"] == "proven"
    shown = fidelite("convert", f"{nets.__name__}:Branching", "--shape", "x=2,3", code=3).output
    assert "F366" in shown
    assert json.loads(fidelite("convert", f"{nets.__name__}:Branching", "--shape", "x=2,3", "--json", code=3).stdout)


def test_a_fault_of_ours_says_how_to_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_relu: None  # noqa: F811
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    word = f"{nets.__name__}:Cnn"
    (error,) = data("convert", word, "--shape", "image=1,3,16,16", code=5)["errors"]
    assert error["code"] == "F510"
    assert "PyTorch" in error["reason"]
    assert error["remedy"].startswith(f"fidelite export {word} -o model.onnx")
    fidelite("export", word, "--shape", "image=1,3,16,16", "-o", "model.onnx")
    shown = fidelite("verify", "model.onnx", "Cnn.failed.tflite", "--bisect", code=5).output
    assert "relu" in shown


def test_the_trained_network_in_pytorch_is_that_of_the_file() -> None:
    picture = np.random.default_rng(0).standard_normal((1, 3, 128, 128)).astype(np.float32)
    with torch.no_grad():
        wanted = trained().half_size_logits(torch.nn.functional.avg_pool2d(torch.from_numpy(picture), 2)).numpy()
    assert wanted.shape == (1, 19, 32, 32)
    full = np.zeros((1, 3, 512, 512), np.float32)
    with torch.no_grad(), OnnxSession(MODEL_PATH) as session:
        full[0, :, :128, :128] = picture[0]
        found = session.run({"input": full})["output"]
        np.testing.assert_allclose(trained()(torch.from_numpy(full)).numpy(), found, rtol=1e-3, atol=1e-3)
