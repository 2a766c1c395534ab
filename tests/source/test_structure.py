"""Graphs that are broken in their names and edges."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from fidelite.errors import FideliteError, InvalidModel
from fidelite.source.load import load
from tests.source.models import codes, conv_model, graph_model, info, save, set_external, tensor


def refusal(model: onnx.ModelProto | ir.Model) -> FideliteError:
    with pytest.raises(FideliteError) as caught:
        load(model)
    assert caught.value.exit_code == 3
    json.dumps(caught.value.to_json())
    return caught.value


def chain(*edges: tuple[str, str], outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    """Relu nodes from name to name."""
    nodes = [helper.make_node("Relu", [a], [b], name=f"n{i}") for i, (a, b) in enumerate(edges)]
    return graph_model(nodes, [info("x", [2])], [info(o, [2]) for o in outputs])


def test_a_sound_model_passes_from_file_and_from_memory(tmp_path: Path) -> None:
    model = conv_model()
    for given in (model, save(model, tmp_path / "m.onnx"), str(tmp_path / "m.onnx"), ir.from_proto(model)):
        source = load(given)
        assert (source.opset, source.missing, source.problems, source.notices) == (18, (), (), [])
        assert [n.op_type for n in source.model.graph] == ["Conv", "Relu"]
        assert source.model.graph.initializers["w"].const_value is not None
        assert len(source.sha256) == 64
    assert load(tmp_path / "m.onnx").sha256 == load(tmp_path / "m.onnx").sha256


def test_the_callers_model_stays_as_it_was() -> None:
    model = ir.from_proto(conv_model())
    load(model).model.graph.inputs[0].name = "changed"
    assert model.graph.inputs[0].name == "x"


def test_an_opset_that_nobody_knows_yet() -> None:
    model = conv_model()
    model.opset_import[0].version = 4000
    error = refusal(model)
    assert (error.code, error.details["opset"]) == ("F331", 4000)
    model.opset_import[0].version = 0
    assert refusal(model).code == "F331"


def test_no_opset_or_two() -> None:
    model = conv_model()
    model.opset_import.append(helper.make_opsetid("ai.onnx", 17))
    assert refusal(model).code == "F331"
    del model.opset_import[:]
    assert refusal(model).code == "F331"


def test_an_ir_version_that_nobody_knows_yet() -> None:
    model = conv_model()
    model.ir_version = 4000
    assert refusal(model).code == "F332"


def test_an_input_that_nothing_makes_names_the_nearest() -> None:
    model = conv_model()
    model.graph.node[1].input[0] = "cc"
    error = refusal(model)
    assert (error.code, error.where.node, error.where.op, error.where.opset) == ("F333", "relu", "Relu", 18)
    assert error.details["nearest"] == ["c"]
    loose = ir.from_proto(conv_model())
    loose.graph[1].replace_input_with(0, ir.Value(name="nowhere"))
    assert refusal(loose).code == "F333"


def test_a_cycle_is_told_with_its_nodes() -> None:
    error = refusal(chain(("x", "a"), ("c", "b"), ("b", "c"), ("c", "y")))
    assert error.code == "F334"
    assert sorted(error.details["nodes"]) == ["n1", "n2"]
    assert refusal(chain(("x", "y"), ("b", "b"))).code == "F334"


def test_nodes_out_of_order_are_sorted_with_a_notice() -> None:
    source = load(chain(("a", "y"), ("x", "a")))
    assert [n.name for n in source.model.graph] == ["n1", "n0"]
    assert [n.code for n in source.notices] == ["N334"]


def test_two_values_of_one_name() -> None:
    model = conv_model()
    model.graph.initializer.append(tensor("w", 2))
    assert refusal(model).code == "F335"
    model = conv_model()
    model.graph.input.append(info("x", [1]))
    assert refusal(model).code == "F335"
    model = conv_model()
    model.graph.node[0].output[0] = "b"
    assert "F335" in codes(refusal(model))
    twins = ir.from_proto(conv_model())
    twins.graph[0].outputs[0].name = "x"
    assert refusal(twins).code == "F335"


def test_a_value_that_two_nodes_make() -> None:
    error = refusal(chain(("x", "y"), ("x", "y")))
    assert (error.code, error.where.node) == ("F336", "n1")


def test_no_outputs_and_outputs_that_nothing_makes() -> None:
    assert refusal(chain(("x", "y"), outputs=())).code == "F337"
    assert refusal(chain(("x", "y"), outputs=("z",))).code == "F338"
    empty = ir.from_proto(conv_model())
    empty.graph.outputs.clear()
    assert refusal(empty).code == "F337"


def test_graphs_inside_nodes_see_the_names_around_them() -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Relu", [name], ["inner"], name=f"inner_{name}")
        return helper.make_graph([node], "b", [], [info("inner", [2])])

    def model(other: str) -> onnx.ModelProto:
        node = helper.make_node(
            "If", ["c"], ["y"], then_branch=branch("x"), else_branch=branch(other), name="if"
        )
        return graph_model([node], [info("x", [2]), info("c", [], TensorProto.BOOL)], [info("y", [2])])

    assert load(model("x")).problems == ()
    error = refusal(model("nothing"))
    assert (error.code, error.where.node) == ("F333", "inner_nothing")


def test_a_cycle_through_a_graph_inside_a_node() -> None:
    node = helper.make_node("Relu", ["z"], ["inner"])
    body = helper.make_graph([node], "b", [], [info("inner", [2])])
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body, name="if"),
        helper.make_node("Relu", ["y"], ["z"], name="after"),
    ]
    model = graph_model(nodes, [info("c", [], TensorProto.BOOL)], [info("y", [2])])
    assert sorted(refusal(model).details["nodes"]) == ["after", "if"]


def test_tensors_of_unknown_type_or_negative_shape() -> None:
    model = conv_model()
    model.graph.initializer[0].data_type = 4000
    assert refusal(model).code == "F339"
    model = conv_model()
    model.graph.initializer[0].dims[0] = -4
    assert refusal(model).code == "F339"


def test_what_onnx_ir_cannot_read_is_refused_with_its_words() -> None:
    model = conv_model()
    model.graph.input[0].type.Clear()
    model.graph.input[0].type.map_type.key_type = TensorProto.INT64
    assert refusal(model).code == "F330"


def test_everything_is_told_in_one_run(tmp_path: Path) -> None:
    model = conv_model()
    set_external(model.graph.initializer[0], location="gone.data", offset=0, length=432)
    model.graph.node[1].input[0] = "nothing"
    model.opset_import[0].version = 4000
    with pytest.raises(FideliteError) as caught:
        load(save(model, tmp_path / "m.onnx"))
    assert codes(caught.value) == ["F310", "F331", "F333"]
    assert not isinstance(caught.value, InvalidModel)
