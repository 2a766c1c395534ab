"""The command line in this process, and small networks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from fidelite.cli import cli


def fidelite(*arguments: str | Path, code: int = 0) -> Result:
    """Run a command; its exit code must be `code`."""
    result = CliRunner().invoke(cli, [str(a) for a in arguments], prog_name="fidelite", terminal_width=100)
    assert result.exit_code == code, f"exit code {result.exit_code}\n{result.output}\n{result.exception!r}"
    return result


def data(*arguments: str | Path, code: int = 0) -> Any:
    """What a command prints with --json."""
    return json.loads(fidelite(*arguments, "--json", code=code).stdout)


def flat(text: str) -> str:
    """Text with all white space made one blank: the console breaks lines where it wants."""
    return " ".join(text.split())


def segmenter(folder: Path, classes: int = 4, size: int = 32, *, activation: str = "Relu") -> Path:
    """`scores = conv(act(conv(input)))`: input [1, 3, size, size] to scores [1, classes, size, size]."""
    rng = np.random.default_rng(classes)
    weights = {
        "w1": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "b1": rng.standard_normal(8).astype(np.float32),
        "w2": rng.standard_normal((classes, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node(activation, ["a"], ["r"], name="act"),
        helper.make_node("Conv", ["r", "w2"], ["scores"], name="last"),
    ]
    shape = [1, 3, size, size]
    return _save(folder / "segmenter.onnx", nodes, [("input", shape)], [("scores", [1, classes, size, size])], weights)


def classifier(folder: Path, classes: int = 6) -> Path:
    """`y = mean of conv(x)`: x [1, 3, 16, 16] to y [1, classes]."""
    rng = np.random.default_rng(1)
    weights = {"w": rng.standard_normal((classes, 3, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["y"], name="flatten"),
    ]
    return _save(folder / "classifier.onnx", nodes, [("x", [1, 3, 16, 16])], [("y", [1, classes])], weights)


def unknown_op(folder: Path) -> Path:
    """Two operators of a domain that nobody knows."""
    nodes = [
        helper.make_node("Mystery", ["x"], ["a"], name="one", domain="my.domain"),
        helper.make_node("Mystery", ["a"], ["y"], name="two", domain="my.domain"),
    ]
    path = _save(folder / "unknown.onnx", nodes, [("x", [1, 4])], [("y", [1, 4])], {})
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    onnx.save(model, path)
    return path


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, list[int]]],
    outputs: list[tuple[str, list[int]]],
    weights: dict[str, np.ndarray[Any, Any]],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path
