"""What a `.tflite` of ours says about itself: where it comes from, how it was made, what was proven.

Kept as JSON in the file's metadata `fidelite.manifest`; the map from source values to tensors, which bisect reads,
lies compressed in `fidelite.values`. Neither holds times, paths or anything else that changes between equal runs.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from fidelite.tflite.graph import Model, Origin

if TYPE_CHECKING:
    from fidelite.pipeline import Conversion

MANIFEST = "fidelite.manifest"
VALUES = "fidelite.values"


def manifest_of(conversion: Conversion) -> dict[str, Any]:
    """The manifest as plain data."""
    from importlib.metadata import PackageNotFoundError, version

    import fidelite

    versions: dict[str, str] = {}
    for package in ("onnx", "onnx-ir", "onnxruntime", "ai-edge-litert", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    source, options = conversion.source, conversion.options
    return {
        "fidelite": fidelite.__version__,
        "source": {"name": source.label, "sha256": source.sha256, "opset": source.opset,
                   "exporter": source.exporter,
                   "producer": f"{source.model.producer_name or ''} {source.model.producer_version or ''}".strip()},
        "options": {"precision": options.precision, "target": options.target,
                    **({"task": options.task} if options.task else {}),
                    "shapes": {k: list(v) for k, v in options.shapes.items()}, "outputs": list(options.outputs),
                    "approximate": list(options.approximate)},
        "edge": conversion.edge.to_json(),
        "notices": [{"code": n.code, "text": n.text} for n in conversion.notices],
        "versions": versions,
        "proof": conversion.proof_json(),
        **({"device": _device(conversion.device)} if conversion.device else {}),
    }


def _device(data: dict[str, Any]) -> dict[str, Any]:
    """What was tried on the target, without the figures of single samples."""
    found = {k: v for k, v in data.items() if k != "verification"}
    if (proof := data.get("verification")) is not None:
        found["proof"] = {"verdict": proof["verdict"], "result": proof["result"], "samples": proof["samples"],
                          "outputs": {r["output"]: r["max_abs"] for r in proof["rows"]}}
    return found


def write_metadata(model: Model, manifest: dict[str, Any]) -> None:
    """Put manifest and value map into the model's metadata."""
    model.metadata[MANIFEST] = json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    model.metadata[VALUES] = zlib.compress(json.dumps(value_map(model), separators=(",", ":")).encode("utf-8"), 9)


def value_map(model: Model) -> list[list[Any]]:
    """[tensor's name in the file, source value (None: of that name), permutation, source nodes] for every tensor of
    the main graph with an origin."""
    from fidelite.write.flatbuffer import unique_names

    tensors = list(model.main.tensors())
    names = unique_names(model.main, tensors)
    rows: list[list[Any]] = []
    for tensor in tensors:
        if tensor.origin is not None and not tensor.is_constant:
            nodes = list(tensor.producer.nodes) if tensor.producer is not None else []
            value = None if tensor.origin.value == names[tensor] else tensor.origin.value
            rows.append([names[tensor], value, list(tensor.origin.permutation), nodes])
    return rows


def read_manifest(model: Model) -> dict[str, Any] | None:
    """The manifest of a file that fidelite wrote; None for others."""
    data = model.metadata.get(MANIFEST)
    return None if data is None else json.loads(data.decode("utf-8"))


def restore_values(model: Model) -> bool:
    """Give the tensors of a model that was read their origins back.

    False where the file has no map, or one that does not fit (another tool has changed the file since).
    """
    data = model.metadata.get(VALUES)
    if data is None:
        return False
    tensors = {t.name: t for t in model.main.tensors() if not t.is_constant}
    try:
        rows = [(str(i), str(i if v is None else v), tuple(int(a) for a in p), tuple(str(n) for n in nodes))
                for i, v, p, nodes in json.loads(zlib.decompress(data).decode("utf-8"))]
    except (zlib.error, ValueError, TypeError):
        return False
    if any(name in tensors and len(p) not in (0, tensors[name].rank) for name, _, p, _ in rows):
        return False
    for name, value, permutation, nodes in rows:
        if (tensor := tensors.get(name)) is None:
            continue  # another tool took it out
        tensor.origin = Origin(value, permutation)
        if tensor.producer is not None:
            tensor.producer.nodes = nodes
    return True
