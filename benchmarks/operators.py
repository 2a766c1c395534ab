"""What a `.tflite` file holds: operators, the ones that only move data, and its edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fidelite.tflite_facts import tflite_facts


def counts(path: Path) -> dict[str, Any]:
    """Operators of all graphs, and how many of them are TRANSPOSEs and RESHAPEs; custom ops; edge shapes; bytes."""
    facts = tflite_facts(path)
    ops: dict[str, int] = facts["ops"]
    return {
        "operators": facts["operators"],
        "transposes": ops.get("TRANSPOSE", 0),
        "reshapes": ops.get("RESHAPE", 0),
        "ops": ops,
        "custom": facts["custom_ops"],
        "inputs": [edge["shape"] for edge in facts["inputs"]],
        "outputs": [edge["shape"] for edge in facts["outputs"]],
        "bytes": facts["file_bytes"],
    }
