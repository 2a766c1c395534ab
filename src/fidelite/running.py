"""Run a model on a picture: `fidelite.Runner`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fidelite.edge import Edge
from fidelite.errors import BadSample, Notice
from fidelite.options import LayoutName, Normalization
from fidelite.pictures import RESIZE_RULE, Picture, Pixels, from_array, from_image, read_picture
from fidelite.segmentation import Segmentation, class_axis, from_indices, from_scores, is_map

if TYPE_CHECKING:
    from PIL.Image import Image

    from fidelite.runtime import Port, Session

    AnyPicture = Path | str | Image | Pixels | Picture

Array = NDArray[Any]
_TOP = 5


@dataclass
class Run:
    """What a model answered. Arrays by name, in the model's order."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    seconds: float
    runtime: str
    picture: Picture | None = None
    steps: list[str] = field(default_factory=list[str])
    """How the picture became the input, in sentences."""
    notices: list[Notice] = field(default_factory=list[Notice])
    segmentations: list[Segmentation] = field(default_factory=list[Segmentation])
    top: dict[str, list[tuple[int, str, float]]] = field(default_factory=dict[str, list[tuple[int, str, float]]])
    """Output of class scores -> index, label and score of the largest few."""

    def save(self, folder: Path, stem: str, outputs: Sequence[str] = ()) -> list[tuple[Path, str]]:
        """Write mask and overlay of the first segmentation, or of those named; returns paths with captions.

        Raises OutputError (F215).
        """
        chosen = [s for s in self.segmentations if s.output in outputs] if outputs else self.segmentations[:1]
        written: list[tuple[Path, str]] = []
        for found in chosen:
            name = stem if len(chosen) == 1 else f"{stem}.{_file_name(found.output)}"
            assert self.picture is not None
            written += found.save(folder, name, self.picture)
        return written

    def to_json(self) -> dict[str, Any]:
        return {
            "runtime": self.runtime,
            "seconds": self.seconds,
            "steps": list(self.steps),
            "inputs": [facts(name, array) for name, array in self.inputs.items()],
            "outputs": [facts(name, array) for name, array in self.outputs.items()],
            "segmentations": [
                {"output": s.output, "how": s.how, "size": [s.mask.shape[1], s.mask.shape[0]],
                 "classes": [{"index": i, "label": name, "share": share} for i, name, share in s.shares]}
                for s in self.segmentations
            ],
            "top": {name: [{"index": i, "label": label, "score": score} for i, label, score in rows]
                    for name, rows in self.top.items()},
            "notices": [n.to_json() for n in self.notices],
        }


