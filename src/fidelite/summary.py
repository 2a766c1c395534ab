"""A conversion in figures, as plain data: what went in, what came out, what was proven, how long it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fidelite.tasks.card import read_card

if TYPE_CHECKING:
    from fidelite.check import Verification
    from fidelite.pipeline import Conversion


def describe(result: Conversion, file: Path | str | None = None) -> dict[str, Any]:
    """Figures of a conversion, in JSON's types.

    Args:
        result: What `fidelite.convert` returned.
        file: Where it was saved, if it was.
    """
    path = Path(file) if file is not None else None
    source, model = result.source, result.model
    graph = source.model.graph
    inputs = [v for v in graph.inputs if not v.is_initializer()]
    operators = Counter(op.op for g in model.graphs for op in g.operators)
    main = model.graphs[0]
    return {
        "source": {
            "path": None if source.path is None else str(source.path),
            "name": source.label,
            "pytorch": None if source.program is None else
            {"kind": source.program.kind, "exporter": source.exporter,
             "files": [str(p) for p in source.program.files]},
            "files": [str(p) for p in source.data_files],
            "bytes": source.total_size,
            "graph_bytes": source.file_size,
            "producer": " ".join(p for p in (source.model.producer_name, source.model.producer_version) if p),
            "opset": source.opset,
            "prepared_nodes": len(graph),
            "inputs": [_value(v) for v in inputs],
            "outputs": [_value(v) for v in graph.outputs],
        },
        "result": {
            "path": None if path is None else str(path),
            "bytes": None if path is None else path.stat().st_size,
            "precision": result.options.precision,
            "target": result.options.target,
            "task": None if (card := read_card(model.metadata, model.files)) is None else card.to_json(),
            "operators": sum(operators.values()),
            "ops": dict(operators.most_common()),
            "transposes": operators["TRANSPOSE"],
            "inputs": [_tensor(t) for t in main.inputs],
            "outputs": [_tensor(t) for t in main.outputs],
            "xnnpack": None if result.delegation is None else result.delegation.to_json(),
        },
        "verification": _proof(result.verification),
        "exact_verification": _proof(result.exact_verification),
        "float_verification": _proof(result.float_verification),
        "device": result.device,
        "saved_model": None if result.saved_model is None else result.saved_model.to_json(),
        "quantization": None if result.quantization is None else result.quantization.to_json(),
        "kept_float": [{"nodes": nodes, "reason": reason} for nodes, reason in result.kept_float],
        "notices": [n.to_json() for n in result.notices],
        "passes": {} if result.log is None else dict(result.log.changes),
        "refusals": [] if result.log is None else list(result.log.refusals),
        "seconds": dict(result.seconds),
    }


def _proof(proof: Verification | None) -> dict[str, Any] | None:
    return None if proof is None else {"proven": proof.proven, "rows": proof.summary()} | proof.to_json()


def _value(value: Any) -> dict[str, Any]:
    shape: Sequence[Any] | None = value.shape
    dims = None if shape is None else [d if isinstance(d, int) else d.value for d in shape]
    name = "" if value.dtype is None else value.dtype.name
    return {"name": value.name or "", "type": {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower()),
            "shape": dims}


def _tensor(tensor: Any) -> dict[str, Any]:
    dims = [d if isinstance(d, int) else str(d) for d in tensor.shape]
    return {"name": tensor.name, "type": tensor.element.name.lower(), "shape": dims}
