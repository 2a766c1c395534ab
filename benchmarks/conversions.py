"""Each model through each converter once: the results, which are counted and timed afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.models import SPECS, Exporter, Layout, Models
from benchmarks.operators import counts
from benchmarks.peers import Converter, Fidelite, Job, with_proof
from benchmarks.work import ROOT, Unavailable

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """A converted file, or the reason why there is none. `proof` is None for peers: they prove nothing."""

    converter: str
    model: str
    exporter: Exporter
    layout: Layout
    path: Path | None = None
    reason: str | None = None
    proof: str | None = None

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"converter": self.converter, "model": self.model, "exporter": self.exporter,
                                 "layout": self.layout}
        if self.path is None:
            return facts | {"reason": self.reason}
        return facts | counts(self.path) | ({} if self.proof is None else {"proof": self.proof})


def _proven(converter: Fidelite, job: Job, folder: Path) -> tuple[Path, str]:
    """With proof, or, where that fails, without and with the reason. Raises Unavailable."""
    try:
        return with_proof(converter, True).convert(job, folder)[0], "proven"
    except Unavailable as reason:
        return with_proof(converter, False).convert(job, folder)[0], f"not proven: {reason}"


def _cached(converter: Converter, job: Job, folder: Path) -> Path:
    """A peer's version is fixed, so its result stays valid as long as the model and the call do."""
    stamp = folder / "made.json"
    called = (ROOT / "benchmarks/peers.py").read_bytes() + (ROOT / "benchmarks/with_litert_torch.py").read_bytes()
    key = [converter.name, (job.models.folder / "made.txt").read_text("utf-8"), hashlib.sha256(called).hexdigest()]
    if stamp.is_file():
        known = json.loads(stamp.read_text("utf-8"))
        if known["key"] == key and (folder / known["file"]).is_file():
            return folder / known["file"]
    path, _ = converter.convert(job, folder)
    stamp.write_text(json.dumps({"key": key, "file": path.relative_to(folder).as_posix()}), "utf-8")
    return path


def _one(converter: Converter, job: Job, folder: Path) -> Result:
    result = Result(converter.name, job.spec.name, job.exporter, job.layout)
    try:
        if isinstance(converter, Fidelite):
            path, proof = _proven(converter, job, folder)
            return replace(result, path=path, proof=proof)
        return replace(result, path=_cached(converter, job, folder))
    except Unavailable as reason:
        return replace(result, reason=str(reason))


def jobs(models: Models, names: Sequence[str], exporters: Sequence[Exporter]) -> Iterator[Job]:
    for name in names:
        for exporter in exporters:
            for layout in SPECS[name].layouts:
                yield Job(SPECS[name], models, exporter, layout)


def convert_all(work: Path, converters: Sequence[Converter], models: Models, names: Sequence[str],
                tell: Tell) -> list[Result]:
    """Everything that can be converted, by everyone who is there."""
    results: list[Result] = []
    for converter in converters:
        for job in jobs(models, names, converter.exporters):
            folder = work / "converted" / converter.name.split()[0] / f"{job.spec.name}_{job.exporter}_{job.layout}"
            tell(f"{converter.name}: {job.spec.name}, {job.exporter} export, layout {job.layout}")
            results.append(_one(converter, job, folder))
    return results
