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
        "source": {"name": source.path.name if source.path else "", "sha256": source.sha256, "opset": source.opset,
                   "producer": f"{source.model.producer_name or ''} {source.model.producer_version or ''}".strip()},
        "options": {"precision": options.precision, "target": options.target,
                    "shapes": {k: list(v) for k, v in options.shapes.items()}, "outputs": list(options.outputs),
                    "approximate": list(options.approximate)},
        "edge": conversion.edge.to_json(),
        "notices": [{"code": n.code, "text": n.text} for n in conversion.notices],
        "versions": versions,
        "proof": conversion.proof_json(),
    }


def write_metadata(model: Model, manifest: dict[str, Any]) -> None:
    """Put manifest and value map into the model's metadata."""
    model.metadata[MANIFEST] = json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    model.metadata[VALUES] = zlib.compress(json.dumps(value_map(model), separators=(",", ":")).encode("utf-8"), 9)


def value_map(model: Model) -> list[list[Any]]:
    """[tensor index in the main graph, source value, permutation, source nodes] for every tensor with an origin."""
    rows: list[list[Any]] = []
    for index, tensor in enumerate(model.main.tensors()):
        if tensor.origin is not None and not tensor.is_constant:
            nodes = list(tensor.producer.nodes) if tensor.producer is not None else []
            rows.append([index, tensor.origin.value, list(tensor.origin.permutation), nodes])
    return rows


def read_manifest(model: Model) -> dict[str, Any] | None:
    """The manifest of a file that fidelite wrote; None for others."""
    data = model.metadata.get(MANIFEST)
    return None if data is None else json.loads(data.decode("utf-8"))


def restore_values(model: Model) -> bool:
    """Give the tensors of a model that was read their origins back. False where the file has no map."""
    data = model.metadata.get(VALUES)
    if data is None:
        return False
    tensors = list(model.main.tensors())
    for index, value, permutation, nodes in json.loads(zlib.decompress(data).decode("utf-8")):
        tensor = tensors[index]
        tensor.origin = Origin(value, tuple(permutation))
        if tensor.producer is not None:
            tensor.producer.nodes = tuple(nodes)
    return True
