"""What is told about a model before anything is converted."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from fidelite.options import PRECISIONS
from fidelite.source.load import examine, load
from fidelite.source.profile import Profile, profile
from tests.source.models import conv_model, external_model, graph_model, info, save, tensor


def segmenter() -> Profile:
    """Two outputs of three classes at 4 x 4."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "w1"], ["first"]),
        helper.make_node("Conv", ["r", "w2"], ["second"]),
    ]
    constants = [tensor("w", 8, 3, 3, 3), tensor("w1", 3, 8, 1, 1), tensor("w2", 3, 8, 1, 1)]
    outputs = [info("first", [1, 3, 4, 4]), info("second", [1, 3, 4, 4])]
    return profile(load(graph_model(nodes, [info("x", [1, 3, 4, 4])], outputs, constants)))


def test_facts(tmp_path: Path) -> None:
    model = conv_model()
    model.producer_name, model.producer_version = "pytorch", "2.13.0"
    path = save(model, tmp_path / "m.onnx")
    facts = profile(load(path))
    assert (facts.producer, facts.producer_version, facts.ir_version) == ("pytorch", "2.13.0", 10)
    assert facts.opsets == {"ai.onnx": 18}
    assert facts.ops == {"Conv": 1, "Relu": 1}
    assert (facts.nodes, facts.file_bytes) == (2, path.stat().st_size)
    edge = facts.inputs[0]
    assert (edge.name, edge.type, edge.shape, edge.bytes) == ("x", "float32", (1, 3, 8, 8), 768)
    assert (facts.input_bytes, facts.output_bytes) == (768, 4 * 4 * 6 * 6)
    assert (facts.weights.parameters, facts.weights.inline_bytes) == (112, 448)
    assert facts.macs == 4 * 6 * 6 * 3 * 3 * 3
    assert set(facts.costs) == set(PRECISIONS)
    assert json.loads(json.dumps(facts.to_json()))["ops"] == {"Conv": 1, "Relu": 1}


def test_weights_inline_external_and_missing(tmp_path: Path) -> None:
    whole = profile(load(external_model(tmp_path))).weights
    assert (whole.external_tensors, whole.external_bytes, whole.missing_bytes) == (2, 448, 0)
    (tmp_path / "m.onnx.data").unlink()
    facts = profile(examine(tmp_path / "m.onnx"))
    assert (facts.weights.missing_tensors, facts.weights.missing_bytes) == (2, 448)
    assert facts.weights.external_tensors == 0
    assert facts.missing[0]["expected_bytes"] == 448
    assert [p["code"] for p in facts.problems] == ["F310"]
    json.dumps(facts.to_json())


def test_operators_of_other_domains_and_inside_nodes() -> None:
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["i"])], "b", [], [info("i", [2])])
    nodes = [
        helper.make_node("If", ["c"], ["a"], then_branch=inner, else_branch=inner),
        helper.make_node("Own", ["a"], ["y"], domain="my.domain"),
    ]
    inputs = [info("x", [2]), info("c", [], TensorProto.BOOL)]
    model = graph_model(nodes, inputs, [info("y", None)])
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    facts = profile(load(model))
    assert facts.ops == {"Relu": 2, "If": 1, "my.domain::Own": 1}
    assert facts.opsets == {"ai.onnx": 18, "my.domain": 1}
    assert facts.outputs[0].bytes is None
    assert facts.output_bytes is None


@pytest.mark.parametrize(
    ("node", "shapes", "macs"),
    [
        (helper.make_node("MatMul", ["x", "w"], ["y"]), [[2, 3, 4], [4, 5]], 2 * 3 * 4 * 5),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), [[4, 2], [4, 5]], 2 * 4 * 5),
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"]), [[1, 3, 4, 4], [3, 2, 2, 2]], 16 * 3 * 2 * 4),
        (helper.make_node("Conv", ["x", "w"], ["y"], group=4), [[1, 4, 5, 5], [4, 1, 3, 3]], 4 * 9 * 9),
        (
            helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2),
            [[5, 1, 3], [1, 8, 3]],
            5 * (24 + 16),
        ),
        (helper.make_node("Relu", ["x"], ["y"]), [[3]], 0),
    ],
)
def test_multiplications(node: onnx.NodeProto, shapes: list[list[int]], macs: int) -> None:
    constants = [tensor("w", *shape) for shape in shapes[1:]]
    constants.append(tensor("r", 1, 8, 2))
    facts = profile(load(graph_model([node], [info("x", shapes[0])], [info("y", None)], constants)))
    assert (facts.macs, facts.macs_unknown) == (macs, 0)


def test_what_cannot_be_counted_is_said() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    facts = profile(load(graph_model(nodes, [info("x", ["n", 4])], [info("y", None)], [tensor("w", 4, 2)])))
    assert (facts.macs, facts.macs_unknown) == (None, 1)


def test_memory_is_weights_and_what_is_alive_at_once() -> None:
    facts = segmenter()
    picture, inner, output = 1 * 3 * 16 * 4, 8 * 16 * 4, 3 * 16 * 4
    assert facts.activation_bytes == picture + inner + 2 * output
    cost = facts.costs["float32"]
    assert cost.memory_bytes == cost.file_bytes + facts.activation_bytes
    assert (
        facts.costs["int8"].memory_bytes - facts.costs["int8"].file_bytes == picture + inner // 4 + 2 * output
    )


def test_what_the_users_choices_bring() -> None:
    choices = {c.option: c for c in segmenter().choices}
    output = 3 * 16 * 4
    first = choices["--outputs first"]
    assert (first.output_bytes, first.saves_output_bytes) == (output, output)
    assert first.macs == 16 * (8 * 27 + 3 * 8)
    argmax = choices["--argmax second"]
    assert (argmax.output_bytes, argmax.saves_output_bytes) == (output + 64, output - 64)
    together = choices["--outputs first --argmax first --precision int8"]
    assert (together.output_bytes, together.saves_output_bytes) == (64, 2 * output - 64)
    assert {"--precision int8", "--precision dynamic-int8", "--precision float16"} <= set(choices)
