"""Inputs' shapes and outputs that the user chooses."""

from __future__ import annotations

import json

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from fidelite.errors import FideliteError, Several, UsageError
from fidelite.source.load import load
from fidelite.source.shapes import Dim, apply_shapes, remove_dead, select_outputs
from tests.source.models import graph_model, info, tensor


def model() -> ir.Model:
    """Two inputs with a batch in common, three outputs of which two share a node."""
    nodes = [
        helper.make_node("Relu", ["left"], ["a"], name="a"),
        helper.make_node("Conv", ["a", "w"], ["output"], name="conv"),
        helper.make_node("Sigmoid", ["a"], ["second"], name="sigmoid"),
        helper.make_node("Relu", ["right"], ["third"], name="third"),
    ]
    inputs = [info("left", ["n", 3, "h", 8]), info("right", ["n", 5])]
    outputs = [info("output", ["n", 2, "h", 8]), info("second", ["n", 3, "h", 8]), info("third", ["n", 5])]
    return load(graph_model(nodes, inputs, outputs, [tensor("w", 2, 3, 1, 1)])).model


def refusal(shapes: dict[str, tuple[Dim, ...]]) -> FideliteError:
    with pytest.raises(FideliteError) as caught:
        apply_shapes(model(), shapes)
    assert caught.value.exit_code == 2
    json.dumps(caught.value.to_json())
    return caught.value


def test_symbols_get_their_numbers_everywhere() -> None:
    given = model()
    apply_shapes(given, {"left": (2, 3, 8, 8)})
    assert [list(v.shape or ()) for v in given.graph.inputs] == [[2, 3, 8, 8], [2, 5]]
    assert [list(v.shape or ()) for v in given.graph.outputs] == [[2, 2, 8, 8], [2, 3, 8, 8], [2, 5]]


def test_open_dimensions_may_stay_open() -> None:
    given = model()
    apply_shapes(given, {"left": (1, 3, "h", 8)})
    assert given.graph.inputs[0].shape == (1, 3, "h", 8)


def test_expressions_over_a_symbol_are_left_to_inference() -> None:
    given = model()
    given.graph.outputs[0].shape = ir.Shape(["n", 2, "2*h", 8])
    apply_shapes(given, {"left": (1, 3, 4, 8)})
    assert given.graph.outputs[0].shape == (1, 2, None, 8)


def test_an_input_without_any_shape() -> None:
    given = model()
    given.graph.inputs[1].shape = None
    apply_shapes(given, {"right": (1, 5)})
    assert given.graph.inputs[1].shape == (1, 5)


@pytest.mark.parametrize(
    ("shapes", "code"),
    [
        ({"lef": (1, 3, 8, 8)}, "F202"),
        ({"left": (3, 8, 8)}, "F203"),
        ({"left": (1, 4, 8, 8)}, "F204"),
        ({"left": (1, 3, 8, 8), "right": (2, 5)}, "F204"),
        ({"left": (0, 3, 8, 8)}, "F206"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[Dim, ...]], code: str) -> None:
    error = refusal(shapes)
    assert (type(error), error.code) == (UsageError, code)
    assert error.remedy


def test_the_nearest_input_is_named_and_all_mistakes_at_once() -> None:
    error = refusal({"lef": (1,), "right": (1, 2, 3)})
    assert isinstance(error, Several)
    assert "--shape left=" in error.errors[0].remedy
    assert error.errors[0].details["known"] == ["left", "right"]


def test_outputs_are_kept_in_the_order_given() -> None:
    given = model()
    assert select_outputs(given, ["third", "output"]) == ["second"]
    assert [v.name for v in given.graph.outputs] == ["third", "output"]
    assert [n.name for n in given.graph] == ["a", "conv", "third"]
    assert select_outputs(given, []) == []


def test_what_only_served_other_outputs_goes() -> None:
    given = model()
    select_outputs(given, ["third"])
    assert [n.name for n in given.graph] == ["third"]
    assert list(given.graph.initializers) == []
    assert [v.name for v in given.graph.inputs] == ["left", "right"]
    assert remove_dead(given) == 0


def test_an_output_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        select_outputs(model(), ["outptu"])
    assert caught.value.code == "F205"
    assert caught.value.remedy == "--outputs output"
    with pytest.raises(UsageError) as caught:
        select_outputs(model(), ["output", "output"])
    assert caught.value.code == "F205"


def test_values_that_graphs_inside_nodes_read_are_alive() -> None:
    node = helper.make_node("Relu", ["kept"], ["i"])
    body: onnx.GraphProto = helper.make_graph([node], "b", [], [info("i", [2])])
    nodes = [
        helper.make_node("Neg", ["x"], ["kept"], name="neg"),
        helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body, name="if"),
        helper.make_node("Abs", ["x"], ["z"], name="abs"),
    ]
    inputs = [info("x", [2]), info("c", [], TensorProto.BOOL)]
    given = load(graph_model(nodes, inputs, [info("y", [2]), info("z", [2])])).model
    select_outputs(given, ["y"])
    assert [n.name for n in given.graph] == ["neg", "if"]


def test_minus_one_is_an_open_dimension() -> None:
    """PaddlePaddle's exporter declares it so."""
    graph = graph_model([helper.make_node("Relu", ["x"], ["y"])], [info("x", [-1, 3, "w"])], [info("y", [-1, 3, "w"])])
    for value in (*(loaded := load(graph).model).graph.inputs, *loaded.graph.outputs):
        assert value.shape is not None
        assert [d if isinstance(d, int) else d.value for d in value.shape] == [None, 3, "w"]
