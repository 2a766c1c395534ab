"""`fidelite run` and `benchmark`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fidelite as package
from tests.cli.support import classifier, data, fidelite, flat, segmenter
from tests.runtime import tiny


@pytest.fixture
def photo(awkward_folder: Path) -> Path:
    path = awkward_folder / "f\u00e4ce \u6a21.jpg"
    x = np.linspace(0, 255, 50, dtype=np.uint8)
    Image.fromarray(np.stack([np.tile(x, (40, 1))] * 3, axis=2)).save(path)
    return path


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_segmentation(kind: str, photo: Path, tmp_path: Path) -> None:
    model = segmenter(tmp_path)
    if kind == "tflite":
        fidelite("convert", model)
    shown = flat(fidelite("run", model.with_suffix(f".{kind}"), "--input", photo, "-o", tmp_path / "out").output)
    assert "resized from 50 x 40 to 32 x 32: bilinear" in shown
    assert "W230" in shown
    mask = np.asarray(Image.open(tmp_path / "out" / f"{photo.stem}.mask.png"))
    assert mask.shape == (40, 50)
    assert mask.max() < 4
    with Image.open(tmp_path / "out" / f"{photo.stem}.colour.png") as colour:
        assert colour.size == (50, 40)
    with Image.open(tmp_path / "out" / f"{photo.stem}.overlay.png") as overlay:
        assert overlay.width > 50


def test_both_runtimes_see_the_same(photo: Path, tmp_path: Path) -> None:
    model = segmenter(tmp_path)
    fidelite("convert", model, "--normalize", "imagenet", "--layout", "input=nhwc", "--argmax", "scores")
    fidelite("run", model, "--input", photo, "--normalize", "imagenet", "-o", tmp_path / "a")
    shown = fidelite("run", model.with_suffix(".tflite"), "--input", photo, "-o", tmp_path / "b").output
    assert "the model normalises them itself" in flat(shown)
    assert "W230" not in shown
    masks = [np.asarray(Image.open(tmp_path / folder / f"{photo.stem}.mask.png")) for folder in "ab"]
    assert masks[0].shape == masks[1].shape
    assert (masks[0] == masks[1]).mean() > 0.9  # scores resized, then the largest; or the largest, then resized


def test_data_and_labels(photo: Path, tmp_path: Path) -> None:
    model = segmenter(tmp_path)
    labels = tmp_path / "labels.txt"
    labels.write_text("void\nsky\n\u00e4rm\n\u6a21\n", "utf-8")
    found = data("run", model, "--input", photo, "--labels", labels, "-o", tmp_path)
    assert found["runs"][0]["notices"][0]["code"] == "W230"
    shown = {c["label"] for c in found["runs"][0]["segmentations"][0]["classes"]}
    assert shown <= {"void", "sky", "\u00e4rm", "\u6a21"}
    assert len(found["written"]) == 3
    labels.write_text("one\ntwo\n", "utf-8")
    assert "F245" in fidelite("run", model, "--input", photo, "--labels", labels, code=2).output
    assert "F249" in fidelite("run", model, "--input", photo, "--labels", tmp_path / "none", code=2).output


def test_nineteen_classes_have_names(photo: Path, tmp_path: Path) -> None:
    found = data("run", segmenter(tmp_path, 19), "--input", photo, "-o", tmp_path)
    labels = {c["index"]: c["label"] for c in found["runs"][0]["segmentations"][0]["classes"]}
    from fidelite.examples.face_parsing import CLASSES

    assert labels
    assert all(CLASSES[index] == label for index, label in labels.items())


def test_classification(photo: Path, tmp_path: Path) -> None:
    shown = flat(fidelite("run", classifier(tmp_path), "--input", photo, "--scale", "1/255").output)
    assert "Largest of 'y'" in shown
    assert "normalised: (x * 0.00392157 - 0) / 1" in shown
    assert "W230" not in shown


def test_random_is_the_same_each_time(tmp_path: Path) -> None:
    model = classifier(tmp_path)
    first = data("run", model, "--random", "--seed", "3")["runs"][0]["outputs"]
    assert first == data("run", model, "--random", "--seed", "3")["runs"][0]["outputs"]
    assert first != data("run", model, "--random")["runs"][0]["outputs"]


def test_arrays(tmp_path: Path) -> None:
    model = classifier(tmp_path)
    np.savez(tmp_path / "in.npz", x=np.random.default_rng(0).random((2, 1, 3, 16, 16), np.float32))
    found = data("run", model, "--input", tmp_path / "in.npz", "--save", tmp_path / "out.npz")
    assert len(found["runs"]) == 2
    assert np.load(tmp_path / "out.npz")["y"].shape == (2, 1, 6)


def test_what_cannot_be_run(photo: Path, tmp_path: Path) -> None:
    model = classifier(tmp_path)
    assert "F248" in fidelite("run", model, code=2).output
    assert "F248" in fidelite("run", model, "--input", photo, "--random", code=2).output
    assert "F231" in fidelite("run", model, "--input", tmp_path / "none.jpg", code=2).output
    assert "F232" in fidelite("run", model, "--input", model, code=2).output
    assert "F306" in fidelite("run", tmp_path / "none.onnx", "--random", code=3).output
    path = tmp_path / "add.tflite"
    path.write_bytes(tiny.add_model())
    assert "F243" in fidelite("run", path, "--input", photo, code=2).output


def test_layout_where_the_shape_does_not_tell(tmp_path: Path) -> None:
    path = tmp_path / "add.tflite"
    path.write_bytes(tiny.add_model(shape=(1, 3, 8, 3)))
    picture = tmp_path / "p.png"
    Image.new("RGB", (3, 8), (255, 0, 0)).save(picture)
    assert "N243" in fidelite("run", path, "--input", picture, "-o", tmp_path).output
    found = data("run", path, "--input", picture, "--layout", "x=nhwc", "--scale", "1", "-o", tmp_path)
    assert found["runs"][0]["notices"] == []
    assert "resized from 3 x 8 to 8 x 3" in found["runs"][0]["steps"][0]


def test_runner(photo: Path, tmp_path: Path) -> None:
    with package.Runner(segmenter(tmp_path), normalize={"": package.Normalization.imagenet()}) as runner:
        run = runner(photo)
        again = runner(Image.open(photo))
        array = runner(np.asarray(Image.open(photo)))
    assert run.outputs["scores"].shape == (1, 4, 32, 32)
    np.testing.assert_array_equal(run.outputs["scores"], again.outputs["scores"])
    np.testing.assert_array_equal(run.outputs["scores"], array.outputs["scores"])
    assert run.segmentations[0].mask.shape == (40, 50)
    assert run.notices == []
    with Image.open(photo) as image:
        small = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    expected = ((small / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(run.inputs["input"], expected, rtol=1e-5, atol=1e-6)


def test_benchmark(tmp_path: Path) -> None:
    model = classifier(tmp_path)
    fidelite("convert", model)
    files = [model, model.with_suffix(".tflite")]
    found = data("benchmark", *files, "--runs", "2", "--rounds", "2")
    assert [m["runtime"] for m in found["models"]] == ["ONNX Runtime", "LiteRT"]
    for m in found["models"]:
        assert m["runs"] == 4
        assert 0 < m["min_seconds"] <= m["median_seconds"] <= m["p90_seconds"]
    assert found["models"][1]["xnnpack"]["total"] > 0
    report = tmp_path / "b.html"
    shown = flat(fidelite("benchmark", *files, "--runs", "1", "--rounds", "1", "--report", report).output)
    assert "LiteRT" in shown
    assert "classifier.tflite" in report.read_text("utf-8")
    assert "F247" in fidelite("benchmark", model, "--shape", "z=1", code=2).output
    fidelite("benchmark", code=2)
    fidelite("benchmark", tmp_path / "none.onnx", code=3)
