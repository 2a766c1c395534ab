"""Converts one file of the zoo, proves it, and asks it the questions that the zoo keeps.

    python -m tests.zoo.one MODEL.onnx OUT.json

Runs in a process of its own, so that a crash or a hang costs one model.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fidelite
from fidelite.errors import FideliteError
from fidelite.runtime import LiteRtSession, OnnxSession

QUANTIZED = ("qdq", "qoperator", "dynamic")


def questions(model: Path) -> dict[str, dict[str, np.ndarray]]:
    """The inputs that the zoo keeps beside the model: `io` and, for models with open dimensions, `io_alt`."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in ("io", "io_alt"):
        file = model.parent / f"{name}.npz"
        if file.is_file() and (name == "io" or ".dyn." in model.name):
            with np.load(file) as arrays:
                found[name] = {k.removeprefix("in:"): arrays[k] for k in arrays.files if k.startswith("in:")}
    return found


def named_as(session: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The feeds that the model has inputs for; exporters may drop or rename some."""
    names = [p.name for p in session.inputs]
    if set(names) <= set(feeds):
        return {name: feeds[name] for name in names}
    return dict(zip(names, feeds.values(), strict=False))


def largest_error(wanted: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> float:
    """The largest error of any output, as a share of that output's largest magnitude; infinite where shapes differ."""
    worst = 0.0
    for name, a in wanted.items():
        b = found[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return float("inf")
        if a.size == 0:
            continue
        if a.dtype.kind in "iub":
            worst = max(worst, float(np.mean(a != b)))
            continue
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        if not np.array_equal(np.isfinite(a64), np.isfinite(b64)):
            return float("inf")
        finite = np.isfinite(a64)
        if finite.any():
            scale = max(float(np.abs(a64[finite]).max()), 1e-12)
            worst = max(worst, float(np.abs(a64[finite] - b64[finite]).max()) / scale)
    return worst


def attempts(model: Path, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ways to convert, each with its name: as it comes, then with what a user would add."""
    yield "", {}
    asked = questions(model)
    if "io" not in asked:
        return
    with OnnxSession(model) as session:
        feeds = named_as(session, asked["io"])
        opened = {p.name: feeds[p.name].shape for p in session.inputs if not all(isinstance(d, int) for d in p.shape)}
    if opened:
        yield "--shape", {"shapes": opened}
    pictures = [a for a in feeds.values() if a.ndim == 4]
    if len(pictures) == len(feeds) == 1:  # what the network was made for, where made pictures lead it astray
        (name, array), = feeds.items()
        own: dict[str, Any] = {name: np.stack([array, array[..., ::-1], 0.8 * array + 0.1 * array.mean()])}
        np.savez(folder / "own.npz", **own)
        yield "--samples", {"samples": folder / "own.npz"}


def converted(model: Path, folder: Path) -> tuple[str, fidelite.Conversion]:
    """The first attempt that succeeds. Raises what the first one raised."""
    first: FideliteError | None = None
    for way, options in attempts(model, folder):
        try:
            return way, fidelite.convert(model, **options)
        except FideliteError as error:
            first = first or error
    assert first is not None
    raise first


def judge(model: Path) -> dict[str, Any]:
    """What became of one file, as plain data."""
    with tempfile.TemporaryDirectory() as folder:
        return _judged(model, Path(folder))


def _judged(model: Path, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        way, result = converted(model, folder)
    except FideliteError as error:
        reasons = sorted({(e.code, e.where.op, e.reason) for e in error.errors})
        return {"status": "refused" if error.exit_code == 4 else "failed", "codes": sorted({r[0] for r in reasons}),
                "reasons": [f"{op}: {reason}" if op else reason for _, op, reason in reasons][:6],
                "seconds": round(time.perf_counter() - start, 1)}
    seconds = round(time.perf_counter() - start, 1)
    operators = [o for g in result.model.graphs for o in g.operators]
    assert result.verification is not None
    taken = result.delegation
    answer: dict[str, Any] = {
        "status": result.verification.verdict, "way": way, "operators": len(operators),
        "transposes": sum(o.op == "TRANSPOSE" for o in operators), "seconds": seconds,
        "delegated": None if taken is None else [taken.taken, taken.total],
        "notices": sorted({n.code for n in result.notices}), "asked": {}}
    file = result.save(folder / "model.tflite")
    answer["bytes"] = file.stat().st_size
    for name, feeds in questions(model).items():
        if name == "io_alt" and way == "--shape":
            continue
        with OnnxSession(model) as source:
            wanted = source.run(named_as(source, feeds))
        with LiteRtSession(file) as session:
            answer["asked"][name] = largest_error(wanted, session.run(named_as(session, feeds)))
    return answer


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(judge(Path(sys.argv[1]))), encoding="utf-8")
