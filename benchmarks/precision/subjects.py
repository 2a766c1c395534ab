"""What is quantized, and the samples: some to calibrate with, others, fixed beforehand, to judge by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import Models
from fidelite.check import make_inputs
from fidelite.examples.face_parsing import MODEL_PATH
from fidelite.examples.face_parsing.drawing import TRAINING_SEEDS, draw_face, normalise
from fidelite.runtime import OnnxSession, Port

CALIBRATION, TEST = 16, 8
Feeds = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Subject:
    """A network and its samples. `faces` is the one whose accuracy is measured against labels."""

    name: str
    title: str
    onnx: Path
    trained: bool
    sample: Callable[[int], Feeds]
    faces: bool = False

    def write(self, folder: Path) -> tuple[Path, Path]:
        """calibration.npz and test.npz: arrays with one more axis in front."""
        folder.mkdir(parents=True, exist_ok=True)
        files = (folder / "calibration.npz", folder / "test.npz")
        for file, seeds in zip(files, (range(1000, 1000 + CALIBRATION), range(TEST)), strict=True):
            samples = [self.sample(seed) for seed in seeds]
            arrays: dict[str, Any] = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
            np.savez(file, **arrays)
        return files


def _face(seed: int) -> Feeds:
    """Held-out drawings below 1000; from there on drawings that training may have seen."""
    picture, _ = draw_face(seed if seed < 1000 else TRAINING_SEEDS + seed, 512)
    return {"input": normalise(picture)}


def _made(onnx: Path) -> Callable[[int], Feeds]:
    with OnnxSession(onnx) as session:
        ports = session.inputs

    def sample(seed: int) -> Feeds:
        return make_inputs(ports, count=1, seed=seed)[0]
    return sample


def _varied(onnx: Path) -> Callable[[int], Feeds]:
    """The zoo's own input, shifted, louder or fainter, with a little noise: of its kind, and no two alike."""
    with np.load(onnx.parent / "io.npz") as arrays:
        own = {k.removeprefix("in:"): arrays[k] for k in arrays.files if k.startswith("in:")}

    def sample(seed: int) -> Feeds:
        draw = np.random.default_rng(seed)
        return {name: _variant(array, draw) for name, array in own.items()}
    return sample


def _variant(array: np.ndarray[Any, Any], draw: np.random.Generator) -> np.ndarray[Any, Any]:
    if not array.ndim:
        return array
    longest = int(np.argmax(array.shape))
    moved = np.roll(array, int(draw.integers(array.shape[longest])), longest)
    if array.dtype.kind != "f":
        return moved
    noise = 0.02 * moved.std() * draw.standard_normal(moved.shape)
    return (moved * draw.uniform(0.6, 1.3) + noise).astype(array.dtype)


# Trained networks of the zoo whose shapes are fixed or can be fixed, with the shapes where they are open.
_ZOO = ("basic_pitch", "magika", "ppocrv6_det", "ppocrv6_rec", "ppocr_cls", "mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet",
        "attacut_sc")


def subjects(models: Models, zoo: Path | None) -> Iterator[Subject]:
    yield Subject("face_parsing", "face parsing (trained, shipped)", MODEL_PATH, True, _face, faces=True)
    for name, title in (("bisenet", "BiSeNet, random weights"), ("mobilenet", "MobileNetV3-like, random weights")):
        onnx = models.onnx(name)
        yield Subject(name, title, onnx, False, _made(onnx))
    for name in _ZOO if zoo is not None else ():
        assert zoo is not None
        folder = zoo / "trained" / name
        onnx = next((folder / f for f in ("model.onnx", "model.dynamo.onnx") if (folder / f).is_file()), None)
        if onnx is not None:
            yield Subject(name, f"{name} (trained, zoo)", onnx, True, _varied(onnx))


def open_shapes(subject: Subject) -> list[str]:
    """`--shape NAME=...` words for inputs with open dimensions."""
    feeds = subject.sample(0)
    with OnnxSession(subject.onnx) as session:
        ports = [p for p in session.inputs if _is_open(p)]
    words: list[str] = []
    for port in ports:
        words += ["--shape", f"{port.name}={','.join(map(str, feeds[port.name].shape))}"]
    return words


def _is_open(port: Port) -> bool:
    return not all(isinstance(d, int) and d > 0 for d in port.shape)
