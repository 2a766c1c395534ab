"""The networks that are measured, and their ONNX exports. This file needs no PyTorch; `networks.py` does."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.work import ROOT, Environment, Unavailable, environment_of, logged, this_version

Exporter = Literal["dynamo", "ts"]
Layout = Literal["source", "nhwc"]
EXPORTERS: tuple[Exporter, ...] = ("dynamo", "ts")


@dataclass(frozen=True, slots=True)
class Spec:
    """A network's edge as PyTorch has it. `maps` are the outputs that are feature maps [n, c, h, w]."""

    name: str
    title: str
    shape: tuple[int, ...]
    outputs: tuple[str, ...] = ("output",)
    maps: tuple[str, ...] = ()

    @property
    def layouts(self) -> tuple[Layout, ...]:
        return ("source", "nhwc") if len(self.shape) == 4 else ("source",)


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec("bisenet", "BiSeNet (ResNet-18), 512 x 512", (1, 3, 512, 512), ("output", "output16", "output32"),
             ("output", "output16", "output32")),
        Spec("mobilenet", "MobileNetV3-like with squeeze-and-excite, 224 x 224", (1, 3, 224, 224)),
        Spec("vit", "ViT-tiny, 6 layers, 224 x 224", (1, 3, 224, 224)),
        Spec("yolo", "YOLO-like with head, 256 x 256", (1, 3, 256, 256)),
        Spec("lstm", "LSTM classifier, 2 layers, 40 steps", (1, 40, 32)),
    )
}


@dataclass(frozen=True, slots=True)
class Models:
    """A folder of exports: NAME.pt (state dict), NAME_dynamo.onnx with .data, NAME_ts.onnx."""

    folder: Path

    def onnx(self, name: str, exporter: Exporter = "dynamo") -> Path:
        return self.folder / f"{name}_{exporter}.onnx"

    def state(self, name: str) -> Path:
        return self.folder / f"{name}.pt"

    def files(self, name: str) -> list[Path]:
        return [self.state(name), *(self.onnx(name, exporter) for exporter in EXPORTERS)]


def _recipe() -> str:
    """What the exports depend on."""
    sources = [Path(__file__).with_name("networks.py"), ROOT / "src/fidelite/examples/face_parsing/bisenet.py"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def torch_python(work: Path) -> Path:
    """An interpreter with PyTorch and its exporter: this one if it has them. Raises Unavailable."""
    if all(importlib.util.find_spec(package) for package in ("torch", "onnx", "onnxscript")):
        return Path(sys.executable)
    environment = Environment(work / "envs" / "torch", ("torch==2.13.0", "numpy", "onnx", "onnxscript"),
                              ("3.11", this_version(), "3.12", "3.13"), ROOT / "constraints.txt")
    environment.make()
    return environment.python


def make_models(work: Path, names: list[str]) -> Models:
    """Export what is not there yet. Raises Unavailable."""
    models = Models(work / "models")
    models.folder.mkdir(parents=True, exist_ok=True)
    stamp = models.folder / "made.txt"
    recipe = _recipe()
    if not stamp.is_file() or stamp.read_text("utf-8") != recipe:
        for old in models.folder.iterdir():
            old.unlink()
    missing = [name for name in names if not all(file.is_file() for file in models.files(name))]
    if missing:
        logged([torch_python(work), "-m", "benchmarks.networks", models.folder, *missing], work / "models.log",
               env=environment_of({"PYTHONPATH": str(ROOT / "src")}))
        still = [file.name for name in missing for file in models.files(name) if not file.is_file()]
        if still:
            raise Unavailable(f"the exporters did not write {', '.join(still)}")
    stamp.write_text(recipe, "utf-8")
    return models
