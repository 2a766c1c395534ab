"""python -m benchmarks.precision: quantize with fidelite and with Google's quantizer, and judge both. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import latency, peers
from benchmarks.models import make_models
from benchmarks.precision import page
from benchmarks.precision.subjects import Subject, open_shapes, subjects
from benchmarks.work import (
    DEFAULT_WORK,
    ROOT,
    Environment,
    Unavailable,
    Usage,
    environment_of,
    logged,
    measured,
    publishable,
    this_version,
)

RESULTS = ROOT / "benchmarks" / "results"
QUANTIZER = "litert-quantizer==0.11.0"
# The mode of fidelite, and the recipe of litert-quantizer that means the same.
MODES: dict[str, str | None] = {
    "float16": None, "dynamic-int8": "dynamic_wi8_afp32", "weight-int8": "weight_only_wi8_afp32",
    "weight-int4": "weight_only_wi4_afp32", "int8": "static_wi8_ai8", "int16x8": "static_wi8_ai16"}
CALIBRATED = ("int8", "int16x8")


@dataclass
class Bench:
    work: Path
    python: Path
    quantizer: Environment | None
    """None: fidelite only."""
    drawings: int
    pairs: int

    def run(self, subject: Subject, modes: Sequence[str]) -> dict[str, Any]:
        folder = self.work / "precision" / subject.name
        calibration, test = subject.write(folder)
        reference = folder / "float32.tflite"
        shapes = open_shapes(subject)
        self._fidelite(subject, "float32", None, reference, shapes)
        found: dict[str, Any] = {"title": subject.title, "trained": subject.trained, "modes": {},
                                 "float_bytes": reference.stat().st_size}
        files: dict[tuple[str, str], Path] = {}
        for mode in modes:
            rows: dict[str, Any] = {}
            for tool in page.TOOLS:
                target = folder / f"{mode}.{tool}.tflite"
                target.unlink(missing_ok=True)
                try:
                    usage = self._quantize(tool, subject, mode, reference, calibration, target, shapes)
                except Unavailable as reason:
                    rows[tool] = {"reason": publishable(str(reason))}
                    continue
                if usage is None:
                    continue
                rows[tool] = {"bytes": target.stat().st_size, "usage": usage.to_json()}
                rows[tool] |= self._judged(reference, target, test)
                if "reason" not in rows[tool]:
                    files[mode, tool] = target
            found["modes"][mode] = rows
            tell(f"  {mode}: " + "; ".join(f"{t} {page.short(r)}" for t, r in rows.items()))
        self._latencies(found, files, reference)
        if subject.faces and files:
            self._faces(found, files, reference)
        return found

    def _fidelite(self, subject: Subject, mode: str, calibration: Path | None, target: Path,
                  shapes: list[str]) -> Usage:
        more = ["--calibration", calibration] if calibration is not None else []
        command = [self.python, "-m", "fidelite", "convert", subject.onnx, "-o", target, "--precision", mode,
                   "--no-verify", *shapes, *more]
        return measured(command, target.parent, name=f"{mode}.fidelite", cwd=target.parent)

    def _quantize(self, tool: str, subject: Subject, mode: str, reference: Path, calibration: Path, target: Path,
                  shapes: list[str]) -> Usage | None:
        if tool == "fidelite":
            return self._fidelite(subject, mode, calibration if mode in CALIBRATED else None, target, shapes)
        recipe = MODES[mode]
        if recipe is None or self.quantizer is None:
            return None
        script = ROOT / "benchmarks" / "precision" / "with_litert_quantizer.py"
        return measured([self.quantizer.python, script, reference, recipe, calibration, target], target.parent,
                        name=f"{mode}.litert-quantizer", cwd=target.parent)

    def _told(self, module: str, *arguments: object, timeout: float = 3600.0) -> Any:
        command = [self.python, "-m", f"benchmarks.precision.{module}", *arguments]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, env=environment_of(), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=timeout, check=False)
        if done.returncode != 0:
            words = publishable(done.stderr).strip().splitlines() or ["it said nothing"]
            raise Unavailable(f"exit code {done.returncode}: {words[-1][:200]}")
        return json.loads(done.stdout.splitlines()[-1])

    def _judged(self, reference: Path, target: Path, test: Path) -> dict[str, Any]:
        try:
            return self._told("judge", reference, target, test)
        except Unavailable as reason:
            return {"reason": f"LiteRT does not run it: {reason}"}

    def _latencies(self, found: dict[str, Any], files: dict[tuple[str, str], Path], reference: Path) -> None:
        """Run time over the float file's, one thread, in turns."""
        for (mode, tool), file in files.items():
            try:
                run = latency.timed(self.python, file, reference, self.pairs, 10.0)
            except (Unavailable, subprocess.TimeoutExpired) as reason:
                found["modes"][mode][tool]["latency"] = {"reason": publishable(str(reason))}
            else:
                found["modes"][mode][tool]["latency"] = run

    def _faces(self, found: dict[str, Any], files: dict[tuple[str, str], Path], reference: Path) -> None:
        rows = self._told("faces", self.drawings, reference, *files.values())
        for (mode, tool), row in zip(files, rows, strict=True):
            found["modes"][mode][tool]["miou"] = row


def tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision",
                                     description="Quantize beside Google's quantizer.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a subject or a mode; repeatable")
    parser.add_argument("--zoo", type=Path, help="what `make zoo` has built, for its trained networks")
    parser.add_argument("--drawings", type=int, default=100, help="held-out drawings for the mIoU")
    parser.add_argument("--pairs", type=int, default=60, help="pairs of runs for each latency")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK)
    parser.add_argument("--out", type=Path, help="folder for precision.json, .md and .png")
    parser.add_argument("--no-peers", action="store_true", help="fidelite only")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _arguments(arguments)
    work: Path = options.work.resolve()
    out: Path = options.out or (RESULTS if not options.only else work / "partial")
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    tell("environments")
    ours = peers.Fidelite(work)
    ours.install()
    quantizer = None
    if not options.no_peers:
        quantizer = Environment(work / "envs" / "litert-quantizer", (QUANTIZER,), ("3.11", this_version()))
        quantizer.make()
    tell("models")
    models = make_models(work, ["bisenet", "mobilenet"])
    modes = [m for m in MODES if m in options.only] or list(MODES)
    bench = Bench(work, ours.environment.python, quantizer, options.drawings, options.pairs)
    asked = {name for name in options.only if name not in MODES}
    results: dict[str, Any] = {"machine": {"system": f"{platform.system()} {platform.machine()}",
                                           "cores": os.cpu_count() or 1, "load_before": os.getloadavg()[0]},
                               "peer": QUANTIZER, "drawings": options.drawings, "subjects": {}}
    for subject in subjects(models, options.zoo):
        if asked and subject.name not in asked:
            continue
        tell(subject.title)
        results["subjects"][subject.name] = bench.run(subject, modes)
        (out / "precision.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (out / "precision.md").write_text(page.text(results), encoding="utf-8")
    results["machine"]["load_after"] = os.getloadavg()[0]
    (out / "precision.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (out / "precision.md").write_text(page.text(results), encoding="utf-8")
    plot = Environment(work / "envs" / "plot", ("matplotlib",), (this_version(),))
    plot.make()
    logged([plot.python, "-m", "benchmarks.precision.plot", out / "precision.json", out / "precision.png"],
           work / "plot.log")
    tell(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
