"""The page of docs/mediapipe.md in headless Chromium, and masks in `@mediapipe/tasks-vision` against LiteRT's."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fidelite.examples.face_parsing.labels import CLASSES
from tests.docs.blocks import blocks
from tests.extras.browser import Browser, serving
from tests.extras.mediapipe.files import answers, face_model, face_picture, softmax
from tests.house import ROOT

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "node_modules" / "@mediapipe" / "tasks-vision"
PAGE = ROOT / "docs" / "mediapipe.md"

# What a page would do to get the numbers themselves; they come back as base64.
SEGMENT = """async () => {
  const { FilesetResolver, ImageSegmenter } = await import("./vision_bundle.mjs");
  const text = (bytes) => {
    let found = "";
    for (let i = 0; i < bytes.length; i += 32768) found += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(found);
  };
  const segmenter = await ImageSegmenter.createFromOptions(await FilesetResolver.forVisionTasks("./wasm"), {
    baseOptions: { modelAssetPath: "face.tflite", delegate: "CPU" }, runningMode: "IMAGE",
    outputCategoryMask: true, outputConfidenceMasks: true,
  });
  const image = new Image();
  image.src = "face.png";
  await image.decode();
  const result = segmenter.segment(image);
  return {
    labels: segmenter.getLabels(), width: result.categoryMask.width, height: result.categoryMask.height,
    category: text(result.categoryMask.getAsUint8Array()),
    masks: result.confidenceMasks.map((mask) => text(new Uint8Array(mask.getAsFloat32Array().slice().buffer))),
  };
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the page wants it: the package's files, the page, the model, a picture."""
    assert PACKAGE.is_dir(), "npm's packages are missing: make test-extra-mediapipe installs them"
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(PACKAGE / "vision_bundle.mjs", folder)
    shutil.copytree(PACKAGE / "wasm", folder / "wasm")
    (block,) = blocks(PAGE, "html")
    (folder / "index.html").write_text(block.text, encoding="utf-8")
    face_model(folder, activation="softmax")
    face_picture(folder / "face.png")
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Generator[str]:
    with serving(site) as found:
        yield found


def test_masks_are_those_of_litert(site: Path, address: str) -> None:
    seen = Browser(modules=HERE).run([{"open": f"{address}/index.html"}, {"evaluate": {"function": SEGMENT}}])
    told: dict[str, Any] = seen.results[-1]
    assert not seen.errors
    (scores,) = answers(site / "face.tflite", site / "face.png").values()
    category = np.frombuffer(base64.b64decode(told["category"]), np.uint8).reshape(told["height"], told["width"])
    np.testing.assert_array_equal(category, scores[0].argmax(axis=-1))
    masks = [np.frombuffer(base64.b64decode(m), np.float32).reshape(category.shape) for m in told["masks"]]
    np.testing.assert_allclose(np.stack(masks, axis=-1), softmax(scores[0]), atol=1e-4)
    assert told["labels"] == list(CLASSES)


def test_page(site: Path, address: str) -> None:
    """A picture is chosen; the page draws each class in a colour of its own and names what it found."""
    pixels = "() => Array.from(document.querySelector('#mask').getContext('2d').getImageData(0, 0, 512, 512).data)"
    seen = Browser(modules=HERE).run([
        {"open": f"{address}/index.html"},
        {"wait": "!document.querySelector('#file').disabled"},
        {"choose": {"selector": "#file", "files": [str(site / "face.png")]}},
        {"wait": "document.querySelector('#told').textContent.includes(' ms: ')"},
        {"evaluate": {"function": pixels}},
        {"evaluate": {"function": "() => document.querySelector('#told').textContent"}},
        {"screenshot": {"path": str(site / "page.png")}},
    ])
    assert not seen.errors
    colours = np.asarray(seen.results[4], np.uint8).reshape(512, 512, 4)
    (scores,) = answers(site / "face.tflite", site / "face.png").values()
    classes = scores[0].argmax(axis=-1)
    shown = {int(c): np.unique(colours[classes == c], axis=0).tolist() for c in np.unique(classes)}
    assert all(len(found) == 1 for found in shown.values()), shown
    assert len({json.dumps(found) for found in shown.values()}) == len(shown)
    named = set(seen.results[5].split(" ms: ")[1].split(", "))
    assert named == {CLASSES[c] for c in shown}
