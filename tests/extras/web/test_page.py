"""The page of `fidelite serve` in headless Chromium: what it shows, and numbers equal to LiteRT's in Python."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fidelite
from fidelite.examples.face_parsing import MODEL_PATH
from fidelite.examples.face_parsing.drawing import draw_face
from fidelite.options import Normalization
from tests.cli import support
from tests.extras.browser import Browser, Seen
from tests.source.models import graph_model, info, save

READY = {"wait": "window.fidelite?.ready"}
OPEN = {"wait": "window.fidelite.running?.element.dataset.build || document.querySelector('.finding.error')"}
RAN = {"wait": "window.fidelite.running?.runs || document.querySelector('.finding.error')"}
SHARE = 1e-4
"""Of an output's range, that LiteRT.js may be away from LiteRT in Python."""
ROUNDED = 0.01
"""The same for dynamic-int8: inputs of layers are rounded to 8 bits as they come, and a last bit may tip a step."""

# Arrays leave the page as base64 of their bytes.
_OUTPUTS = """() => {
  const text = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let all = "";
    for (let i = 0; i < bytes.length; i += 32768) all += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(all);
  };
  return window.fidelite.running.last.outputs.map((o) =>
    ({ ...o, data: o.data && text(o.data), mask: o.mask && text(o.mask), legend: null }));
}"""
OUTPUTS = {"evaluate": {"function": _OUTPUTS}}
KEEP = {"evaluate": {"function": "() => { window.fidelite.running.keep = true; }"}}
PROBLEMS = {"evaluate": {"function": "() => [...document.querySelectorAll('.finding.error')].map((e) => e.innerText)"}}


def text_of(selector: str) -> dict[str, Any]:
    return {"evaluate": {"function": "(s) => document.querySelector(s)?.innerText ?? null", "argument": selector}}


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn face, of a size that is not the network's."""
    path = tmp_path_factory.mktemp("face") / "face.png"
    Image.fromarray(draw_face(7, 600)[0]).resize((600, 480)).save(path)
    return path


def array(found: Mapping[str, Any], key: str = "data") -> np.ndarray:
    kind = {"float32": np.float32, "int32": np.int32, "uint8": np.uint8}[found["type"] if key == "data" else "uint8"]
    values = np.frombuffer(base64.b64decode(found[key]), kind)
    return values.reshape(found["shape"]) if key == "data" else values


def same(found: list[dict[str, Any]], wanted: Mapping[str, np.ndarray], share: float = SHARE) -> None:
    assert [o["name"] for o in found] == list(wanted)
    for output in found:
        want = wanted[output["name"]].astype(np.float64)
        error = np.abs(array(output) - want)
        assert error.shape == want.shape
        assert float(error.max()) <= share * float(want.max() - want.min()), output["name"]


def only_from_here(seen: Seen, address: str) -> None:
    """Nothing came from elsewhere, and the page had no errors."""
    assert seen.errors == []
    assert seen.failed == []
    assert seen.results[-1], "no address was seen"
    assert all(name.startswith((address, "blob:")) for name in seen.results[-1]), seen.results[-1]


ADDRESSES = {"evaluate": {"function": "() => performance.getEntriesByType('resource').map((e) => e.name)"}}


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic-int8"])
def test_a_dropped_model_on_a_dropped_face(browser: Browser, face: Path, tmp_path: Path, precision: Any) -> None:
    """The shipped network, made for the web, on a face: the numbers of LiteRT in Python, and the mask of the Runner."""
    file = tmp_path / "face_parsing.tflite"
    fidelite.convert(MODEL_PATH, target="web", precision=precision, normalize={"": Normalization.imagenet()}).save(file)
    with fidelite.serve(port=0) as served:
        seen = browser.run([
            {"open": served.address}, READY, {"drop": {"selector": "main", "file": str(file), "name": file.name}}, OPEN,
            KEEP, {"drop": {"selector": "main", "file": str(face), "name": "face.png", "type": "image/png"}}, RAN,
            PROBLEMS, text_of(".verdict"), text_of(".legend"), OUTPUTS, ADDRESSES])
        only_from_here(seen, served.address)
    problems, verdict, legend, outputs, _ = seen.results[-5:]
    assert problems == []
    assert verdict == "proven"
    assert "skin" in legend
    with fidelite.Runner(file) as runner:
        run = runner(face)
    rounded = precision == "dynamic-int8"
    same(outputs, run.outputs, ROUNDED if rounded else SHARE)
    mask = array(outputs[0], "mask").reshape(480, 600)
    assert float(np.mean(mask == run.segmentations[0].mask)) > (0.995 if rounded else 0.9999)


