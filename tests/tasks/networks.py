"""Small seeded networks of the kinds that MediaPipe's tasks take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from tests.source.models import graph_model, info, save, tensor

SIDE = 32


def segmenter(folder: Path, classes: int = 5, *, heads: int = 1, side: int = SIDE, tail: str = "",
              last: bool = False) -> Path:
    """Masks of half the picture's size; `tail` is a node behind the scores, `last`: channels last on both sides."""
    nodes, outputs = [*([_move("picture", "x", (0, 3, 1, 2))] if last else [])], []
    source = "x" if last else "picture"
    weights = [tensor("w", 8, 3, 3, 3), tensor("b", 8)]
    nodes += [helper.make_node("Conv", [source, "w", "b"], ["c"], strides=[2, 2], pads=[1] * 4),
              helper.make_node("Relu", ["c"], ["features"])]
    for head in range(heads):
        name = "mask" if head == 0 else f"aux{head}"
        weights.append(_small(f"{name}_w", classes, 8, 1, 1))
        steps = ["Conv", *([tail] if tail else []), *(["move"] if last else [])]
        value = "features"
        for number, step in enumerate(steps):
            out = name if number == len(steps) - 1 else f"{name}_{number}"
            operands = [value, f"{name}_w"] if step == "Conv" else [value]
            attributes: dict[str, Any] = {"axis": 1} if step in ("Softmax", "ArgMax") else {}
            nodes.append(_move(value, out, (0, 2, 3, 1)) if step == "move"
                         else helper.make_node(step, operands, [out], **attributes))
            value = out
        shape = [1, 1 if tail == "ArgMax" else classes, side // 2, side // 2]
        shape = [shape[0], *shape[2:], shape[1]] if last else shape
        outputs.append(info(name, shape, TensorProto.INT64 if tail == "ArgMax" else TensorProto.FLOAT))
    picture = [1, side, side, 3] if last else [1, 3, side, side]
    return save(graph_model(nodes, [info("picture", picture)], outputs, weights), folder / "segmenter.onnx")


def _move(source: str, out: str, order: Sequence[int]) -> onnx.NodeProto:
    return helper.make_node("Transpose", [source], [out], perm=list(order))


def classifier(folder: Path, classes: int = 7, *, channels: int = 3, name: str = "scores", tail: str = "Softmax",
               batch: int = 1, inputs: int = 1) -> Path:
    """[1, classes] from the means of a convolution."""
    pictures = [f"picture{i or ''}" for i in range(inputs)]
    nodes = [helper.make_node("Sum", pictures, ["x"]),
             helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
             helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["g"]),
             helper.make_node("Flatten", ["g"], ["f"]),
             helper.make_node("Gemm", ["f", "v"], ["logits" if tail else name])]
    if tail:
        nodes.append(helper.make_node(tail, ["logits"], [name]))
    weights = [tensor("w", 16, channels, 3, 3), tensor("v", 16, classes)]
    ports = [info(p, [batch, channels, SIDE, SIDE]) for p in pictures]
    return save(graph_model(nodes, ports, [info(name, [batch, classes])], weights), folder / "classifier.onnx")


def detector(folder: Path, *, boxes_first: bool = False, classes: int = 3, outputs: int = 2,
             logits: bool = False) -> Path:
    """Boxes and scores for each of 64 cells: [1, 64, 4] and [1, 64, classes], or the axes the other way round.

    With 4 outputs: boxes, the best class of each cell, its score, and how many there are. Boxes lie in 0..1, and so do
    scores that are no logits.
    """
    weights = [tensor("w", 8, 3, 4, 4), _small("bw", 4, 8, 1, 1), _small("sw", classes, 8, 1, 1)]
    nodes = [helper.make_node("Conv", ["picture", "w"], ["c"], strides=[4, 4]),
             helper.make_node("Relu", ["c"], ["r"])]
    found: list[onnx.ValueInfoProto] = []
    for name, width in (("boxes", 4), ("scores", classes)):
        weights.append(onnx.numpy_helper.from_array(_ints(1, width, 64), f"{name}_shape"))
        flat = name if boxes_first else f"{name}_first"
        nodes += [helper.make_node("Conv", ["r", f"{name[0]}w"], [f"{name}_map"]),
                  helper.make_node("Identity" if logits and name == "scores" else "Sigmoid", [f"{name}_map"],
                                   [f"{name}_s"]),
                  helper.make_node("Reshape", [f"{name}_s", f"{name}_shape"], [flat])]
        if not boxes_first:
            nodes.append(_move(flat, name, (0, 2, 1)))
        found.append(info(name, [1, width, 64] if boxes_first else [1, 64, width]))
    if outputs == 4:
        weights.append(onnx.numpy_helper.from_array(_ints(2), "last"))
        nodes += [helper.make_node("ArgMax", ["scores"], ["index"], axis=2, keepdims=0),
                  helper.make_node("Cast", ["index"], ["classes"], to=TensorProto.FLOAT),
                  helper.make_node("ReduceMax", ["scores", "last"], ["best"], keepdims=0),
                  helper.make_node("Greater", ["best", "half"], ["there"]),
                  helper.make_node("Cast", ["there"], ["counts"], to=TensorProto.FLOAT),
                  helper.make_node("ReduceSum", ["counts", "all"], ["number"], keepdims=0)]
        weights += [tensor("half", 1, value=0.5), onnx.numpy_helper.from_array(_ints(1), "all")]
        found = [found[0], info("classes", [1, 64]), info("best", [1, 64]), info("number", [1])]
    return save(graph_model(nodes, [info("picture", [1, 3, SIDE, SIDE])], found, weights), folder / "detector.onnx")


def _small(name: str, *shape: int) -> TensorProto:
    """Weights that leave scores where a sigmoid still tells them apart."""
    values = onnx.numpy_helper.to_array(tensor(name, *shape))
    return onnx.numpy_helper.from_array((values * 0.05).astype(values.dtype), name)


def _ints(*values: int) -> Any:
    import numpy as np

    return np.asarray(values, np.int64)
