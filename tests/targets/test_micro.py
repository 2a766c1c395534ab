"""TensorFlow Lite Micro's table, without its interpreter (tests/extras/micro runs that)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import fidelite
from fidelite.errors import MissingExtra, RuntimeCrash, Several, TargetError
from fidelite.targets.micro import check
from fidelite.targets.micro_kernels import KERNELS
from fidelite.tflite.graph import Graph, Model, Operator, Quantization, Tensor
from fidelite.tflite.ops import OPS
from fidelite.tflite.types import ElementType
from tests.source.models import conv_model, graph_model, info, save, tensor


def _findings(operator: Operator) -> list[str]:
    graph = Graph()
    graph.inputs = [t for t in operator.inputs if t is not None and not t.is_constant]
    graph.append(operator)
    graph.outputs = list(operator.outputs)
    return [f.rule.name for f in check(Model([graph]))]


def _tensor(element: ElementType = ElementType.FLOAT32, shape: tuple[int, ...] = (1, 4, 4, 2), *,
            scale: float | None = None) -> Tensor:
    return Tensor("t", element, shape, quantization=None if scale is None else Quantization((scale,), (0,)))


def test_rows_are_of_known_operators() -> None:
    assert set(KERNELS) <= set(OPS)
    assert {"CONV_2D", "FULLY_CONNECTED", "SOFTMAX", "RESIZE_BILINEAR"} <= set(KERNELS)


@pytest.mark.parametrize(("operator", "expected"), [
    (Operator("ABS", [_tensor()], [_tensor()]), []),
    (Operator("GELU", [_tensor()], [_tensor()]), ["operator"]),
    (Operator("ABS", [_tensor(ElementType.INT64)], [_tensor(ElementType.INT64)]), ["type"]),
    (Operator("RELU", [_tensor(ElementType.INT8, scale=0.1)], [_tensor(ElementType.INT8, scale=0.1)]), []),
    (Operator("RELU6", [_tensor(ElementType.INT8, scale=0.1)], [_tensor(ElementType.INT8, scale=0.2)]),
     ["type", "no-rescale"] if "i8q" not in KERNELS["RELU6"][0] else ["no-rescale"]),
    (Operator("CAST", [_tensor(ElementType.INT32)], [_tensor()]), []),
    (Operator("CAST", [_tensor(ElementType.INT64)], [_tensor()]), ["type"]),
    (Operator("FULLY_CONNECTED", [_tensor(shape=(1, 8)), _tensor(ElementType.INT8, (4, 8), scale=0.1), None],
              [_tensor(shape=(1, 4))]), ["weights"]),
    (Operator("TRANSPOSE", [_tensor(), _tensor(ElementType.INT32, (4,))], [_tensor()]), ["constant-operand"]),
    (Operator("AVERAGE_POOL_2D", [_tensor(shape=(1, 1, 4, 4, 2))], [_tensor()]), ["rank"]),
    (Operator("WHILE", [_tensor(ElementType.INT64)], [_tensor(ElementType.INT64)]), []),
])
def test_rules(operator: Operator, expected: list[str]) -> None:
    assert _findings(operator) == expected


def test_weights_beyond_two_gigabytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fidelite.targets.micro._MOST_BYTES", 100)
    with pytest.raises(TargetError, match="bytes") as caught:
        fidelite.convert(save(conv_model(), tmp_path / "conv.onnx"), target="micro", verify=False)
    assert caught.value.details["rule"] == "size"


def test_all_reasons_at_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gelu", ["x"], ["g"], name="gelu"), helper.make_node("Erf", ["g"], ["e"], name="erf"),
             helper.make_node("Tile", ["e", "twice"], ["y"], name="tile")]
    twice = helper.make_tensor("twice", TensorProto.INT64, [2], [1, 2])
    model = graph_model(nodes, [info("x", [1, 8])], [info("y", [1, 16])], (twice,), opset=20)
    with pytest.raises(Several) as caught:
        fidelite.convert(save(model, tmp_path / "m.onnx"), target="micro", verify=False)
    assert {e.code for e in caught.value.errors} == {"F471"}
    assert {e.details["op"] for e in caught.value.errors} >= {"GELU", "TILE"}


def test_open_dimensions(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    path = save(graph_model(nodes, [info("x", ["n", 4])], [info("y", ["n", 4])]), tmp_path / "m.onnx")
    with pytest.raises(TargetError) as caught:
        fidelite.convert(path, target="micro", verify=False)
    assert "--shape x=1,4" in caught.value.remedy
    assert fidelite.convert(path, target="micro", verify=False, shapes={"x": (1, 4)}).findings == []


@pytest.mark.parametrize("precision", ["float16", "dynamic-int8"])
def test_precisions_that_mix_are_refused_at_once(precision: Any, tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught:
        fidelite.convert(tmp_path / "nothing.onnx", target="micro", precision=precision)
    assert caught.value.details["rule"] == "weights"


def test_told_where_the_interpreter_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fidelite.runtime.micro import MicroSession

    monkeypatch.setattr("fidelite.runtime.micro.find_spec", lambda name: None)
    result = fidelite.convert(save(conv_model(), tmp_path / "conv.onnx"), target="micro")
    assert "N472" in {n.code for n in result.notices}
    assert result.device == {}
    with pytest.raises(MissingExtra) as caught:
        MicroSession(result.bytes)
    assert caught.value.code == "F222"


def test_told_where_the_interpreter_says_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise RuntimeCrash("Didn't find op for builtin opcode 'CONV_2D'")

    monkeypatch.setattr("fidelite.runtime.micro.find_spec", lambda name: object())
    monkeypatch.setattr("fidelite.runtime.micro.MicroSession.__init__", refuse)
    with pytest.raises(TargetError, match="Didn't find op") as caught:
        fidelite.convert(save(conv_model(), tmp_path / "conv.onnx"), target="micro")
    assert caught.value.code == "F472"


def test_a_missing_kernel_is_told_by_inspect(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "w"], ["y"], name="add")]
    model = graph_model(nodes, [info("x", [1, 8])], [info("y", [1, 8])], (tensor("w", 8),))
    found = fidelite.inspect(save(model, tmp_path / "m.onnx"), target="micro")
    assert found.exit_code == 0
    assert found.target is not None
    assert [row["verdict"] for row in found.target["operators"]] == ["taken"]
    assert np.all([f["rule"] for f in found.target["findings"]] == [])




@pytest.mark.parametrize(("form", "ops"), [("tanh", {"MUL", "ADD", "TANH"}), ("none", {"GELU"})])
def test_a_gelu_in_its_tanh_form_is_written_out(form: str, ops: set[str], tmp_path: Path) -> None:
    node = helper.make_node("Gelu", ["x"], ["y"], approximate=form)
    path = save(graph_model([node], [info("x", [4, 64])], [info("y", [4, 64])], opset=20), tmp_path / "m.onnx")
    if form == "none":
        with pytest.raises(TargetError) as caught:
            fidelite.convert(path, target="micro", verify=False)
        assert "--approximate gelu-tanh" in caught.value.remedy
        return
    result = fidelite.convert(path, target="micro")
    assert {o.op for o in result.model.main.operators} == ops
    assert result.verification is not None
    assert result.verification.outputs[0].tolerance.name == "float32"
    assert result.verification.proven