def test_from_onnx_to_a_mask(browser: Browser) -> None:
    """The embedded network by two clicks: inspected, converted, proven, run on the drawn face, measured."""
    with fidelite.serve(port=0) as served:
        seen = browser.run([
            {"open": served.address}, READY, {"click": "#example"}, {"wait": "document.querySelector('#convert')"},
            text_of("h1"), {"click": "#convert"}, OPEN, RAN, {"click": "#measure"},
            {"wait": "window.fidelite.running.rows.latency"}, {"click": "[data-target=web]"},
            {"wait": "document.querySelector('.told .verdict')"}, PROBLEMS, text_of(".verdict"), text_of(".told"),
            text_of(".speed"), {"evaluate": {"function": "() => crossOriginIsolated"}}, ADDRESSES])
        only_from_here(seen, served.address)
    problems, verdict, told, speed, isolated, _ = seen.results[-6:]
    assert problems == []
    assert seen.results[4] == "face_parsing.onnx"
    assert verdict == "proven"
    assert told.startswith("taken")
    assert "median of 10" in speed
    assert "WebAssembly" in speed
    assert isolated


def test_a_phone(browser: Browser) -> None:
    """Nothing is wider than the screen: neither the first page, nor a model, nor its result."""
    fits = {"evaluate": {"function": "() => document.documentElement.scrollWidth - innerWidth"}}
    phone = replace(browser, width=360, height=780, scheme="dark")
    with fidelite.serve(port=0) as served:
        seen = phone.run([{"open": served.address}, READY, fits, {"click": "#example"},
                          {"wait": "document.querySelector('#convert')"}, fits, {"click": "#convert"}, OPEN, RAN, fits])
    assert [seen.results[i] for i in (2, 5, 9)] == [0, 0, 0]


def test_classes(browser: Browser, face: Path, tmp_path: Path) -> None:
    file = tmp_path / "classes.tflite"
    fidelite.convert(support.classifier(tmp_path), target="web", verify=False).save(file)
    with fidelite.serve(file, port=0) as served:
        seen = browser.run([{"open": served.address}, READY, OPEN, {"choose": {"selector": "#picture",
                            "files": [str(face)]}}, RAN, PROBLEMS, text_of(".top-classes"), OUTPUTS])
    problems, shown, outputs = seen.results[-3:]
    assert problems == []
    with fidelite.Runner(file) as runner:
        top = runner(face).top[outputs[0]["name"]]
    assert [row[0] for row in outputs[0]["top"]] == [row[0] for row in top]
    np.testing.assert_allclose([row[2] for row in outputs[0]["top"]], [row[2] for row in top], rtol=1e-4)
    assert f"class {top[0][0]}" in shown


