"""`fidelite.verify`: compare a file with the model it came from, and name the first step that diverges."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fidelite.edge import Edge, InputEdge, OutputEdge
from fidelite.errors import Notice, RuntimeCrash, UsageError
from fidelite.files import publish

if TYPE_CHECKING:
    import onnx_ir

    from fidelite.check import Verification
    from fidelite.check.bisect import Divergence
    from fidelite.phone.device import Phone
    from fidelite.runtime.protocol import Session
    from fidelite.tflite.graph import Graph, Model


@dataclass
class Verified:
    """The verdict on a file, and, where it was asked for, the first step that diverges."""

    verification: Verification
    edge: Edge
    precision: str
    divergence: Divergence | None = None
    bisected: bool = False
    files: list[Path] = field(default_factory=list[Path])
    """What bisect wrote: the source and the result cut down to the diverging step."""
    notices: list[Notice] = field(default_factory=list[Notice])

    @property
    def proven(self) -> bool:
        return self.verification.proven

    def to_json(self) -> dict[str, Any]:
        return {"verification": self.verification.to_json(), "edge": self.edge.to_json(), "precision": self.precision,
                "bisected": self.bisected, "files": [f.name for f in self.files],
                "divergence": None if self.divergence is None else self.divergence.to_json(),
                "notices": [n.to_json() for n in self.notices]}


def verify(model: Path | str, tflite: Path | str, *, samples: Path | str | None = None,
           weights: Path | str | None = None, bisect: bool = False, cut_folder: Path | str | None = None,
           shapes: Mapping[str, tuple[int, ...]] | None = None, phone: Phone | None = None,
           on_progress: Callable[[str, float], None] | None = None) -> Verified:
    """Run the ONNX file `model` and `tflite` on the same inputs.

    What happens at the file's edge (layout, normalisation, argmax) is read from its manifest; a file without one must
    have the source's own edge, or channels-last inputs and outputs. With `bisect`, the first node whose outputs differ
    while its inputs agree is named, and the models cut down to it are written to `cut_folder` (default: beside
    `tflite`).

    With `phone` the file runs on that device, and `bisect` is not available.

    Raises LoadError, BadSample, and RuntimeCrash where LiteRT dies or refuses (with `bisect`, that is found out like
    any other difference); a mismatch is no error here, but a verdict.
    """
    from fidelite.check.oracle import source_content
    from fidelite.check.proof import Proof
    from fidelite.manifest import read_manifest, restore_values
    from fidelite.source.load import load
    from fidelite.source.tflite_file import read_tflite

    if phone is not None and bisect:
        raise UsageError("bisect needs inner values, which a device does not give", code="F224",
                         remedy="fidelite verify MODEL OUT.tflite --bisect")
    path = Path(tflite)
    result = read_tflite(path)
    has_values = restore_values(result)
    manifest = read_manifest(result) or {}
    moved = Path(weights) if weights is not None else None
    source = load(model, weights=moved)
    source.fix_shapes(shapes or {k: tuple(v) for k, v in manifest.get("options", {}).get("shapes", {}).items()})
    edge = Edge.from_json(manifest["edge"]) if "edge" in manifest else _edge_by_shapes(source.model, result.main)
    precision = manifest.get("options", {}).get("precision", "float32")
    proof = Proof(source_content(source, moved_weights=moved is not None), source.model, result.main, edge, precision,
                  Path(samples) if samples is not None else None)
    tell = on_progress or (lambda what, done: None)
    try:
        session = None if phone is None else lambda file: _on_phone(phone, file)
        verification = proof.run(path, lambda what, done, total: tell("verify", done / total), session=session)
    except RuntimeCrash as crash:
        if not bisect:
            raise
        verification = _crashed(crash)
    if has_values and proof.came_quantized and verification.outputs and not bisect:
        from fidelite.check.stepwise import with_steps

        verification = with_steps(verification, proof, result)
    found = Verified(verification, edge, precision)
    if bisect:
        tell("bisect", 0.0)
        if not has_values:
            _name_values(result, source.model)
            found.notices.append(Notice("N510", "the file has no map of the source's values: they are told by name"))
        _bisect(found, proof, result, source.model, Path(cut_folder) if cut_folder else path.parent, path.stem)
    return found


def _on_phone(phone: Phone, file: Path) -> Session:
    from fidelite.phone.device import PhoneSession

    return PhoneSession(phone, file)


def _crashed(crash: RuntimeCrash) -> Verification:
    """The verdict on a file that its runtime does not run to the end: bisect then says where."""
    from fidelite.check import Verification

    return Verification((), "ONNX Runtime", "LiteRT", 0, (crash.reason,))


def _bisect(found: Verified, proof: Any, result: Model, source: onnx_ir.Model, folder: Path, stem: str) -> None:
    from fidelite.check.bisect import Bisection
    from fidelite.check.stepwise import source_values

    bisection = Bisection(result, proof.source, found.edge, source_values(source), found.precision)
    found.bisected = True
    for sample in proof.first_samples():  # a fault need not show on each
        found.divergence = bisection.run(sample)
        if found.divergence is not None or found.proven:
            break
    if found.divergence is not None:
        found.files = _write_cut(found.divergence, source, folder, stem)


def _write_cut(divergence: Divergence, source: onnx_ir.Model, folder: Path, stem: str) -> list[Path]:
    """Write the source and the result, cut down to the step, as STEM.cut.onnx and STEM.cut.tflite."""
    import onnx_ir

    from fidelite.check.bisect import cut_source, explode
    from fidelite.write.flatbuffer import write_model

    assert divergence.step is not None
    small, feeds, outputs = explode([divergence.step])
    for tensor in small.main.inputs:
        tensor.name = feeds[tensor.name].name
    for tensor in small.main.outputs:
        tensor.name = outputs[tensor.name].name
    tflite, onnx = folder / f"{stem}.cut.tflite", folder / f"{stem}.cut.onnx"
    with publish(tflite) as temporary, temporary.open("wb") as stream:
        write_model(small, stream)
    with publish(onnx) as temporary, tempfile.TemporaryDirectory(prefix="fidelite-") as scratch:
        inner = Path(scratch) / "cut.onnx"
        cut = cut_source(source, divergence.step)
        onnx_ir.external_data.load_to_model(cut)
        onnx_ir.save(cut, inner)
        temporary.write_bytes(inner.read_bytes())
    return [onnx, tflite]


def _edge_by_shapes(source: onnx_ir.Model, graph: Graph) -> Edge:
    """The edge of a file without a manifest: ports are alike, or channels-last where only that fits."""
    inputs: dict[str, InputEdge] = {}
    outputs: dict[str, OutputEdge] = {}
    for value, tensor in zip(source.graph.inputs, graph.inputs, strict=False):
        rank = tensor.rank
        if _moved(value, tensor.shape):
            inputs[tensor.name] = InputEdge((0, rank - 1, *range(1, rank - 1)))
    for value, tensor in zip(source.graph.outputs, graph.outputs, strict=False):
        if _moved(value, tensor.shape):
            outputs[tensor.name] = OutputEdge((0, *range(2, tensor.rank), 1))
    return Edge(inputs, outputs)


def _moved(value: onnx_ir.Value, shape: Any) -> bool:
    """Whether `shape` is the value's with its channels moved to the end, and not the value's own."""
    if value.shape is None or len(value.shape) != len(shape) or len(shape) < 3:
        return False
    own = list(value.shape)
    return own != list(shape) and [own[0], *own[2:], own[1]] == list(shape)


def _name_values(result: Model, source: onnx_ir.Model) -> None:
    """Take tensors with a source value's name and shape for that value."""
    from fidelite.tflite.graph import Origin

    values = {v.name: v for node in source.graph for v in node.outputs if v.name}
    for tensor in result.main.tensors():
        value = values.get(tensor.name)
        if value is not None and value.shape is not None and list(value.shape) == list(tensor.shape):
            tensor.origin = Origin(tensor.name)
