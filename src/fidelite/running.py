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

from fidelite.errors import Notice
from fidelite.options import ExportOptions, LayoutName, Normalization
from fidelite.pictures import Picture, Pixels, from_array, from_image, read_picture
from fidelite.preparation import Prepared, prepare
from fidelite.segmentation import Segmentation, from_indices, from_scores
from fidelite.using import Known, answer_use, known_of, picture_use

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
    """A model, ready to be run. Use it with `with`, or close it.

    Args:
        model: An `.onnx` or `.tflite` file; or PyTorch's: `package.module:factory`, a `.pt2`, TorchScript or known
            checkpoint file.
        threads: How many the runtime may use.
        layout: Input name -> nhwc or nchw, where neither manifest nor shape tells.
        normalize: Input name ('' for the only picture input) -> how pictures of 0..255 are normalised before the
            model. Without it, the model's own description is used; where there is none either, pictures are scaled
            to 0..1, with a warning.
        labels: Names of the classes; those in the file by default.
        shapes, checkpoint: Of a PyTorch network: input name -> shape, and its weights.

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
        shapes: Mapping[str, Sequence[int | str]] | None = None,
        checkpoint: Path | str | None = None,
    ) -> None:
        self.path = Path(model)
        self.known = Known(None, layout, normalize, None, labels)
        """What is known of the model beyond its ports: by its file, and by what the arguments say."""
        export = ExportOptions(checkpoint=None if checkpoint is None else Path(checkpoint))
        self._session: Session = self._open(threads, export, dict(shapes or {}))

    def _open(self, threads: int, export: ExportOptions, shapes: Mapping[str, Sequence[int | str]]) -> Session:
        from fidelite.runtime import LiteRtSession, OnnxSession
        from fidelite.source.opening import open_program_of, refuse_export_options
        from fidelite.source.pytorch import is_pytorch

        if is_pytorch(self.path):
            from fidelite.check.oracle import open_program

            program = open_program_of(self.path, export, shapes)
            return open_program(program, program.inputs)
        refuse_export_options(export)
        try:
            with self.path.open("rb") as file:
                head = file.read(8)
        except OSError as error:
            from fidelite.errors import LoadError

            raise LoadError(f"'{self.path}' cannot be read: {error.strerror or error}", code="F306",
                            remedy="check the path") from error
        if head[4:8] == b"TFL3":
            from fidelite.tflite_facts import tflite_facts

            self.known = known_of(tflite_facts(self.path), self.known)
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
        prepared = prepare(picture, picture_use(self.inputs, self.known))
        run = self.run_arrays({prepared.use.name: prepared.array})
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

    # -- answers

    def _interpret(self, run: Run, prepared: Prepared) -> None:
        assert run.picture is not None
        for name, array in run.outputs.items():
            use = answer_use(name, array.dtype.name, array.shape, prepared.use, prepared.size, self.known)
            if use.kind == "indices":
                run.segmentations.append(from_indices(name, array, run.picture, self.known.labels))
            elif use.kind == "scores" and use.axis is not None:
                scores = array.astype(np.float32)
                run.segmentations.append(from_scores(name, scores, use.axis, run.picture, self.known.labels))

    def _rank(self, run: Run) -> None:
        """The largest scores of outputs [1, classes]."""
        for name, array in run.outputs.items():
            scores = array.reshape(-1)
            use = answer_use(name, array.dtype.name, array.shape, None, None, self.known)
            if use.kind != "classes" or not np.isfinite(scores).all():
                continue
            best = np.argsort(-scores, kind="stable")[:_TOP]
            names = list(self.known.labels or [])
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


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "output"
