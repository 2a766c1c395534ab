"""The GPU delegate's rules, one operator at a time, and the rewrites that keep them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import fidelite
from fidelite.errors import TargetError
from fidelite.optimize.gpu import WriteForGpu
from fidelite.optimize.passes import Log
from fidelite.targets.gpu import check, partitions
from fidelite.targets.gpu_rules import NEWEST
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model, Operator, Tensor
from fidelite.tflite.ops import OPS
from fidelite.tflite.types import ElementType
from fidelite.tflite.verifier import check_model
from tests.source.models import graph_model, info, save
from tests.tflite.graphs import build, run

F32, I32 = np.float32, np.int32
Make = Callable[..., Tensor | Sequence[Tensor]]


def rules(model: Model) -> dict[str, str]:
    return {f.rule.name: f.level for f in check(model)}


def emit(b: Builder, op: str, inputs: Sequence[Tensor], shape: Sequence[int], element: ElementType | None = None,
         **options: Any) -> Tensor:
    result = Tensor(b.fresh_name("y"), element or inputs[0].element, tuple(shape))
    b.graph.append(Operator(op, inputs, [result], options))
    return result


def test_operators_are_known() -> None:
    assert set(NEWEST) <= set(OPS)


TAKEN: dict[str, tuple[Make, Sequence[tuple[Any, Sequence[int]]]]] = {
    "conv": (lambda b, x: b.conv_2d(x, b.constant(np.ones((8, 3, 3, 4), F32)), None), [(F32, (1, 8, 8, 4))]),
    "dense": (lambda b, x: b.fully_connected(x, b.constant(np.ones((8, 4), F32)), None), [(F32, (2, 4))]),
    "softmax": (lambda b, x: b.softmax(x), [(F32, (2, 5))]),
    "resize": (lambda b, x: b.resize_2d("RESIZE_BILINEAR", x, 9, 9, align_corners=True), [(F32, (1, 4, 4, 2))]),
    "mean": (lambda b, x: b.reduce("MEAN", x, (1, 2), keep_dims=False), [(F32, (2, 4, 4, 3))]),
    "bias": (lambda b, x: b.binary("ADD", x, b.constant(np.ones(4, F32))), [(F32, (1, 8, 8, 4))]),
    "pad": (lambda b, x: b.pad(x, (0, 1, 1, 0), (0, 1, 1, 0)), [(F32, (1, 4, 4, 2))]),
    "pair": (lambda b, x, y: b.binary("SUB", x, y), [(F32, (1, 4, 4, 2)), (F32, (1, 4, 4, 2))]),
}


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str) -> None:
    make, inputs = TAKEN[name]
    assert rules(build(make, *inputs)) == {}


BROKEN: dict[str, tuple[Make, Sequence[tuple[Any, Sequence[int | str]]], dict[str, str]]] = {
    "no parser": (lambda b, x: b.unary("CEIL", x), [(F32, (1, 4))], {"operator": "fallback"}),
    "five axes": (lambda b, x: b.transpose(x, (4, 0, 1, 2, 3)), [(F32, (1, 2, 3, 4, 5))], {"rank": "fallback"}),
    "integers": (lambda b, x: b.binary("ADD", x, x), [(I32, (1, 4))], {"type": "fallback"}),
    "version": (lambda b, x, y: b.gather(x, y, 1, batch_dims=1), [(F32, (2, 3)), (I32, (2, 2))],
                {"version": "fallback", "option": "fallback"}),
    "comparison": (lambda b, x: b.compare("LESS", x, b.constant(np.ones(4, F32))), [(F32, (1, 4))],
                   {"boolean": "fallback"}),
    "symmetric": (lambda b, x: b.mirror_pad(x, (0, 1, 1, 0), (0, 1, 1, 0), symmetric=True), [(F32, (1, 4, 4, 1))],
                  {"padding": "fallback"}),
    "open": (lambda b, x: b.unary("ABS", x), [(F32, ("n", 4))], {"static-shapes": "refused"}),
    "batch": (lambda b, x: b.binary("ADD", x, b.constant(np.ones((2, 3, 1, 4), F32))), [(F32, (2, 3, 3, 4))],
              {"constant-batch": "refused"}),
    "twice": (lambda b, x: b.binary("SUB", x, x), [(F32, (1, 4))], {"same-operands": "refused"}),
    "scalar": (lambda b, x: b.reduce("SUM", x, (0, 1), keep_dims=False), [(F32, (2, 4))], {"scalar": "refused"}),
    "first factor": (lambda b, x: b.batch_matmul(b.constant(np.ones((1, 3, 4), F32)), x), [(F32, (1, 4, 5))],
                     {"matmul-constant": "refused"}),
    "backwards": (lambda b, x: emit(b, "STRIDED_SLICE", [x, b.int32([0, 3, 0, 0]), b.int32([1, 0, 4, 2]),
                                                         b.int32([1, -1, 1, 1])], (1, 3, 4, 2), beginMask=0, endMask=0,
                                    ellipsisMask=0, newAxisMask=0, shrinkAxisMask=0), [(F32, (1, 4, 4, 2))],
                  {"reverse": "refused"}),
    "one axis": (lambda b, x: b.softmax(x), [(F32, (5,))], {"channel-axis": "refused"}),
    "size": (lambda b, x: b.transpose_conv(x, b.constant(np.ones((2, 2, 2, 3), F32)), None, (1, 9, 9, 2),
                                           strides=(2, 2), padding=1), [(F32, (1, 4, 4, 3))],
             {"transposed-size": "refused"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    make, inputs, expected = BROKEN[name]
    found = rules(build(make, *inputs))
    found.pop("partitions", None)
    assert found == expected


def _adjoint(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    return b.batch_matmul(x, y, adj_x=True, adj_y=True)


def _activated(b: Builder, x: Tensor) -> Tensor:
    weights = b.constant(np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(F32))
    made = b.transpose_conv(x, weights, None, (1, 9, 9, 2), strides=(2, 2), padding=1)
    assert made.producer is not None
    made.producer.options["fusedActivationFunction"] = 1
    return made


REWRITTEN: dict[str, tuple[Make, Sequence[tuple[Any, Sequence[int]]], str]] = {
    "adjoint": (_adjoint, [(F32, (2, 4, 3)), (F32, (2, 5, 4))], "adjoint"),
    "constant adjoint": (lambda b, x: b.batch_matmul(x, b.constant(np.arange(12, dtype=F32).reshape(3, 4)), adj_y=True),
                         [(F32, (2, 5, 4))], "adjoint"),
    "activation": (_activated, [(F32, (1, 4, 4, 4))], "version"),
    "last axis": (lambda b, x: b.reduce("MEAN", x, (3,), keep_dims=False), [(F32, (1, 4, 5, 3))], "last-axis"),
    "pad of three": (lambda b, x: b.pad(x, (0, 1, 2), (0, 1, 0)), [(F32, (1, 4, 5))], "pad-rank"),
    "pad of two": (lambda b, x: b.pad(x, (0, 1), (3, 0)), [(F32, (2, 4))], "padding"),
    "slice of two": (lambda b, x: b.slice(x, (1, 0), (1, 3)), [(F32, (2, 4))], "slice-rank"),
    "steps of two": (lambda b, x: emit(b, "STRIDED_SLICE", [x, b.int32([0, 1]), b.int32([3, 6]), b.int32([2, 2])],
                                       (2, 3), beginMask=0, endMask=0, ellipsisMask=0, newAxisMask=0,
                                       shrinkAxisMask=0), [(F32, (3, 6))], "slice-rank"),
    "constant of one axis": (lambda b, x: b.binary("MUL", x, b.constant(np.arange(4, dtype=F32))), [(F32, (4,))],
                             "constant-layout"),
    "constant of two axes": (lambda b, x: b.binary("SUB", b.constant(np.arange(8, dtype=F32).reshape(2, 4)), x),
                             [(F32, (2, 4))], "constant-layout"),
    "constant of three axes": (lambda b, x: b.binary("ADD", x, b.constant(np.arange(24, dtype=F32).reshape(2, 3, 4))),
                               [(F32, (2, 3, 4))], "constant-layout"),
    "squeeze": (lambda b, x: emit(b, "SQUEEZE", [x], (3, 4), squeezeDims=[0]), [(F32, (1, 3, 4))], "operator"),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_rewritten(name: str) -> None:
    """The rule is broken before and kept after, and the numbers are the same."""
    make, inputs, rule = REWRITTEN[name]
    random = np.random.default_rng(1)
    feeds = [random.normal(size=shape).astype(dtype) for dtype, shape in inputs]
    before, after = build(make, *inputs), build(make, *inputs)
    assert rule in rules(before)
    log = Log()
    assert WriteForGpu().run(after, log) > 0
    after.main.sort()
    check_model(after)
    assert rules(after) == {}
    assert WriteForGpu().run(after, log) == 0
    assert [t.shape for t in after.main.outputs] == [t.shape for t in before.main.outputs]
    for wanted, found in zip(run(before, feeds)[0], run(after, feeds)[0], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_file_that_states_an_older_version_would_lose_its_activation() -> None:
    model = build(_activated, (F32, (1, 4, 4, 4)))
    model.main.operators[0].version = 3
    assert rules(model) == {"transposed-activation": "refused"}


@pytest.mark.parametrize("name", TAKEN)
def test_left_alone(name: str) -> None:
    make, inputs = TAKEN[name]
    assert WriteForGpu().run(build(make, *inputs), Log()) == 0


def test_a_whole_window_is_a_mean() -> None:
    def make(b: Builder, x: Tensor, kernel: int = 6) -> Tensor:
        return b.pool_2d("AVERAGE_POOL_2D", x, kernel=(kernel, kernel), strides=(1, 1), padding=1)

    inputs = [(F32, (1, 6, 6, 3))]
    before, after = build(make, *inputs), build(make, *inputs)
    assert WriteForGpu().run(after, Log()) == 1
    assert [o.op for o in after.main.operators] == ["MEAN"]
    feeds = [np.random.default_rng(1).normal(size=(1, 6, 6, 3)).astype(F32)]
    np.testing.assert_allclose(run(before, feeds)[0][0], run(after, feeds)[0][0], atol=1e-6)
    part = build(lambda b, x: make(b, x, 3), *inputs)
    assert WriteForGpu().run(part, Log()) == 0


def test_parts() -> None:
    def make(b: Builder, x: Tensor) -> Tensor:
        return b.unary("ABS", b.unary("CEIL", b.unary("NEG", b.unary("ABS", x))))

    model = build(make, (F32, (1, 4)))
    assert partitions(model.main, {2}) == [2, 1]
    assert partitions(model.main, set()) == [4]
    assert partitions(model.main, {0, 1, 2, 3}) == []
    assert rules(model) == {"operator": "fallback", "partitions": "note"}


def _model(folder: Path, nodes: list[Any], shape: list[int], out: list[int]) -> Path:
    return save(graph_model(nodes, [info("x", shape)], [info("y", out)], opset=18), folder / "m.onnx")


def test_conversion_tells_what_falls_back(tmp_path: Path) -> None:
    nodes = [helper.make_node("Ceil", ["x"], ["c"], name="ceil"), helper.make_node("Relu", ["c"], ["y"], name="relu")]
    result = fidelite.convert(_model(tmp_path, nodes, [1, 8], [1, 8]), target="gpu")
    assert [n.code for n in result.notices if n.code == "W473"] == ["W473"]
    assert result.verification is not None
    assert result.verification.proven
    nodes = [helper.make_node("Ceil", ["x"], ["c"]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("Floor", ["r"], ["f"]), helper.make_node("Ceil", ["f"], ["g"]),
             helper.make_node("Relu", ["g"], ["y"])]
    result = fidelite.convert(_model(tmp_path, nodes, [1, 8], [1, 8]), target="gpu", verify=False)
    assert "N473" in {n.code for n in result.notices}


def test_conversion_refuses_what_would_be_wrong(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["y"], name="soft", axis=0)]
    with pytest.raises(TargetError) as caught:
        fidelite.convert(_model(tmp_path, nodes, [8], [8]), target="gpu", verify=False)
    assert caught.value.code == "F473"
    assert caught.value.details["rule"] == "channel-axis"


def test_attention_keeps_its_products(tmp_path: Path) -> None:
    """The standard passes fuse the TRANSPOSE into the product; the GPU's write it out again."""
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
             helper.make_node("MatMul", ["x", "t"], ["y"])]
    path = _model(tmp_path, nodes, [1, 6, 8], [1, 6, 6])
    assert [o.op for o in fidelite.convert(path, verify=False).model.main.operators] == ["BATCH_MATMUL"]
    result = fidelite.convert(path, target="gpu")
    assert [o.op for o in result.model.main.operators] == ["TRANSPOSE", "BATCH_MATMUL"]
    assert result.findings == []


def test_int64_falls_back(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"], name="neg")]
    model = graph_model(nodes, [info("x", [1, 4], TensorProto.INT64)], [info("y", [1, 4], TensorProto.INT64)])
    found = fidelite.inspect(save(model, tmp_path / "m.onnx"), target="gpu")
    assert found.exit_code == 0
    assert found.target is not None
    assert found.target["operators"][0]["verdict"] == "fallback"
    assert "not run on a GPU" in found.target["run_here"]
