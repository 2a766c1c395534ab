"""The files of `--task` in MediaPipe's Python package: what comes out is what LiteRT computes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fidelite
from fidelite.examples.face_parsing import MODEL_PATH
from fidelite.examples.face_parsing.labels import CLASSES
from fidelite.tasks.card import read_card
from tests.cli import support
from tests.docs.blocks import blocks
from tests.extras.mediapipe.files import answers, face_model, face_picture, sigmoid, softmax
from tests.house import ROOT
from tests.tasks import networks

# MediaPipe has no types that pyright reads.
mp: Any = importlib.import_module("mediapipe")
vision: Any = importlib.import_module("mediapipe.tasks.python.vision")
BaseOptions: Any = importlib.import_module("mediapipe.tasks.python").BaseOptions

PLAIN = {"": fidelite.Normalization()}
IMAGENET = {"": fidelite.Normalization.imagenet()}


def _segment(model: Path, picture: Path) -> tuple[Any, Any, list[str]]:
    options = vision.ImageSegmenterOptions(base_options=BaseOptions(model_asset_path=str(model)),
                                           output_category_mask=True, output_confidence_masks=True)
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        result = segmenter.segment(mp.Image.create_from_file(str(picture)))
        category = result.category_mask.numpy_view().squeeze().copy()
        masks = np.stack([m.numpy_view().squeeze() for m in result.confidence_masks], axis=-1)
        return category, masks, list(segmenter.labels)


@pytest.mark.parametrize("options", [
    {}, {"activation": "softmax"}, {"activation": "sigmoid"}, {"picture": "uint8"}, {"precision": "float16"},
    {"precision": "dynamic-int8"},
], ids=str)
def test_segmenter(tmp_path: Path, options: dict[str, Any]) -> None:
    """Masks of the trained network on a drawn face, equal to LiteRT's."""
    model, picture = face_model(tmp_path, **options), face_picture(tmp_path / "face.png")
    category, masks, labels = _segment(model, picture)
    (scores,) = answers(model, picture).values()
    assert labels == list(CLASSES)
    np.testing.assert_array_equal(category, scores[0].argmax(axis=-1))
    assert len(np.unique(category)) > 10
    squash = {"softmax": softmax, "sigmoid": sigmoid}.get(options.get("activation", ""))
    np.testing.assert_allclose(masks, scores[0] if squash is None else squash(scores[0]), atol=1e-4)


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    """Resized by MediaPipe itself: not the same pixels, but nearly the same mask."""
    model = face_model(tmp_path)
    picture = face_picture(tmp_path / "face.png", size=700, box=(30, 0, 670, 700))
    category, _, _ = _segment(model, picture)
    with fidelite.Runner(model) as runner:
        (ours,) = runner(picture).segmentations
    assert category.shape == ours.mask.shape == (700, 640)
    assert (category == ours.mask).mean() > 0.97


@pytest.mark.parametrize("classes", [1, 5])
def test_other_segmenters(tmp_path: Path, classes: int) -> None:
    """A seeded network with its mask at half the size, and one of a single channel."""
    names = [f"kind {i}" for i in range(classes)]
    result = fidelite.convert(networks.segmenter(tmp_path, classes, heads=2), task="image-segmenter", labels=names,
                              normalize=IMAGENET, activation="sigmoid")
    model = result.save(tmp_path / "small.tflite")
    picture = _noise(tmp_path, networks.SIDE)
    category, masks, labels = _segment(model, picture)
    (scores,) = answers(model, picture).values()
    assert labels == names
    # The corners of a mask are at the corners of the picture: there is nothing to interpolate.
    corners = np.ix_([0, -1], [0, -1])
    expected = scores[0][corners]
    if classes == 1:
        want = np.where(expected[..., 0] > 0, 0, 255)  # sigmoid(0) is 0.5
    else:
        want = expected.argmax(axis=-1)
    np.testing.assert_array_equal(category[corners], want)
    assert masks.shape == (networks.SIDE, networks.SIDE, classes)
    assert masks.min() >= 0
    assert masks.max() <= 1


def _noise(folder: Path, side: int, seed: int = 3) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    return folder / "noise.png"