class Runner:
    """An `.onnx` or `.tflite` file, ready to be run. Use it with `with`, or close it.

    Args:
        model: The file.
        threads: How many the runtime may use.
        layout: Input name -> nhwc or nchw, where neither manifest nor shape tells.
        normalize: Input name ('' for the only picture input) -> how pictures of 0..255 are normalised before the
            model. Without it, the model's own description is used; where there is none either, pictures are scaled
            to 0..1, with a warning.
        labels: Names of the classes; those in the file by default.

    Raises:
        LoadError, RuntimeCrash: the model cannot be read or loaded.
    """

    def __init__(
        self,
        model: Path | str,
        *,
        threads: int = 1,
        layout: Mapping[str, LayoutName] | None = None,
        normalize: Mapping[str, Normalization] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(model)
        self.layout, self.normalize, self.labels = dict(layout or {}), dict(normalize or {}), labels
        self.edge: Edge | None = None
        self.stated: Normalization | None = None
        """What the file's metadata for MediaPipe say of the picture."""
        self._session: Session = self._open(threads)

    def _open(self, threads: int) -> Session:
        from fidelite.runtime import LiteRtSession, OnnxSession

        try:
            with self.path.open("rb") as file:
                head = file.read(8)
        except OSError as error:
            from fidelite.errors import LoadError

            raise LoadError(f"'{self.path}' cannot be read: {error.strerror or error}", code="F306",
                            remedy="check the path") from error
        if head[4:8] == b"TFL3":
            from fidelite.tflite_facts import tflite_facts

            told = tflite_facts(self.path)
            manifest, task = told["manifest"] or {}, told["task"] or {}
            if "edge" in manifest:
                self.edge = Edge.from_json(manifest["edge"])
            if self.labels is None and task.get("labels"):
                self.labels = task["labels"]
            if task.get("mean") and task.get("std") and 0.0 not in task["std"]:
                self.stated = Normalization(tuple(task["mean"]), tuple(task["std"]))
            return LiteRtSession(self.path, threads=threads)
        from fidelite.source.load import load

        load(self.path).close()
        return OnnxSession(self.path, threads=threads)

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._session.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._session.outputs

    def __call__(self, image: AnyPicture) -> Run:
        """Run on a picture: a path, a Pillow image, or uint8 [height, width, 3].

        Raises BadSample (F231 to F234, F243: the model takes no picture).
        """
        picture = _picture(image)
        prepared = self._prepare(picture)
        run = self.run_arrays({prepared.port.name: prepared.array})
        run.picture, run.notices = picture, prepared.notices
        run.steps = [*(f"picture: {note}" for note in picture.notes), *prepared.steps]
        self._interpret(run, prepared)
        return run

    def run_arrays(self, feeds: Mapping[str, Array]) -> Run:
        """Run on arrays, one per input, exactly as the model takes them. Raises BadSample."""
        start = time.perf_counter()
        outputs = self._session.run(feeds)
        run = Run(dict(feeds), outputs, time.perf_counter() - start, self._session.runtime)
        self._rank(run)
        return run

    def random(self, seed: int = 0, shapes: Mapping[str, Sequence[int]] | None = None) -> Run:
        """Run on made-up inputs, the same for the same seed. Free dimensions are 1 unless `shapes` says otherwise."""
        from fidelite.check import make_inputs

        sizes = {f"{p.name}:{a}": 1 for p in self.inputs for a, d in enumerate(p.shape) if not isinstance(d, int)}
        for name, dims in (shapes or {}).items():
            sizes.update({f"{name}:{a}": d for a, d in enumerate(dims)})
        return self.run_arrays(make_inputs(self.inputs, count=1, seed=seed, symbols=sizes)[0])

    def samples(self, path: Path) -> list[dict[str, Array]]:
        """The samples in an .npz file. Raises BadSample."""
        from fidelite.check import load_samples

        return load_samples(path, self.inputs)

    # -- pictures

    def _prepare(self, picture: Picture) -> Prepared:
        port, last, notices = self._picture_port()
        channel = 3 if last else 1
        height, width = ((port.shape[1], port.shape[2]) if last else (port.shape[2], port.shape[3]))
        size = (height if isinstance(height, int) else picture.height,
                width if isinstance(width, int) else picture.width)
        steps: list[str] = []
        if size != (picture.height, picture.width):
            steps.append(f"resized from {picture.width} x {picture.height} to {size[1]} x {size[0]}: {RESIZE_RULE}")
        pixels = picture.resized(size[1], size[0])
        if port.shape[channel] == 1:
            pixels = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
            steps.append("made grey: 0.299 R + 0.587 G + 0.114 B")
        else:
            steps.append("channels in the order R, G, B")
        values, told, warning = self._normalised(port, pixels)
        steps.append(told)
        array = values[None] if last else np.moveaxis(values, 2, 0)[None]
        return Prepared(port, np.ascontiguousarray(array), last, size, steps, notices + ([warning] if warning else []))

    def _picture_port(self) -> tuple[Port, bool, list[Notice]]:
        """The input that takes a picture, and whether its channels are last."""
        found = [(p, last) for p in self.inputs if (last := self._channels_last(p)) is not None]
        if len(found) != 1 or len(self.inputs) != 1:
            told = "; ".join(str(p) for p in self.inputs)
            raise BadSample("a picture goes into a model with one input of [1, 3, H, W] or [1, H, W, 3]; "
                            f"this has {told}", code="F243", remedy="give arrays: --input FILE.npz, or --random")
        port, last = found[0]
        notices: list[Notice] = []
        if port.shape[1] in (1, 3) and port.shape[3] in (1, 3) and port.name not in self.layout:
            notices.append(Notice("N243", f"'{port.name}' may be channels-first or channels-last; taken as "
                                  f"{'nhwc' if last else 'nchw'}", remedy=f"--layout {port.name}=nhwc"))
        return port, last, notices

    def _channels_last(self, port: Port) -> bool | None:
        if len(port.shape) != 4:
            return None
        if (said := self.layout.get(port.name, "source")) != "source":
            return said == "nhwc"
        edge = self.edge.inputs.get(port.name) if self.edge is not None else None
        if edge is not None and edge.permutation:
            return edge.permutation == (0, 3, 1, 2)
        first, last = port.shape[1] in (1, 3), port.shape[3] in (1, 3)
        return None if not first and not last else not first

    def _normalised(self, port: Port, pixels: Pixels) -> tuple[Array, str, Notice | None]:
        """Values [h, w, c] as the input takes them, how they were made, and a warning where that is a guess."""
        if port.dtype == "uint8":
            return pixels, "values 0..255 as they are", None
        if port.dtype == "int8":
            return (pixels.astype(np.int16) - 128).astype(np.int8), "values 0..255 less 128", None
        edge = self.edge.inputs.get(port.name) if self.edge is not None else None
        if edge is not None and edge.normalization is not None:
            return pixels.astype(port.dtype), "values 0..255: the model normalises them itself", None
        if not port.dtype.startswith("float"):
            return pixels.astype(port.dtype), "values 0..255 as they are", None
        given = self.normalize.get(port.name) or self.normalize.get("") or self.stated
        if given is not None:
            mean, std = np.array(given.mean), np.array(given.std)
            values = (pixels.astype(np.float64) * given.scale - mean) / std
            told = f"normalised: (x * {given.scale:.6g} - {_list(given.mean)}) / {_list(given.std)}"
            return values.astype(port.dtype), told, None
        warning = Notice("W230", "neither the model nor the command says how pictures are normalised: values 0..1 are "
                         "fed, which may be wrong", level="warning",
                         remedy="--normalize imagenet, or --mean, --std and --scale")
        return (pixels / 255.0).astype(port.dtype), "scaled to 0..1", warning

    # -- answers

    def _interpret(self, run: Run, prepared: Prepared) -> None:
        assert run.picture is not None
        for name, array in run.outputs.items():
            edge = self.edge.outputs.get(name) if self.edge is not None else None
            if np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_:
                dims = array.shape[1:3] if array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 1) else ()
                if len(dims) == 2 and array.shape[0] == 1 and is_map(dims[0], dims[1], prepared.size):
                    run.segmentations.append(from_indices(name, array, run.picture, self.labels))
                continue
            known = 3 if edge is not None and edge.permutation == (0, 2, 3, 1) else None
            axis = class_axis(array.shape, prepared.size, prefer_last=prepared.last, known=known,
                              labels=len(self.labels or ()))
            if axis is not None:
                run.segmentations.append(from_scores(name, array.astype(np.float32), axis, run.picture, self.labels))

    def _rank(self, run: Run) -> None:
        """The largest scores of outputs [1, classes]."""
        for name, array in run.outputs.items():
            scores = array.reshape(-1)
            if array.shape[:1] != (1,) or array.size < 2 or array.size != max(array.shape[1:], default=0):
                continue
            if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(scores).all():
                continue
            best = np.argsort(-scores, kind="stable")[:_TOP]
            names = list(self.labels or [])
            run.top[name] = [(int(i), names[i] if i < len(names) else "", float(scores[i])) for i in best]

    def close(self) -> None:
        """Free the model."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as an input: the array, whether its channels are last, and its height and width."""

    port: Port
    array: Array
    last: bool
    size: tuple[int, int]
    steps: list[str]
    notices: list[Notice]


def _picture(image: AnyPicture) -> Picture:
    if isinstance(image, Picture):
        return image
    if isinstance(image, Path | str):
        return read_picture(Path(image))
    return from_array(image) if isinstance(image, np.ndarray) else from_image(image)


def facts(name: str, array: Array) -> dict[str, Any]:
    """Name, type, shape and range of an array; numbers that JSON has not are None."""
    row: dict[str, Any] = {"name": name, "type": array.dtype.name, "shape": list(array.shape),
                           "min": None, "max": None, "mean": None, "nonfinite": 0}
    if not array.size or array.dtype.kind in "OSUV":
        return row
    values = array.astype(np.float64) if array.dtype.kind != "c" else np.abs(array)
    finite = values[np.isfinite(values)]
    row["nonfinite"] = int(values.size - finite.size)
    if finite.size:
        row |= {"min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.mean())}
    return row


def _list(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"[{', '.join(f'{v:g}' for v in values)}]"


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "output"
