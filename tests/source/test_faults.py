"""Known faults of exporters: told where a model shows them, and sound models that look alike pass."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fidelite.errors import ContradictoryModel, FideliteError
from fidelite.source.batch import implied_shapes
from fidelite.source.faults import FAULTS, find_faults
from fidelite.source.load import examine, load
from tests.source.models import graph_model, info, tensor


def branches(
    *,
    bias: str = "x_bias",
    widths: tuple[int, int] = (4, 4),
    producer: str = "pytorch",
    version: str = "2.9.0+cpu",
) -> onnx.ModelProto:
    """Two convolutions of the same input with different weights and one bias of `widths[0]` values."""
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", bias], ["a"], name="conv_a"),
        helper.make_node("Conv", ["x", "b.weight", bias], ["b"], name="conv_b"),
    ]
    constants = [
        tensor("a.weight", widths[0], 3, 1, 1),
        tensor("b.weight", widths[1], 3, 1, 1),
        tensor(bias, widths[0]),
    ]
    outputs = [info("a", [1, widths[0], 4, 4]), info("b", [1, widths[1], 4, 4])]
    return graph_model(nodes, [info("x", [1, 3, 4, 4])], outputs, constants, producer=(producer, version))


def test_the_table_is_whole() -> None:
    assert len({f.id for f in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        assert fault.sources
        assert fault.code[0] in "NW"
        assert fault.level == {"N": "notice", "W": "warning"}[fault.code[0]]


def test_a_contradiction_is_told_with_the_fault_that_explains_it() -> None:
    with pytest.raises(FideliteError) as caught:
        load(branches(widths=(4, 8)))
    error = caught.value
    assert isinstance(error, ContradictoryModel)
    assert (error.where.node, error.details["operand"]) == ("conv_b", "x_bias")
    assert (error.details["found"], error.details["needed"]) == (4, 8)
    assert error.details["fault"] == "shared-bias"
    assert "#166797" in error.reason
    assert "#2680" in error.reason
    assert "onnxscript>=0.5.7" in error.remedy
    assert "torch.onnx.export(" in error.remedy
    assert "external_data=False" in error.remedy
    json.dumps(error.to_json())


def test_a_contradiction_without_the_signature_has_no_fault() -> None:
    with pytest.raises(ContradictoryModel) as caught:
        load(branches(widths=(4, 8), producer="keras2onnx"))
    assert "fault" not in caught.value.details


def test_the_signature_alone_warns() -> None:
    for version in ("2.9.0+cpu", "2.8.0", "2.10.1"):
        source = load(branches(version=version))
        (notice,) = source.notices
        assert (notice.code, notice.level, notice.where.node) == ("W340", "warning", "conv_a")
        assert "'x_bias'" in notice.text
        assert "onnxscript>=0.5.7" in notice.remedy


def test_values_may_have_been_renamed_in_the_exports_known_to_be_at_fault() -> None:
    assert [n.code for n in load(branches(bias="relu_4_bias", version="2.9.1")).notices] == ["W340"]
    assert load(branches(bias="relu_4_bias", version="2.10.0")).notices == []


@pytest.mark.parametrize(
    "model",
    [
        branches(bias="head.shared_bias"),
        branches(bias="shared"),
        branches(producer="tf2onnx"),
        branches(producer=""),
        branches(bias="shared_bias", version="2.11.0"),
    ],
    ids=["a parameter's own name", "no bias' name", "another exporter", "nobody", "another name"],
)
def test_a_sound_model_may_share_a_bias_on_purpose(model: onnx.ModelProto) -> None:
    source = load(model)
    assert (source.problems, source.notices) == ((), [])


def test_convolutions_that_share_the_weight_too_are_sound() -> None:
    model = branches()
    model.graph.node[1].input[1] = "a.weight"
    assert load(model).notices == []


def test_a_bias_of_its_own_is_sound() -> None:
    model = branches()
    model.graph.node[1].input[2] = "own_bias"
    model.graph.initializer.append(tensor("own_bias", 4))
    assert load(model).notices == []


def test_matrix_products_have_the_same_fault() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "x_bias"], ["a"], name="one"),
        helper.make_node("Gemm", ["x", "w2", "x_bias"], ["b"], name="two"),
    ]
    constants = [tensor("w1", 4, 8), tensor("w2", 4, 6), tensor("x_bias", 8)]
    outputs = [info("a", [1, 8]), info("b", [1, 6])]
    model = graph_model(nodes, [info("x", [1, 4])], outputs, constants, producer=("pytorch", "2.9.0"))
    (error,) = examine(model).problems
    assert (error.where.node, error.details["fault"]) == ("two", "shared-bias")


def resized(
    batch: int | str = "s77",
    sizes: tuple[int, ...] = (1, 3, 8, 8),
    outputs: tuple[int | str, ...] = (1, 3, 8, 8),
) -> onnx.ModelProto:
    constant = numpy_helper.from_array(onnx.numpy_helper.to_array(_ints("sizes", sizes)), "sizes")
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest")
    return graph_model([node], [info("x", [batch, 3, 4, 4])], [info("y", outputs)], [constant])


def _ints(name: str, values: tuple[int, ...]) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def test_a_dynamic_batch_that_is_fixed_inside_is_taken_so() -> None:
    source = load(resized())
    assert source.implied_shapes == {"x": (1, 3, 4, 4)}
    assert [(n.code, n.level) for n in source.notices] == [("N342", "notice")]
    assert "s77" in source.notices[0].text
    source.fix_shapes()
    assert source.model.graph.inputs[0].shape == (1, 3, 4, 4)
    assert [n.code for n in source.notices] == ["N342"]


def test_the_users_shape_overrides_it() -> None:
    source = load(resized())
    source.fix_shapes({"x": (2, 3, 4, 4)})
    assert source.model.graph.inputs[0].shape == (2, 3, 4, 4)
    assert source.notices == []


@pytest.mark.parametrize(
    "model",
    [resized(batch=1), resized(outputs=("s77", 3, 8, 8)), resized(sizes=(2, 3, 8, 8))],
    ids=["fixed", "dynamic all through", "no such constant"],
)
def test_other_batches_stay_as_they_are(model: onnx.ModelProto) -> None:
    source = load(model)
    assert (source.implied_shapes, source.notices) == ({}, [])
    assert implied_shapes(source.model) == {}


def test_faults_that_were_found_are_named() -> None:
    assert dict(find_faults(load(resized()).model).found) == {"batch-fixed-inside": ("x",)}