@pytest.mark.parametrize("activation", ["none", "softmax", "sigmoid"])
def test_classifier(tmp_path: Path, activation: Any) -> None:
    names = [f"sort {i}" for i in range(7)]
    result = fidelite.convert(networks.classifier(tmp_path, tail=""), task="image-classifier", labels=names,
                              normalize=IMAGENET, activation=activation)
    model, picture = result.save(tmp_path / "classifier.tflite"), _noise(tmp_path, networks.SIDE)
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(model)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        (head,) = classifier.classify(mp.Image.create_from_file(str(picture))).classifications
    scores = answers(model, picture)["scores"][0]
    found = {c.index: (c.category_name, c.score) for c in head.categories}
    assert {i: name for i, (name, _) in found.items()} == dict(enumerate(names))
    np.testing.assert_allclose([found[i][1] for i in range(7)], scores, atol=1e-5)
    assert (activation == "softmax") == (abs(float(scores.sum()) - 1) < 1e-4)


def test_embedder(tmp_path: Path) -> None:
    result = fidelite.convert(networks.classifier(tmp_path, 24, tail="Tanh"), task="image-embedder", normalize=PLAIN)
    model, picture = result.save(tmp_path / "embedder.tflite"), _noise(tmp_path, networks.SIDE)
    options = vision.ImageEmbedderOptions(base_options=BaseOptions(model_asset_path=str(model)))
    with vision.ImageEmbedder.create_from_options(options) as embedder:
        (embedding,) = embedder.embed(mp.Image.create_from_file(str(picture))).embeddings
    np.testing.assert_allclose(embedding.embedding, answers(model, picture)["scores"][0], atol=1e-5)
    assert embedding.head_name == "scores"


def _detect(model: Path, picture: Path) -> list[Any]:
    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=str(model)), max_results=100)
    with vision.ObjectDetector.create_from_options(options) as detector:
        return list(detector.detect(mp.Image.create_from_file(str(picture))).detections)


def _box(found: Any) -> list[int]:
    """Left, top, width, height, in whole pixels."""
    box = found.bounding_box
    return [box.origin_x, box.origin_y, box.width, box.height]


def _whole(found: Any, boxes: Any) -> Any:
    """Whether `boxes`, left, top, width and height, are those of a detection before MediaPipe cut them to whole pixels
    and its left upper corner into the picture."""
    whole = np.asarray(boxes)
    inside = np.concatenate([np.clip(whole[..., :2], 0, networks.SIDE), whole[..., 2:]], axis=-1)
    rest = inside - _box(found)
    return ((rest > -0.01) & (rest < 1.01)).all(axis=-1)


@pytest.mark.parametrize("order", ["cxcywh", "cycxhw"])
@pytest.mark.parametrize("activation", ["none", "sigmoid"])
@pytest.mark.parametrize("unit", ["", ":pixels"])
def test_detector_whose_overlaps_mediapipe_suppresses(tmp_path: Path, order: str, activation: Any, unit: str) -> None:
    """Each detection is the box, best class and score of one cell; the best of all is among them."""
    source = networks.detector(tmp_path, boxes_first=True, logits=activation == "sigmoid")
    result = fidelite.convert(source, task="object-detector", labels=["a", "b", "c"], normalize=IMAGENET,
                              boxes=order + unit, activation=activation)  # type: ignore[arg-type]
    model, picture = result.save(tmp_path / "detector.tflite"), _noise(tmp_path, networks.SIDE)
    found = _detect(model, picture)
    assert found
    feeds = result.edge.to_source({"picture": np.asarray(Image.open(picture), np.float32)[None]})
    with fidelite.Runner(source) as runner:
        boxes, scores = (a[0].T for a in runner.run_arrays(feeds).outputs.values())
    cx, cy, w, h = boxes.T if order == "cxcywh" else boxes.T[[1, 0, 3, 2]]
    scale = 1.0 if unit else networks.SIDE
    places = np.stack([cx - w / 2, cy - h / 2, w, h], axis=-1) * scale
    shown = sigmoid(scores) if activation == "sigmoid" else scores
    assert found[0].categories[0].score == pytest.approx(shown.max(), abs=1e-5)
    for one in found:
        category = one.categories[0]
        index = "abc".index(category.category_name)
        best = (shown.argmax(axis=-1) == index) & (np.abs(shown.max(axis=-1) - category.score) < 1e-5)
        assert (_whole(one, places) & best).any(), one


