"""Operands that contradict each other, and sound ones that must pass."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fidelite.errors import ContradictoryModel, FideliteError, Several
from fidelite.source.load import load
from tests.source.models import conv_model, graph_model, info, tensor


def one(
    op: str, *operands: TensorProto, x: list[int | str | None], opset: int = 18, **attributes: Any
) -> onnx.ModelProto:
    """One node `n` on the input `x` and constants."""
    names = ["x", *(o.name for o in operands)]
    node = helper.make_node(op, names, ["y"], name="n", **attributes)
    return graph_model([node], [info("x", x)], [info("y", None)], operands, opset=opset)


def refusal(model: onnx.ModelProto) -> FideliteError:
    with pytest.raises(FideliteError) as caught:
        load(model)
    assert caught.value.exit_code == 3
    json.dumps(caught.value.to_json())
    return caught.value


W = tensor("w", 8, 4, 3, 3)
CONTRADICTIONS = [
    (one("Conv", W, tensor("b", 6), x=[1, 4, 8, 8]), "b", 6, 8),
    (one("Conv", W, x=[1, 5, 8, 8]), "x", 5, 4),
    (one("Conv", W, x=["n", 4, "h", "w"], group=2), "x", 4, 8),
    (one("Conv", tensor("w", 9, 2, 3, 3), x=[1, 4, 8, 8], group=2), "w", 9, 8),
    (one("ConvTranspose", W, tensor("b", 8), x=[1, 8, 8, 8]), "b", 8, 4),
    (one("ConvTranspose", W, x=[1, 4, 8, 8]), "x", 4, 8),
    (one("Gemm", tensor("w", 8, 4), x=[1, 4]), "w", 8, 4),
    (one("Gemm", tensor("w", 8, 4), x=[1, 8], transA=1), "w", 8, 1),
    (one("Gemm", tensor("w", 8, 4), tensor("b", 8), x=[1, 8]), "b", 8, 4),
    (one("MatMul", tensor("w", 8, 4), x=[2, 3, 4]), "w", 8, 4),
    (one("MatMul", tensor("w", 5), x=[3, 4]), "w", 5, 4),
    (one("BatchNormalization", *(tensor(n, 4) for n in "sbm"), tensor("v", 3), x=[1, 4, 8, 8]), "v", 3, 4),
    (one("BatchNormalization", tensor("s", 3), *(tensor(n, 4) for n in "bmv"), x=[None, None, 8]), "b", 4, 3),
    (one("InstanceNormalization", tensor("s", 4), tensor("b", 5), x=[1, 4, 8]), "b", 5, 4),
    (
        one("GroupNormalization", tensor("s", 2), tensor("b", 4), x=[1, 4, 8], opset=21, num_groups=2),
        "s",
        2,
        4,
    ),
    (one("PRelu", tensor("s", 3, 1, 1), x=[1, 4, 8, 8]), "s", 3, 4),
    (one("Add", tensor("c", 5, 1, 1), x=[1, 4, 8, 8]), "c", 5, 4),
    (one("Mul", tensor("c", 7), x=[1, 4, 8, 8]), "c", 7, 8),
]


@pytest.mark.parametrize(("model", "operand", "found", "needed"), CONTRADICTIONS)
def test_contradictions_are_refused_by_name(
    model: onnx.ModelProto, operand: str, found: int, needed: int
) -> None:
    error = refusal(model)
    for single in error.errors:
        assert isinstance(single, ContradictoryModel)
        assert (single.code, single.where.node) == ("F340", "n")
    details = [(e.details["operand"], e.details["found"], e.details["needed"]) for e in error.errors]
    assert (operand, found, needed) in details
    assert f"'{operand}'" in str(error)
    assert f"{found} where {needed} are needed" in str(error)


SOUND = [
    one("Conv", W, tensor("b", 8), x=[1, 4, 8, 8]),
    one("Conv", W, tensor("b", 8), x=["n", None, "h", "w"]),
    one("Conv", tensor("w", 8, 1, 3, 3), x=[1, 4, 8, 8], group=4),
    one("ConvTranspose", W, tensor("b", 8), x=[1, 8, 8, 8], group=2),
    one("Gemm", tensor("w", 8, 4), tensor("b", 4), x=[1, 8]),
    one("Gemm", tensor("w", 8, 4), tensor("b", 1, 8), x=[4, 1], transA=1, transB=1),
    one("Gemm", tensor("w", 8, 4), tensor("b", 1), x=[1, 8]),
    one("Gemm", tensor("w", 8, 4), tensor("b"), x=[1, 8]),
    one("MatMul", tensor("w", 5, 4, 3), x=[2, 4]),
    one("MatMul", tensor("w", 4), x=[4]),
    one("BatchNormalization", *(tensor(n, 4) for n in "sbmv"), x=[2, 4]),
    one("BatchNormalization", *(tensor(n, 32) for n in "sbmv"), x=[2, 4, 8], opset=7, spatial=0),
    one("GroupNormalization", *(tensor(n, 2) for n in "sb"), x=[1, 4, 8], opset=18, num_groups=2),
    one("PRelu", tensor("s", 1), x=[1, 4, 8, 8]),
    one("PRelu", tensor("s", 4), x=[1, 4, 8, 8], opset=6),
    one("Add", tensor("c", 4, 1, 1), x=[1, 1, 8, 8]),
    one("Add", tensor("c", 5), x=[1, "c"]),
    one("Add", tensor("c", 4), x=[1, 4, 8, 8], opset=6, broadcast=1, axis=1),
    one("Add", tensor("c", 9, 9, 1, 1, 1), x=[4, 8, 8]),
]


@pytest.mark.parametrize("model", SOUND)
def test_sound_operands_pass(model: onnx.ModelProto) -> None:
    assert load(model).problems == ()


def test_what_is_certain_is_carried_along() -> None:
    """The second convolution's input is known by its channels alone: nothing declares inner shapes."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2]),
        helper.make_node("Concat", ["c", "c"], ["d"], axis=1),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Conv", ["e", "w2"], ["y"], name="second"),
    ]
    for channels, sound in ((16, True), (8, False)):
        weights = [tensor("w1", 8, 3, 3, 3), tensor("w2", 5, channels, 1, 1)]
        model = graph_model(nodes, [info("x", ["n", 3, "h", "w"])], [info("y", None)], weights)
        if sound:
            assert load(model).problems == ()
            continue
        error = refusal(model)
        assert error.where.node == "second"
        assert (error.details["operand"], error.details["found"], error.details["needed"]) == ("e", 16, 8)


