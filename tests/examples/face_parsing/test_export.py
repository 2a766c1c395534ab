"""Both exporters give models that ONNX Runtime computes as PyTorch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch: Any = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from fidelite.examples.face_parsing import export as exporting  # noqa: E402
from fidelite.examples.face_parsing.drawing import draw_face, normalise  # noqa: E402
from fidelite.runtime import OnnxSession  # noqa: E402

OUTPUTS = {"bisenet": ["output", "output16", "output32"], "small": ["output"]}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("network", ["bisenet", "small"])
def test_exported_models_compute_the_same(network: Any, exporter: Any, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    exporting.export(file, network=network, exporter=exporter, size=64)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert onnx.load(file).opset_import[0].version == 18
    picture = normalise(draw_face(11, 64)[0])
    with torch.no_grad():
        wanted = exporting.network_of(network)(torch.from_numpy(picture))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    with OnnxSession(file) as session:
        found = session.run({"input": picture})
    assert list(found) == OUTPUTS[network]
    for name, expected in zip(found, wanted, strict=True):
        scale = float(expected.abs().max())
        np.testing.assert_allclose(found[name], expected.numpy(), rtol=1e-4, atol=2e-5 * scale)


def test_command_line_with_external_data(tmp_path: Path) -> None:
    file = tmp_path / "small.onnx"
    exporting.main([str(file), "--network", "small", "--size", "64", "--external-data", "--opset", "20"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.onnx", "small.onnx.data"]
    assert file.stat().st_size < 100_000
    assert onnx.load(file, load_external_data=False).opset_import[0].version == 20
    with OnnxSession(file) as session:
        assert session.run({"input": np.zeros((1, 3, 64, 64), np.float32)})["output"].shape == (1, 19, 64, 64)
