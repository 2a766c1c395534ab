"""Make a SavedModel of a conversion, prove it in TensorFlow and after TensorFlow's own converter, and publish it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fidelite.check.proof import port_of
from fidelite.errors import RuntimeCrash, VerificationError, raise_all
from fidelite.runtime.litert import LiteRtSession
from fidelite.saving.places import check_place, publish_folder
from fidelite.saving.session import Renamed, SavedModelSession, TensorFlow
from fidelite.write.flatbuffer import write_model
from fidelite.write.saved_model.refusals import refusals

if TYPE_CHECKING:
    from fidelite.check import Verification
    from fidelite.pipeline import Conversion
    from fidelite.runtime.protocol import Port, Session

SUMMARY = "assets.extra/fidelite.json"
"""Where the summary lies in the folder: TensorFlow leaves `assets.extra` to whoever writes the model."""
Progress = Callable[[str, int, int], None]


@dataclass
class SavedModel:
    """A SavedModel that was written, and what was proven of it."""

    folder: Path
    tensorflow: str
    """The version that made and ran it."""
    inputs: list[tuple[str, str]]
    """The model's name of each input, and the SavedModel's: TensorFlow does not take every name."""
    outputs: list[tuple[str, str]]
    variables: int
    parameters: int
    bytes: int = 0
    verification: Verification | None = None
    """The SavedModel in TensorFlow against the source; None where no proof was asked for."""
    reconverted: Verification | None = None
    """What `tf.lite.TFLiteConverter.from_saved_model` makes of it, in LiteRT, against the source."""
    refused: str = ""
    """Why that converter takes it not, in its words."""
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def renamed(self) -> list[tuple[str, str]]:
        return [(own, name) for own, name in self.inputs if own != name]

    def to_json(self) -> dict[str, Any]:
        def proof(found: Verification | None) -> dict[str, Any] | None:
            return None if found is None else {"proven": found.proven, "rows": found.summary()} | found.to_json()

        return {"path": str(self.folder), "bytes": self.bytes, "tensorflow": self.tensorflow,
                "inputs": dict(self.inputs), "outputs": dict(self.outputs), "variables": self.variables,
                "parameters": self.parameters, "verification": proof(self.verification),
                "reconverted": proof(self.reconverted), "reconversion_refused": self.refused,
                "seconds": dict(self.seconds)}


def save_saved_model(result: Conversion, folder: Path, on_progress: Progress | None = None) -> SavedModel:
    """Write `result` to `folder`, whole or not at all. `on_progress(what, done, total)` is told of each run.

    Raises what `check_place` does, UnsupportedOp (F412) for each operator that TensorFlow has no exact counterpart of,
    Mismatch or NotProven where TensorFlow, or LiteRT on TensorFlow's own conversion, gives something else than the
    source, RuntimeCrash where TensorFlow fails.
    """
    check_place(folder)
    raise_all(refusals(result.model))
    with (tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as name,
          TensorFlow() as tensorflow, publish_folder(folder) as temporary):
        job = _Job(result, tensorflow, Path(name), temporary, on_progress)
        made = job.build(folder)
        if result.options.verify:
            made.verification = job.prove()
            made.refused = job.reconvert()
            if not made.refused:
                made.reconverted = job.prove_reconverted()
        made.bytes = sum(p.stat().st_size for p in temporary.rglob("*") if p.is_file())
        summary = temporary / SUMMARY
        summary.parent.mkdir(exist_ok=True)
        told = {k: v for k, v in made.to_json().items() if k not in ("path", "seconds")}
        summary.write_text(json.dumps({**result.manifest, "saved_model": told}, indent=1, ensure_ascii=False),
                           encoding="utf-8")
    return made


@dataclass
class _Job:
    """One SavedModel on its way."""

    result: Conversion
    tensorflow: TensorFlow
    scratch: Path
    folder: Path
    on_progress: Progress | None
    names: dict[str, str] = field(default_factory=dict[str, str])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    def build(self, folder: Path) -> SavedModel:
        model = self.scratch / "model.tflite"
        with model.open("wb") as stream:
            write_model(self.result.model, stream)
        start = time.perf_counter()
        header = {"do": "build", "model": str(model), "folder": str(self.folder)}
        answer, _ = self.tensorflow.ask(header, doing="making the SavedModel")
        self.seconds["build"] = time.perf_counter() - start
        inputs, outputs = ([(str(a), str(b)) for a, b in answer[kind]] for kind in ("inputs", "outputs"))
        self.names = dict(inputs)
        return SavedModel(folder, answer["version"], inputs, outputs, answer["variables"], answer["parameters"],
                          seconds=self.seconds)

    def prove(self) -> Verification:
        """In TensorFlow, against the source."""
        inputs, outputs = self._ports()
        return self._compare("run", lambda: SavedModelSession(
            self.tensorflow, self.folder, inputs, outputs, self.names))

    def reconvert(self) -> str:
        """Through TensorFlow's converter; why not, or ''."""
        start = time.perf_counter()
        header = {"do": "reconvert", "folder": str(self.folder), "file": str(self.scratch / "reconverted.tflite")}
        try:
            answer, _ = self.tensorflow.ask(header, doing="converting the SavedModel with tf.lite")
        except RuntimeCrash as crash:
            return crash.reason
        self.seconds["reconvert"] = time.perf_counter() - start
        return str(answer["refused"])

    def prove_reconverted(self) -> Verification:
        """What came out of TensorFlow's converter in LiteRT, against the source."""
        inputs, outputs = self._ports()
        return self._compare("run reconverted", lambda: Renamed(
            LiteRtSession(self.scratch / "reconverted.tflite"), inputs, outputs, self.names))

    def _ports(self) -> tuple[list[Port], list[Port]]:
        main = self.result.model.main
        return [port_of(t) for t in main.inputs], [port_of(t) for t in main.outputs]

    def _compare(self, what: str, session: Callable[[], Session]) -> Verification:
        start = time.perf_counter()
        found = self.result.proof().run(self.folder, self.on_progress, session=lambda folder: session())
        self.seconds[what] = time.perf_counter() - start
        try:
            found.raise_for_verdict()
        except VerificationError as error:
            error.reason = f"the SavedModel is not published. {error.reason}"
            error.remedy = "leave --saved-model out: the .tflite is proven by itself"
            raise
        return found
