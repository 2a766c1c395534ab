"""What there is to know about a model before anything is done with it: `fidelite.inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fidelite.errors import FideliteError, Notice

if TYPE_CHECKING:
    from fidelite.source.load import Source
    from fidelite.source.profile import Profile
    from fidelite.targets import Profile as Target

Converts = Literal["yes", "partly", "inlined", "no"]

# What people hope for who have read of "mobile models": the small end of published ones.
_HOPED_FILE = 200_000
_HOPED_MEMORY = 50_000_000


@dataclass(frozen=True, slots=True)
class OpRow:
    """An operator of the model: how often it occurs, and whether there is a lowering for its schema version.

    `converts` is "partly" where some of its attributes are refused, which `refused` says, and "inlined" for the
    model's own functions, whose bodies count for themselves.
    """

    op: str
    version: int | None
    count: int
    converts: Converts
    refused: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "schema_version": self.version, "count": self.count, "converts": self.converts,
                "refused": self.refused}


@dataclass(frozen=True, slots=True)
class Trial:
    """What converting (without proof) came to: the operators of the result, or why it is refused."""

    operators: int
    transposes: int
    refusals: tuple[FideliteError, ...]

    def to_json(self) -> dict[str, Any]:
        return {"converts": not self.refusals, "operators": self.operators, "transposes": self.transposes,
                "refusals": [e.to_json() for e in self.refusals]}


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts about a model. `problems` stand in its way, `notices` should be known, `facts` are plain data.

    `precisions` are those that this version can convert to; estimates are given for all.
    """

    kind: Literal["onnx", "tflite"]
    path: str
    facts: Mapping[str, Any]
    ops: tuple[OpRow, ...] = ()
    problems: tuple[FideliteError, ...] = ()
    notices: tuple[Notice, ...] = ()
    expectations: tuple[Mapping[str, Any], ...] = ()
    precisions: tuple[str, ...] = ()
    trial: Trial | None = None
    """None where converting was not tried: the model is a `.tflite`, or problems stand in the way."""
    target: Mapping[str, Any] | None = None
    """What the target says, operator by operator (`fidelite.targets.profile.survey`); None where none was asked."""

    @property
    def exit_code(self) -> int:
        """0, or that of the earliest stage that failed; 4 where the target refuses the model."""
        if self.problems:
            return min(p.exit_code for p in self.problems)
        return 4 if self.target is not None and not self.target["accepted"] else 0

    def to_json(self) -> dict[str, Any]:
        return {
            **self.facts,
            "kind": self.kind,
            "path": self.path,
            "problems": [p.to_json() for p in self.problems],
            "notices": [n.to_json() for n in self.notices],
            "ops": [row.to_json() for row in self.ops] if self.kind == "onnx" else self.facts["ops"],
            "expectations": [dict(e) for e in self.expectations],
            "precisions": list(self.precisions),
            "conversion": None if self.trial is None else self.trial.to_json(),
            "target": None if self.target is None else dict(self.target),
        }


def inspect(
    path: Path | str,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    weights: Path | str | None = None,
    trial: bool = True,
    target: str | None = None,
) -> Inspection:
    """Look at an `.onnx` or `.tflite` file.

    Args:
        path: The file.
        shapes: Shapes of inputs whose dimensions the model leaves open, as for `convert`.
        weights: The file with the model's external data, where it lies elsewhere.
        trial: Whether a sound ONNX model is lowered, too, to see whether its attributes are all supported.
        target: What it is to run on: each operator is held against what that target takes. An ONNX model is
            converted for it first, without a proof.

    Raises:
        LoadError, NotAModel: There is no graph to speak of. Missing weights and contradictions do not raise:
            they are in `problems`.
        UsageError: `shapes` or `weights` do not fit, or there is no such target.
    """
    from fidelite.targets import profile_of

    file = Path(path)
    profile = None if target is None else profile_of(target)
    if _is_tflite(file):
        return _inspect_tflite(file, profile)
    return _inspect_onnx(file, shapes or {}, Path(weights) if weights is not None else None, trial, profile)


def _is_tflite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return False  # told by the ONNX reader
    return head[4:8] == b"TFL3"


def _inspect_tflite(path: Path, target: Target | None) -> Inspection:
    from fidelite.source.formats import hollow_error
    from fidelite.source.hollow import why_hollow
    from fidelite.tflite_facts import tflite_facts

    facts = tflite_facts(path)
    why = why_hollow(path)
    problems: list[FideliteError] = [hollow_error(path, why)] if why else []
    notices: list[Notice] = []
    if facts["custom_ops"] and not why:
        names = ", ".join(facts["custom_ops"])
        notices.append(Notice("W354", f"the file needs custom operators that LiteRT alone does not have: {names}",
                              level="warning", remedy="convert the model it came from with `fidelite convert`"))
    told = None
    if target is not None and not why:
        from fidelite.source.tflite_file import read_tflite
        from fidelite.targets.profile import survey

        model = read_tflite(path)
        told = survey(target, model, target.check(model))
    return Inspection("tflite", str(path), facts, problems=tuple(problems), notices=tuple(notices), target=told)


