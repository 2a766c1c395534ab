"""What a finished file does in its target's own runtime, or in a simulation of it, where that can be had here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fidelite.errors import Notice, RuntimeCrash, TargetError, VerificationError, Where

if TYPE_CHECKING:
    from fidelite.check import Verification
    from fidelite.check.proof import Proof
    from fidelite.pipeline import Conversion
    from fidelite.runtime.protocol import Session
    from fidelite.targets import Profile
    from fidelite.tflite.graph import Model

Tell = Callable[[str, float], None]


def _micro(result: Conversion, profile: Profile, tell: Tell) -> dict[str, Any]:
    """Prove the file again in TensorFlow Lite Micro's interpreter, and measure the arena.

    Raises TargetError (F472) where the interpreter does not take the file, Mismatch or NotProven where it gives
    something else than the source.
    """
    from fidelite.runtime.micro import Arena, MicroSession, installed

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

    proof = _proof(result)
    with _written(result.model) as path:
        try:
            if result.options.precision == "float32" and not proof.came_quantized:
                found = proof.run(path, lambda what, done, total: tell("device", done / total), session=Measured)
            else:  # the file is proven; Micro must give what LiteRT's own kernels give, whose integers it shares
                # but for roundings: a step of an int8 output's grid may be more than float16's bounds.
                found = _against_litert(proof, path, lambda: Measured(path), "dynamic-int8", tell, xnnpack=False)
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


def _gpu(result: Conversion, profile: Profile, tell: Tell) -> dict[str, Any]:
    """Simulate float16 on the CPU: what values and sums reach, and what the outputs become with all values rounded."""
    from fidelite.float16 import LARGEST, probe_magnitudes, round_values
    from fidelite.runtime.litert import LiteRtSession
    from fidelite.source.tflite_file import read_tflite

    proof = _proof(result)
    with _written(result.model) as path:
        probed, rounded = read_tflite(path), read_tflite(path)
        spots = probe_magnitudes(probed)
        if not spots or not round_values(rounded):
            return {}
        reached = dict.fromkeys((spot.output for spot in spots), 0.0)
        samples = proof.first_samples()
        with _written(probed) as probe, LiteRtSession(probe) as session:
            for number, sample in enumerate(samples):
                tell("device", 0.5 * number / len(samples))
                for name, value in session.run(sample).items():
                    reached[name] = max(reached[name], abs(float(value)))
        with _written(rounded) as half:
            found = _against_litert(proof, path, lambda: LiteRtSession(half), "float16",
                                    lambda stage, done: tell(stage, 0.5 + done / 2))
    rows: list[dict[str, Any]] = [
        {"what": s.what, "tensor": s.tensor, "op": s.op, "nodes": list(s.nodes), "reaches": reached[s.output]}
        for s in spots]
    rows.sort(key=lambda row: -row["reaches"])
    data = {"target": "gpu", "limit": LARGEST, "samples": len(samples), "largest": rows[:_MOST_ROWS],
            "pools": [r for r in rows if r["op"] == "MAX_POOL_2D" and r["reaches"] > _POOL_FLOOR],
            "overflow": [r for r in rows if r["what"] == "value" and not r["reaches"] <= LARGEST],
            "sums": [r for r in rows if r["what"] == "sum" and not r["reaches"] <= LARGEST],
            "verification": {"proven": found.proven, "rows": found.summary(), **found.to_json(),
                             "result": "LiteRT with every value rounded to float16"}}
    result.notices += _half_notices(data)
    return data


def _half_notices(data: dict[str, Any]) -> list[Notice]:
    remedy = "compute in float32 on the GPU: setPrecisionLossAllowed(false) in Java and Kotlin, C's default"
    found: list[Notice] = []
    end = f"float16 ends at {data['limit']:.0f}"
    pool = "the delegate's maximum begins at -10000: what lies below comes out as that"
    for kind, told, why in (("overflow", "a value reaches", end), ("sums", "what is added up may reach", end),
                            ("pools", "a maximum reaches a magnitude of", pool)):
        if rows := data[kind]:
            first = rows[0]
            more = f", and {len(rows) - 1} more places" if len(rows) > 1 else ""
            text = f"gpu: {first['op']} '{first['tensor']}': {told} {first['reaches']:.4g}{more}; {why}"
            found.append(Notice("W474", text, remedy, Where(node=", ".join(first["nodes"][:1])), "warning"))
    if not data["verification"]["proven"]:
        parts = [f"'{r['output']}' {r['reason']}" for r in data["verification"]["rows"] if r["verdict"] != "proven"]
        text = f"gpu: with every value rounded to float16 the outputs move: {'; '.join(parts[:3])}"
        found.append(Notice("W475", text, remedy, level="warning"))
    return found


def _proof(result: Conversion) -> Proof:
    from fidelite.check.oracle import source_content
    from fidelite.check.proof import Proof
    from fidelite.check.tolerance import Tolerance

    content = source_content(result.source, moved_weights=result.options.weights is not None)
    options = result.options
    tolerance = Tolerance.loosest([options.precision, *result.approximated]) if result.approximated else None
    return Proof(content, result.source.model, result.model.main, result.edge, options.precision, options.samples,
                 tolerance)


def _against_litert(proof: Proof, path: Path, other: Callable[[], Session], tolerance: str, tell: Tell, *,
                    xnnpack: bool = True) -> Verification:
    """Compare what another session gives with what LiteRT gives of the file, on the proof's samples."""
    from fidelite.check.tolerance import Tolerance
    from fidelite.check.verify import verify_sessions
    from fidelite.runtime.litert import LiteRtSession

    return verify_sessions(
        lambda: LiteRtSession(path, xnnpack=xnnpack), other, proof.first_samples(), steady_source=True,
        tolerance=Tolerance.for_precision(tolerance), class_axes=proof.class_axes(),
        on_progress=lambda what, done, total: tell("device", done / total))


@contextmanager
def _written(model: Model) -> Generator[Path]:
    from fidelite.write.flatbuffer import write_model

    with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.tflite"
        with path.open("wb") as stream:
            write_model(model, stream)
        yield path


_MOST_ROWS = 10
_POOL_FLOOR = 10_000.0
"""LiteRT's tflite/delegates/gpu/common/tasks/pooling.cc: `FLT4 maximum = INIT_FLT4(-10000.0f)`."""
Trial = Callable[["Conversion", "Profile", Tell], dict[str, Any]]
TRIALS: Mapping[str, Trial] = {"micro": _micro, "gpu": _gpu}
"""Target -> what can be tried of it here: plain data about the file. A trial may add notices to the conversion."""
