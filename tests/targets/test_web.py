"""`--target web`: the element types and shapes that LiteRT.js takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import fidelite
from fidelite.errors import Several, TargetError
from fidelite.targets import profile_of
from fidelite.targets.profile import notices_of
from tests.cli import support
from tests.source.models import graph_model, info, save


def _model(folder: Path, shape: list[int | str] | None = None, element: int = TensorProto.INT64) -> Path:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Greater", ["y", "x"], ["z"])]
    dims = [2, 5] if shape is None else shape
    outputs = [info("y", dims, element), info("z", dims, TensorProto.BOOL)]
    model = graph_model(nodes, [info("x", dims, element)], outputs)
    return save(model, folder / "model.onnx")


@pytest.mark.parametrize(("element", "wanted"), [
    (TensorProto.INT64, "INT32"), (TensorProto.FLOAT, "FLOAT32"), (TensorProto.FLOAT16, "FLOAT32"),
    (TensorProto.INT8, "INT32"), (TensorProto.DOUBLE, "FLOAT32"), (TensorProto.UINT32, "INT32")])
def test_types_of_the_edge(tmp_path: Path, element: int, wanted: str) -> None:
    result = fidelite.convert(_model(tmp_path, element=element), target="web")
    graph = result.model.main
    assert [t.element.name for t in (*graph.inputs, *graph.outputs)] == [wanted, wanted, "INT32"]
    assert result.verification is not None
    assert result.verification.proven
    assert result.manifest["options"]["target"] == "web"
    assert not [n for n in result.notices if n.code == "N490"]


def test_verify_knows_the_edge(tmp_path: Path) -> None:
    """The manifest says how the file's types lead to the source's, so that another process can prove it again."""
    source, file = _model(tmp_path), tmp_path / "out.tflite"
    fidelite.convert(source, target="web", verify=False).save(file)
    assert fidelite.verify(source, file).proven


def test_uint8_stays(tmp_path: Path) -> None:
    model = graph_model([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
                        [info("x", [1, 4], TensorProto.UINT8)], [info("y", [1, 4], TensorProto.FLOAT)])
    result = fidelite.convert(save(model, tmp_path / "model.onnx"), target="web")
    assert result.model.main.inputs[0].element.name == "UINT8"
    assert "element" not in str(result.edge.inputs)


def test_open_dimensions_are_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(Several) as caught:
        fidelite.convert(_model(tmp_path, ["n", 5]), target="web")
    errors = caught.value.errors
    assert all(isinstance(e, TargetError) and e.code == "F490" for e in errors)
    assert {e.remedy for e in errors} == {"--shape x=1,5"}
    assert len(errors) == 3
    assert fidelite.convert(_model(tmp_path, ["n", 5]), target="web", shapes={"x": (1, 5)}, verify=False).bytes


def test_a_size_that_depends_on_values(tmp_path: Path) -> None:
    model = graph_model([helper.make_node("NonZero", ["x"], ["y"])], [info("x", [4])],
                        [info("y", [1, "n"], TensorProto.INT64)])
    with pytest.raises(TargetError) as caught:
        fidelite.convert(save(model, tmp_path / "model.onnx"), target="web")
    assert "depends on values" in caught.value.remedy


def test_nothing_empty(tmp_path: Path) -> None:
    with pytest.raises(Several, match="no elements") as caught:
        fidelite.convert(_model(tmp_path, [2, 0]), target="web")
    assert {e.code for e in caught.value.errors} == {"F490"}


def test_answers_that_int32_does_not_hold(tmp_path: Path) -> None:
    """A file that wraps is not published: the proof sees what the source answers."""
    from onnx import numpy_helper

    large = numpy_helper.from_array(np.asarray([2**40], np.int64), "large")
    model = graph_model([helper.make_node("Mul", ["x", "large"], ["y"])], [info("x", [4], TensorProto.INT64)],
                        [info("y", [4], TensorProto.INT64)], [large])
    with pytest.raises(TargetError) as caught:
        fidelite.convert(save(model, tmp_path / "model.onnx"), target="web")
    assert caught.value.code == "F491"


def test_inspect_a_file_for_the_web(tmp_path: Path) -> None:
    """A file that was made for another target is told what is wrong with it, with exit code 4."""
    file = tmp_path / "cpu.tflite"
    fidelite.convert(_model(tmp_path), verify=False).save(file)
    told = support.data("inspect", file, "--target", "web", "--json", code=4)
    assert {f["rule"] for f in told["target"]["findings"]} == {"element-types"}
    assert {f["remedy"] for f in told["target"]["findings"]} == {
        "convert the model again: fidelite convert MODEL.onnx --target web"}


def test_operators_nobody_tried_are_noted(tmp_path: Path) -> None:
    file = tmp_path / "cpu.tflite"
    result = fidelite.convert(_model(tmp_path), verify=False)
    result.save(file)
    result.model.main.operators[0].op = "SEGMENT_SUM"
    notes = [f for f in profile_of("web").check(result.model) if f.level == "note"]
    assert [(f.op, f.rule.name) for f in notes] == [("SEGMENT_SUM", "tried-operators")]
    assert [n.code for n in notices_of(profile_of("web"), notes)] == ["N490"]
