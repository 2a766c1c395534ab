"""The Python that the documentation shows runs, from top to bottom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image

import fidelite
from fidelite.lower import families
from fidelite.lower.registry import REGISTRY
from fidelite.options import ConvertOptions, ExportOptions
from tests.docs.blocks import blocks
from tests.house import ROOT
from tests.source.models import graph_model, info, save, tensor

PAGE = ROOT / "docs" / "python.md"
HAS_PAGE = (ROOT / "src" / "fidelite" / "web" / "vendor").is_dir()
"""Whether LiteRT.js was fetched (`python scripts/fetch_web.py`), which `fidelite serve` asks for."""


def segmentation_network(path: Path, size: int = 64) -> Path:
    """`input` [1, 3, size, size] to `output` [1, 19, size, size]."""
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "v"], ["output"], name="head"),
    ]
    weights = [tensor("w", 16, 3, 3, 3), tensor("b", 16), tensor("v", 19, 16, 1, 1)]
    shapes = [info("input", [1, 3, size, size])], [info("output", [1, 19, size, size])]
    return save(graph_model(nodes, *shapes, weights), path)


def picture(path: Path) -> Path:
    gradient = np.linspace(0, 255, 80 * 60 * 3).reshape(60, 80, 3).astype(np.uint8)
    Image.fromarray(gradient).save(path)
    return path


def _own_operator(path: Path) -> None:
    node = helper.make_node("HardTanh", ["x"], ["y"], domain="my.domain", name="own", low=-0.5)
    model = graph_model([node], [info("x", [1, 5])], [info("y", [1, 5])])
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    save(model, path)


def test_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    families.load()  # what is imported meanwhile would register in the copy only
    monkeypatch.setattr(REGISTRY, "_rows", dict(REGISTRY._rows))  # pyright: ignore[reportPrivateUsage]
    segmentation_network(Path("model.onnx"))
    picture(Path("face.jpg"))
    _own_operator(Path("own_operator.onnx"))
    names: dict[str, Any] = {}
    found = blocks(PAGE, "python")
    assert found
    for block in found:
        if "fidelite.serve(" in block.text and not HAS_PAGE:
            continue  # `make test-extra-web` has it
        code = compile("\n" * (block.line - 1) + block.text, PAGE.name, "exec")
        exec(code, names)
    with fidelite.Runner(names["own"].save("own.tflite")) as runner:
        run = runner.run_arrays({"x": np.array([[-2.0, -0.2, 0.0, 0.2, 2.0]], np.float32)})
    np.testing.assert_allclose(run.outputs["y"], [[-0.5, -0.2, 0.0, 0.2, 1.0]])


def test_every_option_is_named() -> None:
    text = PAGE.read_text("utf-8")
    missing = [name for name in (*ConvertOptions.__dataclass_fields__, *ExportOptions.__dataclass_fields__)
               if name != "export" and f"`{name}`" not in text]
    assert not missing


def test_public_functions_are_named() -> None:
    text = PAGE.read_text("utf-8")
    public = [name for name, value in vars(fidelite).items()
              if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == "fidelite"]
    assert not [name for name in [*public, "Runner"] if f"fidelite.{name}" not in text]