def test_no_picture_and_other_types(browser: Browser, tmp_path: Path) -> None:
    """int64 and bool on both sides, which LiteRT.js has not: made-up values, and the answers of LiteRT in Python."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Not", ["k"], ["z"]),
             helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)]
    inputs = [info("x", [2, 5], TensorProto.INT64), info("k", [3], TensorProto.BOOL)]
    outputs = [info("y", [2, 5], TensorProto.INT64), info("z", [3], TensorProto.BOOL),
               info("total", [], TensorProto.INT64)]
    file = tmp_path / "types.tflite"
    fidelite.convert(save(graph_model(nodes, inputs, outputs), tmp_path / "types.onnx"), target="web").save(file)
    with fidelite.serve(file, port=0) as served:
        seen = browser.run([{"open": served.address}, READY, OPEN, KEEP, {"click": "#made-up"}, RAN, PROBLEMS, OUTPUTS])
    problems, found = seen.results[-2:]
    assert problems == []
    with fidelite.Runner(file) as runner:
        shapes = {p.name: [int(d or 1) for d in p.shape] for p in runner.inputs}
        feeds = {name: (np.arange(np.prod(s)) % 7).astype(np.int32).reshape(s) for name, s in shapes.items()}
        wanted = runner.run_arrays(feeds).outputs
    for output in found:
        np.testing.assert_array_equal(array(output), wanted[output["name"]])


def test_the_camera(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "mask.tflite"
    fidelite.convert(support.segmenter(tmp_path), target="web", verify=False).save(file)
    filmed = replace(browser, flags=["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"])
    with fidelite.serve(file, port=0) as served:
        seen = filmed.run([
            {"open": served.address}, READY, OPEN, {"click": "#camera"}, {"wait": "window.fidelite.running.runs > 3"},
            text_of("#camera"), text_of(".speed"), {"click": "#camera"}, text_of("#camera"), PROBLEMS])
    stop, speed, again, problems = seen.results[-5], seen.results[-4], seen.results[-2], seen.results[-1]
    assert problems == []
    assert (stop, again) == ("Stop", "Camera")
    assert "frames a second" in speed


def test_what_it_says_of_bad_files(browser: Browser, tmp_path: Path) -> None:
    """A text under a model's name, a file of types that LiteRT.js has not, a network that does not convert."""
    from onnx import TensorProto, helper

    text = tmp_path / "page.onnx"
    text.write_text("<!doctype html>", "utf-8")
    model = graph_model([helper.make_node("Add", ["x", "x"], ["y"])], [info("x", [2], TensorProto.INT64)],
                        [info("y", [2], TensorProto.INT64)])
    long = tmp_path / "long.tflite"
    fidelite.convert(save(model, tmp_path / "long.onnx"), verify=False).save(long)
    odd = support.unknown_op(tmp_path)

    def dropped(file: Path) -> dict[str, Any]:
        return {"drop": {"selector": "main", "file": str(file), "name": file.name}}

    shown = {"wait": "document.querySelector('.finding.error')"}
    with fidelite.serve(port=0) as served:
        seen = browser.run([
            {"open": served.address}, READY, dropped(text), shown, PROBLEMS,
            dropped(long), {"wait": "document.querySelector('h1')?.innerText === 'long.tflite'"}, shown, PROBLEMS,
            dropped(odd), {"wait": f"document.querySelector('h1')?.innerText === '{odd.name}'"},
            {"click": "#convert"}, shown, PROBLEMS])
    assert "F301" in seen.results[4][0]
    assert "INT64" in seen.results[8][0]
    assert "F410" in seen.results[13][0]
    assert seen.errors == []


@pytest.mark.parametrize(("size", "wanted"), [((37, 53), (64, 48)), ((200, 150), (33, 47)), ((64, 64), (64, 64)),
                                              ((5, 300), (120, 7)), ((20, 30), (50, 70)), ((300, 5), (7, 120))])
def test_pictures_become_pillows_numbers(browser: Browser, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    plane = rng.standard_normal((size[1], size[0])).astype(np.float32)
    code = """async ({ pixels, plane, from, to }) => {
      const { resize } = await import("./resize.js");
      return [[...resize(Uint8ClampedArray.from(pixels), from, to, 3)],
        [...resize(Float32Array.from(plane), from, to, 1)]];
    }"""
    argument = {"pixels": pixels.reshape(-1).tolist(), "plane": plane.reshape(-1).tolist(),
                "from": [size[1], size[0]], "to": [wanted[1], wanted[0]]}
    with fidelite.serve(port=0) as served:
        seen = browser.run([{"open": served.address}, READY, {"evaluate": {"function": code, "argument": argument}}])
    bytes_, floats = seen.results[-1]
    bilinear = Image.Resampling.BILINEAR
    np.testing.assert_array_equal(bytes_, np.asarray(Image.fromarray(pixels).resize(wanted, bilinear)).reshape(-1))
    expected = np.asarray(Image.fromarray(plane).resize(wanted, bilinear)).reshape(-1)
    np.testing.assert_allclose(np.asarray(floats, np.float32), expected, rtol=0, atol=1e-6)