@pytest.mark.parametrize("order", ["xyxy", "yxyx"])
def test_detector_that_suppresses_itself(tmp_path: Path, order: str) -> None:
    result = fidelite.convert(networks.detector(tmp_path, outputs=4), task="object-detector", labels=["a", "b", "c"],
                              normalize=IMAGENET, boxes=order)
    model, picture = result.save(tmp_path / "detector.tflite"), _noise(tmp_path, networks.SIDE)
    found = _detect(model, picture)
    boxes, classes, scores, number = (a[0] if a.ndim > 1 else a for a in answers(model, picture).values())
    corners = (boxes if order == "xyxy" else boxes[:, [1, 0, 3, 2]]) * networks.SIDE
    rows = [i for i in range(int(number[0])) if (corners[i, 2:] >= corners[i, :2]).all()]
    assert rows
    assert len(found) == len(rows)
    places = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=-1)
    for i in rows:
        same = [d for d in found if _whole(d, places[i]) and d.categories[0].category_name == "abc"[int(classes[i])]
                and d.categories[0].score == pytest.approx(scores[i], abs=1e-5)]
        assert len(same) == 1, i


# -- the rules are MediaPipe's own: what we refuse, it refuses or misreads


def _bare(folder: Path, changed: dict[str, Any] | None = None, *, drop: Sequence[str] = (), **options: Any) -> Path:
    """A segmenter's file without some of what it should have."""
    from dataclasses import replace

    from fidelite.tasks.card import attach
    from fidelite.write.flatbuffer import write_model

    result = fidelite.convert(networks.segmenter(folder), verify=False, **options)
    if options.get("task"):
        card = read_card(result.model.metadata, result.model.files)
        assert card is not None
        attach(replace(card, **(changed or {})), result.model)
        for name in drop:
            result.model.files.pop(name)
    path = folder / "bare.tflite"
    with path.open("wb") as stream:
        write_model(result.model, stream)
    return path


FIVE = ["a", "b", "c", "d", "e"]
TASK: dict[str, Any] = {"task": "image-segmenter", "labels": FIVE, "normalize": PLAIN}


@pytest.mark.parametrize(("rule", "make"), [
    ("one-picture", lambda f: _bare(f)),
    ("normalization", lambda f: _bare(f, {"mean": (), "std": ()}, **TASK)),
    ("normalization", lambda f: _bare(f, {"mean": (1.0, 2.0, 3.0), "std": (1.0, 1.0, 1.0)}, **TASK)),
], ids=["channels first", "no normalisation", "one per channel"])
def test_what_we_refuse_mediapipe_refuses(tmp_path: Path, rule: str, make: Any) -> None:
    path = make(tmp_path)
    told = fidelite.inspect(path, target="mediapipe").target
    assert told is not None
    assert rule in {f["rule"] for f in told["findings"] if f["level"] == "refused"}
    with pytest.raises((RuntimeError, ValueError, OSError)):
        _segment(path, _noise(tmp_path, networks.SIDE))


def test_labels_without_the_file_are_lost_in_silence(tmp_path: Path) -> None:
    path = _bare(tmp_path, drop=["labels.txt"], **TASK)
    _, _, labels = _segment(path, _noise(tmp_path, networks.SIDE))
    assert labels == []
    told = fidelite.inspect(path, target="mediapipe").target
    assert told is not None
    assert "labels-file" in {f["rule"] for f in told["findings"]}


# -- the page


def test_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and the Python of docs/mediapipe.md, in their order."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "mediapipe.md"
    (tmp_path / "demo-output").mkdir()
    (tmp_path / "demo-output" / "face_parsing.onnx").write_bytes(MODEL_PATH.read_bytes())
    face_picture(tmp_path / "face.png")
    labels, segment = blocks(page, "python")
    names: dict[str, Any] = {}
    exec(compile(labels.text, page.name, "exec"), names)
    line = next(line for line in blocks(page, "sh")[0].text.splitlines() if line.startswith("fidelite convert"))
    told = support.fidelite(*line.split()[1:])
    assert told.exit_code == 0, told.output
    exec(compile("\n" * (segment.line - 1) + segment.text, page.name, "exec"), names)
    (scores,) = answers(Path("face.tflite"), Path("face.png")).values()
    np.testing.assert_array_equal(names["classes"].squeeze(), scores[0].argmax(axis=-1))
    np.testing.assert_allclose(names["skin"].squeeze(), softmax(scores[0])[..., CLASSES.index("skin")], atol=1e-4)


def test_the_version_on_the_page_is_the_one_that_runs() -> None:
    text = (ROOT / "docs" / "mediapipe.md").read_text("utf-8")
    assert re.search(rf"run with {re.escape(mp.__version__)}\)", text)
