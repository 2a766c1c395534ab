"""What a finished file does in its target's own runtime, or in a simulation of it, where that can be had here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fidelite.errors import Notice, RuntimeCrash, TargetError, VerificationError

if TYPE_CHECKING:
    from fidelite.pipeline import Conversion
    from fidelite.targets import Profile

Tell = Callable[[str, float], None]


def _micro(result: Conversion, profile: Profile, tell: Tell) -> dict[str, Any]:
    """Prove the file again in TensorFlow Lite Micro's interpreter, and measure the arena.

    Raises TargetError (F472) where the interpreter does not take the file, Mismatch or NotProven where it gives
    something else than the source.
    """
    from fidelite.check.oracle import source_content
    from fidelite.check.proof import Proof
    from fidelite.runtime.micro import Arena, MicroSession, installed
    from fidelite.write.flatbuffer import write_model

    if not installed():
        result.notices.append(Notice(
            "N472", "micro: checked against the table of kernels only: TensorFlow Lite Micro's interpreter is not "
            "installed", remedy='pip install "fidelite[micro]"   (Linux, Python 3.11 to 3.13)'))
        return {}
    arenas: list[Arena] = []

    class Measured(MicroSession):
        def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                     trace: TracebackType | None) -> None:
            try:
                if kind is None:
                    arenas.append(self.arena())
            finally:
                super().__exit__(kind, error, trace)

    content = source_content(result.source, moved_weights=result.options.weights is not None)
    proof = Proof(content, result.source.model, result.model.main, result.edge, result.options.precision,
                  result.options.samples)
    with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.tflite"
        with path.open("wb") as stream:
            write_model(result.model, stream)
        try:
            found = proof.run(path, lambda what, done, total: tell("device", done / total), session=Measured)
        except RuntimeCrash as crash:
            raise TargetError(f"{profile.title} does not take the file: {crash.reason}", code="F472",
                              remedy="fidelite inspect MODEL --target micro") from crash
    try:
        found.raise_for_verdict()
    except VerificationError as error:
        error.evidence = result
        raise
    return {"target": "micro", "verification": {"proven": found.proven, "rows": found.summary(), **found.to_json()},
            "arena": arenas[0].to_json()}


Trial = Callable[["Conversion", "Profile", Tell], dict[str, Any]]
TRIALS: Mapping[str, Trial] = {"micro": _micro}
"""Target -> what can be tried of it here: plain data about the file. A trial may add notices to the conversion."""