def test_shapes_that_are_merely_declared_do_not_refuse() -> None:
    """ONNX Runtime warns of a wrong value_info and computes; so the model is not contradictory."""
    model = conv_model()
    model.graph.value_info.append(info("c", [1, 99, 6, 6]))
    model.graph.node.append(helper.make_node("Conv", ["c", "w2"], ["z"], name="second"))
    model.graph.initializer.append(tensor("w2", 2, 4, 1, 1))
    assert load(model).problems == ()


def test_an_initializer_declared_with_another_shape() -> None:
    model = conv_model()
    model.graph.input.append(info("b", [5]))
    error = refusal(model)
    assert (type(error), error.code) == (ContradictoryModel, "F341")
    assert (error.details["found"], error.details["declared"]) == ([4], [5])


def test_graphs_inside_nodes_are_checked() -> None:
    inner = [helper.make_node("Conv", ["x", "w", "b"], ["i"], name="inside")]
    constants = [tensor("w", 8, 3, 1, 1), tensor("b", 4)]
    body = helper.make_graph(inner, "body", [], [info("i", None)], constants)
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body, name="if")
    inputs = [info("x", [1, 3, 4, 4]), info("c", [], TensorProto.BOOL)]
    error = refusal(graph_model([node], inputs, [info("y", None)]))
    assert error.errors[0].where.node == "inside"


def test_all_contradictions_are_told_and_equal_ones_once() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b"], ["a"], name="one"),
        helper.make_node("Conv", ["x", "w2", "b"], ["c"], name="two"),
        helper.make_node("Conv", ["x", "w3", "b"], ["d"], name="three"),
    ]
    constants = [tensor("w1", 8, 3, 1, 1), tensor("w2", 8, 3, 1, 1), tensor("w3", 6, 3, 1, 1), tensor("b", 4)]
    outputs = [info(n, None) for n in "acd"]
    error = refusal(graph_model(nodes, [info("x", [1, 3, 4, 4])], outputs, constants))
    assert isinstance(error, Several)
    assert [e.details["nodes"] for e in error.errors] == [["one", "two"], ["three"]]


def test_constant_nodes_count_as_constants() -> None:
    value = numpy_helper.from_array(np.zeros(5, np.float32), "v")
    nodes = [
        helper.make_node("Constant", [], ["b"], value=value),
        helper.make_node("Conv", ["x", "w", "b"], ["y"], name="n"),
    ]
    model = graph_model(nodes, [info("x", [1, 4, 8, 8])], [info("y", None)], [W])
    assert refusal(model).details["operand"] == "b"
