"""`--task`: what is filled in, what is written, what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fidelite
from fidelite.errors import FideliteError, Several
from fidelite.tasks.card import read_card
from tests.cli import support
from tests.tasks import networks

IMAGENET = {"": fidelite.Normalization.imagenet()}
PLAIN = {"": fidelite.Normalization()}
FIVE = ["ground", "skin", "hair", "hät", "cloth"]


def _convert(model: Path, task: str = "image-segmenter", **options: Any) -> fidelite.Conversion:
    return fidelite.convert(model, task=task, **({"normalize": IMAGENET} | options))  # type: ignore[typeddict-item, arg-type]


def _card(result: fidelite.Conversion) -> dict[str, Any]:
    card = read_card(result.model.metadata, result.model.files)
    assert card is not None
    return card.to_json()


def test_segmenter(tmp_path: Path) -> None:
    result = _convert(networks.segmenter(tmp_path), labels=FIVE, activation="softmax")
    assert result.verification is not None
    assert result.verification.proven
    assert [t.static_shape for t in result.model.main.inputs] == [(1, 32, 32, 3)]
    assert [t.static_shape for t in result.model.main.outputs] == [(1, 16, 16, 5)]
    assert _card(result) == {"task": "image-segmenter", "labels": FIVE, "activation": "softmax", "mean": [0.0],
                             "std": [1.0], "boxes": None}
    assert result.manifest["options"]["target"] == "mediapipe"
    assert not [n for n in result.notices if n.code.startswith(("N48", "W48"))]


def test_the_file(tmp_path: Path) -> None:
    """Tables, then a zip with the labels: the same bytes each time, read by LiteRT, `zipfile`, `inspect` and `run`."""
    result = _convert(networks.segmenter(tmp_path), labels=FIVE)
    path = result.save(tmp_path / "face.tflite")
    assert path.read_bytes() == result.bytes == _convert(networks.segmenter(tmp_path), labels=FIVE).bytes
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert [(i.filename, i.compress_type, i.date_time) for i in archive.infolist()] == [
            ("labels.txt", zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))]
        assert archive.read("labels.txt").decode("utf-8").splitlines() == FIVE
    seen = fidelite.inspect(path, target="mediapipe")
    assert seen.exit_code == 0
    assert seen.facts["task"]["labels"] == FIVE
    assert seen.facts["files"] == {"labels.txt": len("\n".join(FIVE).encode())}
    assert fidelite.verify(tmp_path / "segmenter.onnx", path).proven
    with fidelite.Runner(path) as runner:
        (found,) = runner(np.zeros((40, 40, 3), np.uint8)).segmentations
    assert set(found.labels) == set(FIVE)
    told = support.fidelite("inspect", path)
    assert "image-segmenter" in told.output
    assert "5 names: ground, skin, hair, hät, cloth" in told.output


def test_labels_from_a_file(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_bytes("\ufeffground\r\nskin\r\nhair\r\nhät\r\ncloth\r\n\r\n".encode())
    told = support.fidelite("convert", networks.segmenter(tmp_path), "--task", "image-segmenter", "--labels", labels,
                            "--normalize", "imagenet", "--activation", "sigmoid", "--json")
    assert told.exit_code == 0, told.output
    task = json.loads(told.output)["result"]["task"]
    assert (task["labels"], task["activation"]) == (FIVE, "sigmoid")


def test_the_first_head_stays(tmp_path: Path) -> None:
    model = networks.segmenter(tmp_path, heads=3)
    result = _convert(model)
    assert [t.name for t in result.model.main.outputs] == ["mask"]
    told = {n.code: n.text for n in result.notices}
    assert "'aux1', 'aux2'" in told["N480"]
    assert {"N481", "N482"} <= set(told)
    other = _convert(model, outputs=["aux2"])
    assert [t.name for t in other.model.main.outputs] == ["aux2"]
    assert "N480" not in {n.code for n in other.notices}


def test_channels_last_stay(tmp_path: Path) -> None:
    """A source that has its channels last already keeps both edges."""
    result = _convert(networks.segmenter(tmp_path, last=True))
    assert [t.static_shape for t in result.model.main.outputs] == [(1, 16, 16, 5)]
    assert not result.edge.outputs
    assert sum(op.op == "TRANSPOSE" for op in result.model.main.operators) == 0


def test_a_mask_of_one_channel_is_warned_of(tmp_path: Path) -> None:
    model = networks.segmenter(tmp_path, classes=1)
    assert "W483" in {n.code for n in _convert(model).notices}
    assert "W483" not in {n.code for n in _convert(model, activation="sigmoid").notices}
    squashed = networks.segmenter(tmp_path, classes=1, tail="Sigmoid")
    assert "W483" not in {n.code for n in _convert(squashed).notices}


def test_classifier_and_embedder(tmp_path: Path) -> None:
    model = networks.classifier(tmp_path)
    labels = [f"kind {i}" for i in range(7)]
    result = _convert(model, "image-classifier", labels=labels)
    assert _card(result)["labels"] == labels
    with fidelite.Runner(result.save(tmp_path / "classifier.tflite")) as runner:
        run = runner(np.zeros((9, 9, 3), np.uint8))
    assert all(label == f"kind {index}" for index, label, _ in run.top["scores"])
    embedder = _convert(model, "image-embedder")
    assert _card(embedder)["task"] == "image-embedder"
    assert "N481" not in {n.code for n in embedder.notices}


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_classifiers_activation_goes_into_the_graph(tmp_path: Path, activation: Any) -> None:
    model = networks.classifier(tmp_path, tail="")
    assert "N484" in {n.code for n in _convert(model, "image-classifier").notices}
    result = _convert(model, "image-classifier", activation=activation)
    assert result.verification is not None
    assert result.verification.proven
    assert "N484" not in {n.code for n in result.notices}
    path = result.save(tmp_path / "classifier.tflite")
    assert fidelite.verify(model, path).proven
    picture = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    with fidelite.Runner(path) as ours, fidelite.Runner(model) as source:
        got = ours.run_arrays({"picture": picture}).outputs["scores"]
        logits = source.run_arrays(result.edge.to_source({"picture": picture})).outputs["scores"].astype(np.float64)
    want = np.exp(logits) / np.exp(logits).sum() if activation == "softmax" else 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_pictures_of_bytes(tmp_path: Path) -> None:
    """uint8 in the file, float32 in the source: MediaPipe hands over what it has, and states no normalisation."""
    result = _convert(networks.segmenter(tmp_path), picture="uint8")
    assert result.verification is not None
    assert result.verification.proven
    assert result.model.main.inputs[0].element.name == "UINT8"
    assert _card(result)["mean"] == []
    path = result.save(tmp_path / "face.tflite")
    plain = _convert(networks.segmenter(tmp_path), verify=False).save(tmp_path / "plain.tflite")
    picture = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    with fidelite.Runner(path) as ours, fidelite.Runner(plain) as other:
        np.testing.assert_allclose(ours(picture).outputs["mask"], other(picture).outputs["mask"], atol=1e-5)
    with pytest.raises(FideliteError) as caught:
        _convert(_uint8(tmp_path), picture="float32", normalize={}, verify=False)
    assert caught.value.code == "F277"


def _uint8(folder: Path) -> Path:
    """A source that takes uint8 itself."""
    import onnx

    model = onnx.load(networks.segmenter(folder, last=True))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["picture"], ["wide"], to=onnx.TensorProto.FLOAT))
    model.graph.node[1].input[0] = "wide"
    onnx.save(model, folder / "bytes.onnx")
    return folder / "bytes.onnx"


def test_a_source_that_takes_bytes_needs_no_normalisation(tmp_path: Path) -> None:
    result = _convert(_uint8(tmp_path), normalize={})
    assert result.verification is not None
    assert result.verification.proven
    assert _card(result)["mean"] == []


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("boxes", "scale"), [("cxcywh", 1.0), ("cycxhw:pixels", 32.0)])
def test_detector_without_suppression(tmp_path: Path, first: bool, boxes: str, scale: float) -> None:
    model = networks.detector(tmp_path, boxes_first=first)
    result = _convert(model, "object-detector", labels=["a", "b", "c"], boxes=boxes)
    assert result.verification is not None
    assert result.verification.proven
    assert [t.static_shape for t in result.model.main.outputs] == [(1, 64, 4), (1, 64, 3)]
    assert _card(result)["boxes"] == {"order": "cycxhw", "width": scale, "height": scale}
    path = result.save(tmp_path / "detector.tflite")
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    with fidelite.Runner(path) as ours, fidelite.Runner(model) as source:
        got = ours.run_arrays({"picture": picture}).outputs["boxes"]
        fed = result.edge.to_source({"picture": picture})
        want = source.run_arrays(fed).outputs["boxes"]
    want = want.transpose(0, 2, 1) if first else want
    order = [1, 0, 3, 2] if boxes == "cxcywh" else [0, 1, 2, 3]
    np.testing.assert_allclose(got, want[..., order], atol=1e-5)


@pytest.mark.parametrize("boxes", ["xyxy", "yxyx"])
def test_detector_with_suppression(tmp_path: Path, boxes: str) -> None:
    result = _convert(networks.detector(tmp_path, outputs=4), "object-detector", labels=["a", "b", "c"], boxes=boxes)
    assert _card(result)["boxes"] == {"order": boxes, "width": 1.0, "height": 1.0}
    assert [t.name for t in result.model.main.outputs] == ["boxes", "classes", "best", "number"]


def test_normalisation_in_the_metadata_of_others(tmp_path: Path) -> None:
    """A file whose metadata state (x - 127.5) / 127.5, as others write them: `run` computes it."""
    result = _convert(networks.classifier(tmp_path), "image-classifier", normalize=PLAIN, verify=False)
    from dataclasses import replace

    from fidelite.tasks.card import attach

    card = read_card(result.model.metadata, result.model.files)
    assert card is not None
    attach(replace(card, mean=(127.5,), std=(127.5,)), result.model)
    stream = io.BytesIO()
    from fidelite.write.flatbuffer import write_model

    write_model(result.model, stream)
    path = tmp_path / "other.tflite"
    path.write_bytes(stream.getvalue())
    with fidelite.Runner(path) as runner:
        run = runner(np.full((32, 32, 3), 255, np.uint8))
    assert run.inputs["picture"].max() == 1.0
    assert not run.notices


Make = Callable[[Path], Path]

REFUSED: dict[str, tuple[str, str, Make, dict[str, Any]]] = {
    "no such task": ("F270", "image-painter", networks.segmenter, {}),
    "another target": ("F270", "image-segmenter", networks.segmenter, {"target": "gpu"}),
    "labels without a task": ("F270", "", networks.segmenter, {"labels": FIVE}),
    "no labels": ("F271", "image-segmenter", networks.segmenter, {"labels": ["", " "]}),
    "an empty label": ("F271", "image-segmenter", networks.segmenter, {"labels": ["a", "", "c", "d", "e"]}),
    "no file of labels": ("F271", "image-segmenter", networks.segmenter, {"labels": "nowhere/labels.txt"}),
    "labels that do not fit a mask": ("F272", "image-segmenter", networks.segmenter, {"labels": ["a", "b"]}),
    "labels that do not fit classes": ("F272", "image-classifier", networks.classifier, {"labels": FIVE}),
    "labels that do not fit boxes": ("F272", "object-detector", networks.detector,
                                     {"labels": FIVE, "boxes": "cxcywh"}),
    "labels for an embedding": ("F272", "image-embedder", networks.classifier, {"labels": FIVE}),
    "no normalisation": ("F273", "image-segmenter", networks.segmenter, {"normalize": {}}),
    "no such activation": ("F274", "image-segmenter", networks.segmenter, {"activation": "relu"}),
    "an activation that a task has not": ("F274", "image-embedder", networks.classifier, {"activation": "softmax"}),
    "softmax of probabilities": ("F274", "image-classifier", networks.classifier, {"activation": "softmax"}),
    "softmax for boxes": ("F274", "object-detector", networks.detector, {"activation": "softmax", "boxes": "cxcywh"}),
    "softmax twice": ("F274", "image-segmenter", lambda f: networks.segmenter(f, tail="Softmax"),
                      {"activation": "softmax"}),
    "softmax of one channel": ("F274", "image-segmenter", lambda f: networks.segmenter(f, classes=1),
                               {"activation": "softmax"}),
    "no order of boxes": ("F275", "object-detector", networks.detector, {}),
    "an order that needs arithmetic": ("F275", "object-detector", networks.detector, {"boxes": "xyxy"}),
    "an unknown order": ("F275", "object-detector", networks.detector, {"boxes": "xywh"}),
    "corners in pixels": ("F275", "object-detector", networks.detector, {"boxes": "xyxy:pixels"}),
    "no such type of picture": ("F277", "image-segmenter", networks.segmenter, {"picture": "int8"}),
    "channels first": ("F276", "image-segmenter", networks.segmenter, {"layout": {"mask": "nchw"}}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    code, task, make, options = REFUSED[case]
    with pytest.raises(FideliteError) as caught:
        _convert(make(tmp_path), task, verify=False, **options)
    errors = caught.value.errors
    assert code in {e.code for e in errors}, [str(e) for e in errors]
    assert all(e.remedy for e in errors)


def test_everything_at_once(tmp_path: Path) -> None:
    """Two inputs, grey, labels that do not fit: one run tells all."""
    with pytest.raises(Several) as caught:
        _convert(networks.classifier(tmp_path, channels=1), "image-classifier", labels=FIVE, normalize={}, verify=False)
    assert {e.code for e in caught.value.errors} == {"F272", "F273", "F485"}
