"""The models that the page knows: those given and dropped, those converted from them, and the work under way."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import fidelite
from fidelite.errors import FideliteError, InternalError, MissingExtra, UsageError

_ENDINGS = (".onnx", ".tflite")
_LONGEST_NAME = 120
# What the page may ask of a conversion, and of which type it is. Paths are not among them.
_OPTIONS: Mapping[str, type] = {"precision": str, "target": str, "layout": dict, "shapes": dict, "argmax": list,
                                "outputs": list, "verify": bool}


@dataclass
class Entry:
    """A model on the shelf. `origin` says where it came from: given, dropped, example or converted."""

    id: str
    path: Path
    origin: str
    source: str = ""
    """Of a converted model: the id of what it came from."""

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.path.name, "kind": self.path.suffix.lower().lstrip("."),
                "origin": self.origin, "source": self.source, "bytes": self.path.stat().st_size}


@dataclass
class Job:
    """A conversion under way. `done` is 0 to 1 of the stage."""

    id: str
    state: Literal["running", "done", "failed"] = "running"
    stage: str = "read"
    done: float = 0.0
    model: str = ""
    """The id of the result."""
    errors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    report: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "state": self.state, "stage": self.stage, "done": self.done, "model": self.model,
                "errors": self.errors, "report": self.report}


class Shelf:
    """Files in a temporary folder of its own, which goes when it is closed; a file given by path is read where it is.

    Every model has a folder with a number for its name: what a browser sends is never part of a path but as the
    checked name of one file in it.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fidelite-serve-"))
        self.entries: dict[str, Entry] = {}
        self.jobs: dict[str, Job] = {}
        self._lock = threading.RLock()
        self._working = threading.Lock()
        self._last = 0

    def _next(self) -> str:
        with self._lock:
            self._last += 1
            return str(self._last)

    def give(self, path: Path) -> Entry:
        """Put a file on the shelf that lies elsewhere. Raises LoadError."""
        fidelite.inspect(path)
        return self._keep(Entry(self._next(), path.resolve(), "given"))

    def place(self, name: str, model: str = "") -> Path:
        """Where a file of that name is to be written: in a new model's folder, or beside `model`.

        Raises UsageError: F292 the name cannot be used, F294 there is no such model.
        """
        checked = checked_name(name)
        if model:
            entry = self.find(model)
            if entry.origin != "dropped":
                raise UsageError(f"'{entry.path.name}' was not dropped here: nothing is written beside it", code="F292",
                                 remedy="drop the model and its weights together")
            return entry.path.parent / checked
        if Path(checked).suffix.lower() not in _ENDINGS:
            raise UsageError(f"'{checked}' is neither an .onnx nor a .tflite file", code="F292",
                             remedy="drop a model; weights (.data) go together with their .onnx")
        folder = self.folder / self._next()
        folder.mkdir()
        return folder / checked

    def placed(self, path: Path, origin: str = "dropped") -> Entry:
        """The entry of a file that now lies where `place` said."""
        return self._keep(Entry(path.parent.name, path, origin))

    def example(self) -> Entry:
        """The embedded face-parsing network. Raises MissingExtra (F221)."""
        found = next((e for e in self.entries.values() if e.origin == "example"), None)
        if found is not None:
            return found
        from fidelite.examples.face_parsing import MODEL_PATH

        if not MODEL_PATH.is_file():
            raise MissingExtra(f"the embedded network '{MODEL_PATH.name}' did not come with this package", code="F221",
                               remedy="pip install --force-reinstall fidelite")
        return self._keep(Entry(self._next(), MODEL_PATH, "example"))

    def find(self, model: str) -> Entry:
        """Raises UsageError (F294) where there is no such model."""
        with self._lock:
            if model in self.entries:
                return self.entries[model]
        raise UsageError(f"there is no model '{model}' here", code="F294", remedy="drop it again")

    def convert(self, model: str, options: Mapping[str, Any]) -> Job:
        """Start a conversion. Raises UsageError: F292 options that the page may not give, F294 no such model."""
        entry, arguments = self.find(model), checked_options(options)
        job = Job(self._next())
        with self._lock:
            self.jobs[job.id] = job
        threading.Thread(target=self._work, args=(job, entry, arguments), daemon=True).start()
        return job

    def _work(self, job: Job, entry: Entry, arguments: Mapping[str, Any]) -> None:
        def tell(stage: str, done: float) -> None:
            job.stage, job.done = stage, done

        try:
            with self._working:  # one at a time: a conversion may need gigabytes
                result = fidelite.convert(entry.path, on_progress=tell, **arguments)
                folder = self.folder / self._next()
                folder.mkdir()
                path = result.save(folder / f"{entry.path.stem}.tflite")
                job.report = fidelite.describe(result, path)
            made = self._keep(Entry(folder.name, path, "converted", entry.id))
            job.model, job.state = made.id, "done"
        except FideliteError as error:
            job.errors, job.state = [e.to_json() for e in error.errors], "failed"
        except BaseException as error:
            # The page has to hear of it; the thread ends with the error itself, as any of ours.
            job.errors, job.state = [InternalError(f"{type(error).__name__}: {error}").to_json()], "failed"
            raise

    def _keep(self, entry: Entry) -> Entry:
        with self._lock:
            self.entries[entry.id] = entry
        return entry

    def to_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [e.to_json() for e in self.entries.values()]

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def checked_name(name: str) -> str:
    """A file name that every system takes, and that is no path. Raises UsageError (F292)."""
    reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
    odd = re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
    if not name or odd or reserved or name.strip(" .") != name or len(name) > _LONGEST_NAME:
        raise UsageError(f"'{name[:_LONGEST_NAME]}' cannot be a file's name here", code="F292",
                         remedy="rename it: letters, digits, - and _, and its ending")
    return name


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as `fidelite.convert` takes them. Raises UsageError (F292)."""
    from fidelite.options import Normalization

    found: dict[str, Any] = {}
    for name, value in options.items():
        if name == "normalize":
            if value != "imagenet":
                raise UsageError(f"'{value}' is no normalisation that the page offers", code="F292", remedy="imagenet")
            found["normalize"] = {"": Normalization.imagenet()}
            continue
        kind = _OPTIONS.get(name)
        if kind is None or not isinstance(value, kind):
            raise UsageError(f"the page may not set '{name}' to {value!r}", code="F292",
                             remedy=f"options: {', '.join([*_OPTIONS, 'normalize'])}")
        found[name] = value
    return found