def _inspect_onnx(path: Path, shapes: Mapping[str, Sequence[int]], weights: Path | None, trial: bool,
                  target: Target | None) -> Inspection:
    from fidelite.options import CALIBRATED
    from fidelite.quantize.recipe import RECIPES
    from fidelite.source.load import examine
    from fidelite.source.profile import profile
    from fidelite.source.shapes import apply_shapes

    source = examine(path, weights=weights)
    if shapes:
        apply_shapes(source.model, shapes)
    found = profile(source)
    rows = op_rows(source)
    tried = told = None
    if target is not None:
        told = {"target": target.name, "title": target.title, "run_here": target.run_here, "accepted": False,
                "operators": [], "findings": []}
    if (trial or target) and not source.problems and all(row.converts != "no" for row in rows):
        tried, surveyed = _try(path, shapes, weights, target)
        told = surveyed or told
    facts = found.to_json()
    return Inspection("onnx", str(path), facts, rows, source.problems, tuple(source.notices),
                      tuple(_expectations(found)), ("float32", *RECIPES, *CALIBRATED), tried, told)


def op_rows(source: Source) -> tuple[OpRow, ...]:
    """Each operator of the model with its count and whether the registry has a lowering, most frequent first."""
    from fidelite.lower import families
    from fidelite.lower.registry import REGISTRY
    from fidelite.source.node import plain_domain
    from fidelite.source.profile import operator_counts

    families.load()
    opsets = {plain_domain(d): v for d, v in source.model.opset_imports.items()}
    functions = {(plain_domain(domain), name) for domain, name, _ in source.model.functions}
    rows: list[OpRow] = []
    for label, count in operator_counts(source.model).items():
        domain, _, op = label.rpartition("::")
        version = _schema_version(op, opsets.get(domain, 1), domain)
        row = REGISTRY.find(domain, op, version if version is not None else opsets.get(domain, 1))
        if (domain, op) in functions:
            rows.append(OpRow(label, version, count, "inlined"))
        elif row is None:
            why = "no lowering" if not REGISTRY.knows(domain, op) else f"no lowering for schema version {version}"
            rows.append(OpRow(label, version, count, "no", why))
        else:
            rows.append(OpRow(label, version, count, "partly" if row.partial else "yes", row.partial))
    return tuple(rows)


def _schema_version(op: str, opset: int, domain: str) -> int | None:
    import onnx

    try:
        return onnx.defs.get_schema(op, opset, domain).since_version
    except onnx.defs.SchemaError:
        return None


def _try(path: Path, shapes: Mapping[str, Sequence[int]], weights: Path | None,
         target: Target | None) -> tuple[Trial, dict[str, Any] | None]:
    """Convert without a proof; what the target says of the result, where one is asked."""
    from fidelite import pipeline
    from fidelite.targets.profile import survey

    arguments = {"verify": False, "shapes": {n: tuple(s) for n, s in shapes.items()}, "weights": weights,
                 "target": "cpu" if target is None else target.name}
    try:
        result = pipeline.convert(path, pipeline.options_of(arguments), None, refuse=False)
    except FideliteError as error:
        return Trial(0, 0, tuple(error.errors)), None
    operators = [op for graph in result.model.graphs for op in graph.operators]
    told = None if target is None else survey(target, result.model, result.findings)
    return Trial(len(operators), sum(op.op == "TRANSPOSE" for op in operators), ()), told


def _expectations(found: Profile) -> list[dict[str, Any]]:
    """Where the model is far from what is often hoped for: the hope, the fact, and what brings how much."""
    rows: list[dict[str, Any]] = []
    smallest = found.costs["int8"].file_bytes
    if smallest > _HOPED_FILE:
        rows.append({
            "what": "file size",
            "hoped_bytes": _HOPED_FILE,
            "parameters": found.weights.parameters,
            "float32_bytes": found.costs["float32"].file_bytes,
            "int8_bytes": smallest,
            "int4_bytes": found.costs["weight-int4"].file_bytes,
        })
    if found.costs["float32"].memory_bytes > _HOPED_MEMORY:
        best = min(found.choices, key=lambda c: c.memory_bytes, default=None)
        rows.append({
            "what": "memory",
            "hoped_bytes": _HOPED_MEMORY,
            "float32_bytes": found.costs["float32"].memory_bytes,
            "activation_bytes": found.activation_bytes,
            "output_bytes": found.output_bytes,
            "outputs": len(found.outputs),
            "least_bytes": None if best is None else best.memory_bytes,
            "least_with": None if best is None else best.option,
        })
    return rows
