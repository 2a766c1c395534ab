"""`fidelite demo`: the embedded network converted, proven, run on a drawn face and measured, from nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fidelite
from fidelite.errors import MissingExtra, OutputError
from fidelite.examples.face_parsing import MODEL_PATH

if TYPE_CHECKING:
    from fidelite.benchmarking import Benchmark
    from fidelite.inspection import Inspection
    from fidelite.running import Run

SEED = 7
"""Which face is drawn: one that training never saw."""
_SIZE = 720


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo made, and where."""

    folder: Path
    model: Path
    picture: Path
    tflite: Path
    inspection: Inspection
    conversion: dict[str, Any]
    run: Run
    written: list[tuple[Path, str]]
    agreement: float
    """Share of the pixels that get the class that was drawn."""
    miou: float
    """Mean over the drawn classes of intersection over union."""
    benchmark: Benchmark

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder), "model": str(self.model), "picture": str(self.picture),
            "tflite": str(self.tflite), "inspection": self.inspection.to_json(), "conversion": self.conversion,
            "run": self.run.to_json(), "written": [str(path) for path, _ in self.written],
            "agreement": self.agreement, "miou": self.miou, "benchmark": self.benchmark.to_json(),
        }


def demo(
    folder: Path | str = "demo-output",
    *,
    model: Path | None = None,
    runs: int = 10,
    on_progress: Callable[[str, float], None] | None = None,
) -> Demo:
    """Do the main job on the embedded network and leave everything in `folder`.

    Args:
        folder: It is made if it is not there.
        model: Another network of the same interface, in place of the embedded one.
        runs: Timed runs per model and round, of two.
        on_progress: Called with what is being done and how much of all is done.

    Raises:
        OutputError: The folder cannot be made. MissingExtra: the package has come without its network.
    """
    tell = on_progress or (lambda what, done: None)
    place = Path(folder)
    here = _prepare(place, model or MODEL_PATH)
    tell("drawing a face", 0.02)
    picture, truth = _draw(place / "face.png")
    tell("inspecting", 0.05)
    inspection = fidelite.inspect(here)
    result = fidelite.convert(here, on_progress=lambda stage, done: tell(f"converting: {stage}", 0.1 + 0.3 * done))
    tflite = result.save(here.with_suffix(".tflite"))
    conversion = fidelite.describe(result, tflite)
    tell("running", 0.5)
    with fidelite.Runner(tflite, normalize={"": fidelite.Normalization.imagenet()}) as runner:
        run = runner(picture)
    written = run.save(place, "face")
    tell("measuring", 0.6)
    benchmark = fidelite.benchmark([here, tflite], runs=runs, rounds=2,
                                   on_progress=lambda what, done: tell(what, 0.6 + 0.4 * done))
    agreement, miou = _judge(run.segmentations[0].mask, truth)
    return Demo(place, here, picture, tflite, inspection, conversion, run, written, agreement, miou, benchmark)


def _prepare(folder: Path, model: Path) -> Path:
    """The folder with a copy of the network in it, so that every command can be typed again."""
    if not model.is_file():
        raise MissingExtra(f"the embedded network '{model.name}' did not come with this package", code="F221",
                           remedy="pip install --force-reinstall fidelite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(model, folder / model.name))
    except OSError as error:
        raise OutputError(f"nothing can be written into '{folder}': {error.strerror or error}", code="F215",
                          remedy="fidelite demo --out FOLDER") from error


def _draw(path: Path) -> tuple[Path, np.ndarray]:
    from PIL import Image

    from fidelite.examples.face_parsing.drawing import draw_face

    pixels, classes = draw_face(SEED, _SIZE)
    Image.fromarray(pixels).save(path)
    return path, classes


def _judge(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    ratios: list[float] = []
    for index in np.unique(truth):
        a, b = found == index, truth == index
        ratios.append(float((a & b).sum() / (a | b).sum()))
    return float((found == truth).mean()), float(np.mean(ratios))
