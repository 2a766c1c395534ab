"""`fidelite inspect`."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from tests.cli.support import classifier, data, fidelite, flat, segmenter, unknown_op
from tests.runtime import tiny

BROKEN = "face_parsing_temp.onnx"


def test_weights_that_are_missing_come_first(shared: Path) -> None:
    shown = flat(fidelite("inspect", shared / "data" / BROKEN, code=3).output)
    first, second = shown.index("error F310"), shown.index("error F340")
    assert first < second < shown.index("Inputs and outputs")
    for told in (
        "56 of its 67 tensors (53,168,896 bytes)", "face_parsing_temp.onnx.data", "are the graph only",
        "about 53 MB, and about 13 MB with int8 weights", "'relu_12_bias' has 128 where 512 are needed",
        "node_Conv_480",
        "onnxscript 0.5.0 to 0.5.6 have it", "taken as 1", "13.3 million", "pytorch 2.9.0",
    ):  # fmt: skip
        assert told in shown, told


def test_the_same_as_data(shared: Path) -> None:
    found = data("inspect", shared / "data" / BROKEN, code=3)
    assert [p["code"] for p in found["problems"]] == ["F310", "F340"]
    assert found["missing"][0]["tensor_bytes"] == 53_168_896
    assert found["costs"]["int8"]["file_bytes"] < found["costs"]["float32"]["file_bytes"] / 3.9
    hopes = {e["what"]: e for e in found["expectations"]}
    assert hopes["file size"]["int8_bytes"] > 13_000_000
    assert hopes["memory"]["output_bytes"] == 3 * 19 * 512 * 512 * 4
    ops = {row["op"]: row for row in found["ops"]}
    assert ops["Conv"]["count"] == 36
    assert ops["Relu"]["converts"] == "yes"


def test_weights_under_another_name_are_offered(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "data" / BROKEN, tmp_path / BROKEN)
    with (tmp_path / "other.bin").open("wb") as file:
        file.truncate(data("inspect", tmp_path / BROKEN, code=3)["missing"][0]["expected_bytes"])
    assert "--weights" in fidelite("inspect", tmp_path / BROKEN, code=3).output
    found = data("inspect", tmp_path / BROKEN, "--weights", tmp_path / "other.bin", code=3)
    assert [p["code"] for p in found["problems"]] == ["F340"]


def test_a_sound_model(tmp_path: Path) -> None:
    model = segmenter(tmp_path)
    shown = flat(fidelite("inspect", model).output)
    assert "converts: " in shown
    assert "Conv 2 11 yes" in shown
    found = data("inspect", model)
    assert found["problems"] == []
    assert found["conversion"]["converts"] is True
    assert found["expectations"] == []  # it is small
    assert {"float32", "float16", "dynamic-int8"} <= set(found["precisions"])


def test_shapes(tmp_path: Path) -> None:
    path = classifier(tmp_path)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(model, path)
    assert data("inspect", path)["inputs"][0]["shape"] == ["n", 3, 16, 16]
    assert data("inspect", path, "--shape", "x=2,3,16,16")["inputs"][0]["shape"] == [2, 3, 16, 16]
    fidelite("inspect", path, "--shape", "x=2,4,16,16", code=2)


def test_operators_that_do_not_convert(tmp_path: Path) -> None:
    shown = flat(fidelite("inspect", unknown_op(tmp_path)).output)
    assert "not convertible: my.domain::Mystery" in shown
    assert data("inspect", unknown_op(tmp_path))["ops"][0]["converts"] == "no"


def test_tflite(tmp_path: Path) -> None:
    fidelite("convert", segmenter(tmp_path), "--argmax", "scores")
    found = data("inspect", tmp_path / "segmenter.tflite")
    assert found["kind"] == "tflite"
    assert found["inputs"][0]["name"] == "input"
    assert found["ops"]["CONV_2D"] == 2
    assert found["custom_ops"] == []
    assert found["manifest"]["proof"]["file"]["verdict"] == "proven"
    assert found["weights"]["parameters"] >= 8 * 27
    shown = flat(fidelite("inspect", tmp_path / "segmenter.tflite").output)
    assert "proven against ONNX Runtime on 3 samples" in shown


def test_foreign_tflite(tmp_path: Path) -> None:
    path = tmp_path / "add.tflite"
    path.write_bytes(tiny.add_model())
    found = data("inspect", path)
    assert [(e["name"], e["shape"]) for e in found["inputs"]] == [("x", [1, 4])]
    assert found["manifest"] is None


def test_hollow_and_damaged_tflite(tmp_path: Path) -> None:
    path = tmp_path / "hollow.tflite"
    path.write_bytes(tiny.tflite([tiny.T("x", (1,))], [], [0], [0]))
    shown = flat(fidelite("inspect", path, code=3).output)
    assert "F354" in shown
    assert "it has no operators" in shown
    assert "fidelite convert model.onnx" in shown
    path.write_bytes(tiny.add_model()[:60])
    assert "F308" in fidelite("inspect", path, code=3).output
