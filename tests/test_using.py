"""The description of how a model is used, which `fidelite run` follows and the page gets as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fidelite
from fidelite.errors import LoadError
from fidelite.options import LayoutName, Normalization
from tests.cli import support


def _converted(model: Path, **options: object) -> Path:
    file = model.with_suffix(".tflite")
    arguments: dict[str, object] = {"verify": False, "target": "web", **options}
    fidelite.convert(model, **arguments).save(file)  # type: ignore[arg-type]
    return file


@pytest.mark.parametrize("layout", ["source", "nhwc"])
def test_a_segmentation(tmp_path: Path, layout: LayoutName) -> None:
    model = support.segmenter(tmp_path)
    names = {p.name for p in (*fidelite.Runner(model).inputs, *fidelite.Runner(model).outputs)}
    file = _converted(model, layout=dict.fromkeys(names, layout), normalize={"": Normalization.imagenet()})
    told = fidelite.usage(file)
    assert json.loads(json.dumps(told)) == told
    picture = told["picture"]
    assert (picture["height"], picture["width"], picture["channels"]) == (32, 32, 3)
    assert picture["layout"] == ("nhwc" if layout == "nhwc" else "nchw")
    assert picture["normalization"] == {"mean": [0.0], "std": [1.0], "scale": 1.0}  # the graph does it itself
    output = told["outputs"][0]
    assert (output["kind"], output["axis"]) == ("scores", 3 if layout == "nhwc" else 1)
    assert len(output["legend"]["labels"]) == len(output["legend"]["palette"]) == 4


def test_a_guess_is_told(tmp_path: Path) -> None:
    picture = fidelite.usage(_converted(support.segmenter(tmp_path)))["picture"]
    assert picture["normalization"]["std"] == [255.0]
    assert [n["code"] for n in picture["notices"]] == ["W230"]


def test_indices_and_their_names(tmp_path: Path) -> None:
    model = support.segmenter(tmp_path)
    name = fidelite.Runner(model).outputs[0].name
    output = fidelite.usage(_converted(model, argmax=(name,)))["outputs"][0]
    assert output["kind"] == "indices"
    assert output["legends"]["19"]["labels"][1] == "skin"
    labelled = fidelite.usage(model.with_suffix(".tflite"), labels=["sky", "sea"])["outputs"][0]
    assert labelled["legend"]["labels"][:3] == ["sky", "sea", "class 2"]
    assert labelled["legends"] == {}


def test_classes(tmp_path: Path) -> None:
    file = _converted(support.classifier(tmp_path))
    labels = [f"l{i}" for i in range(6)]
    told = fidelite.usage(file, labels=labels)
    assert [(o["kind"], o.get("labels")) for o in told["outputs"]] == [("classes", labels)]


def test_no_picture_goes_in(tmp_path: Path) -> None:
    from onnx import helper

    from tests.source.models import graph_model, info, save

    model = graph_model([helper.make_node("Relu", ["x"], ["y"])], [info("x", [1, 4])], [info("y", [1, 4])])
    told = fidelite.usage(_converted(save(model, tmp_path / "m.onnx")))
    assert told["picture"] is None
    assert "[1, 3, H, W]" in told["why"]


def test_the_runner_follows_it(tmp_path: Path) -> None:
    """Values by the description are the values that the Runner feeds."""
    file = _converted(support.segmenter(tmp_path))
    use = fidelite.usage(file, normalize={"": Normalization.imagenet()})["picture"]
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with fidelite.Runner(file, normalize={"": Normalization.imagenet()}) as runner:
        fed = runner(pixels).inputs[use["name"]]
    facts = use["normalization"]
    values = (pixels.astype(np.float64) * facts["scale"] - facts["mean"]) / facts["std"]
    np.testing.assert_array_equal(fed, np.moveaxis(values, 2, 0)[None].astype(np.float32))


def test_a_file_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"\xff" * 4 + b"TFL3" + b"\xff" * 64)
    with pytest.raises(LoadError):
        fidelite.usage(tmp_path / "x.tflite")
