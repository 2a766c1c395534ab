"""The models whose figures are kept, and how the figures are taken."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import onnx

import fidelite
from fidelite.write.flatbuffer import write_model
from tests.optimize.classics import CLASSICS
from tests.optimize.support import layout_of, ops_of

TABLE = Path(__file__).with_name("figures.json")
FACE_PARSING = Path(fidelite.__file__).parent / "examples" / "face_parsing" / "face_parsing.onnx"
Figures = dict[str, Any]


def _classic(name: str) -> Callable[[], onnx.ModelProto]:
    return lambda: CLASSICS[name]()[1]


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    **{name: _classic(name) for name in CLASSICS},
    "face_parsing": lambda: onnx.load(FACE_PARSING),
}
LAYOUTS = ("source", "both")
CASES = [f"{name} {layout}" for name in MODELS for layout in LAYOUTS]


def available(case: str) -> bool:
    return not case.startswith("face_parsing") or FACE_PARSING.exists()


def figures_of(case: str) -> Figures:
    """Operators, TRANSPOSEs and bytes (without metadata, which names the versions of packages), and the proof."""
    name, layout = case.split()
    model = MODELS[name]()
    result = fidelite.convert(model, layout=layout_of(model, layout))
    assert result.verification is not None
    result.model.metadata.clear()
    counts = ops_of(result.model)
    return {"bytes": write_model(result.model, BytesIO()), "transposes": counts["TRANSPOSE"],
            "operators": dict(sorted(counts.items())), "proof": result.verification.verdict}


def read_table() -> dict[str, Figures]:
    return json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}


def write_table(table: Mapping[str, Figures]) -> None:
    rows = [f"  {json.dumps(case)}: {json.dumps(table[case])}" for case in CASES if case in table]
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8", newline="\n")


def worse(old: Figures, new: Figures) -> list[str]:
    """In what `new` is worse: figures may only go down (the tables' own bytes differ a little between releases)."""
    found = [f"{key}: {new[key]}, and it was {old[key]}" for key, room in (("bytes", 1.02), ("transposes", 1))
             if new[key] > old[key] * room]
    before, after = (sum(f["operators"].values()) for f in (old, new))
    if after > before:
        found.append(f"operators: {after}, and it was {before}: {new['operators']}")
    return found if new["proof"] == "proven" else [*found, f"proof: {new['proof']}"]
