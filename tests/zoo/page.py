"""docs/models.md from results.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "models.md"

_HEAD = """# Models that were tried

Written by `python -m tests.zoo.run` (`make zoo`): trained networks that ship in public packages, and common
architectures with seeded weights, exported by both of PyTorch's exporters, some with open dimensions, some quantized
by ONNX Runtime. Each file is converted with default options and proven against ONNX Runtime; then the result is asked
the zoo's own inputs, at a second size too where dimensions are open.

Where default options do not do, what a user would add is tried, and told: `--shape` with the shapes of the zoo's
inputs (a rank that depends on a size), `--samples` with pictures of the kind the network was made for (a detector of
random weights orders its boxes by noise on others).

*largest error* is that of any output, as a share of its largest magnitude (of integers: the share that differs), over
the zoo's own inputs; quantized models differ by steps of their grids. *on XNNPACK* counts operators of the main graph.
"""

_EXPORTS = {"dynamo": "dynamo", "ts": "TorchScript", "dynamo.dyn": "dynamo, open dimensions",
            "ts.dyn": "TorchScript, open dimensions", "model.onnx": "as published", "onnx": "as published"}


def text(rows: dict[str, dict[str, Any]]) -> str:
    """The page as Markdown."""
    good = {n: r for n, r in rows.items() if r["status"] == "proven"}
    rest = {n: r for n, r in rows.items() if r["status"] != "proven"}
    models, whole = {n.split("/")[0] for n in rows}, {n.split("/")[0] for n in good}
    lines = [_HEAD, f"{len(good)} of {len(rows)} files are proven, of {len(whole)} of {len(models)} models.\n"]
    if rest:
        lines += ["## What is not converted, and why\n", "| model | export | what | reason |",
                  "| --- | --- | --- | --- |"]
        lines += [f"| {_model(n)} | {_export(n)} | {r['status']} {' '.join(r.get('codes', []))} | {_reasons(r)} |"
                  for n, r in sorted(rest.items())]
        lines.append("")
    lines += ["## What is proven\n", "| model | export | operators | TRANSPOSE | on XNNPACK | size | largest error |",
              "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    lines += [f"| {_model(n)} | {_export(n)}{_way(r)} | {r['operators']} | {r['transposes']} | {_taken(r)} | "
              f"{r['bytes'] / 1e6:.2f} MB | {_error(r)} |" for n, r in sorted(good.items())]
    return "\n".join(lines) + "\n"


def _model(name: str) -> str:
    return name.split("/")[0]


def _export(name: str) -> str:
    export = name.split("/")[1]
    return _EXPORTS.get(export, export)


def _way(row: dict[str, Any]) -> str:
    return f", `{row['way']}`" if row.get("way") else ""


def _reasons(row: dict[str, Any]) -> str:
    return "; ".join(row.get("reasons", [])).replace("|", "\\|").replace("\n", " ")


def _taken(row: dict[str, Any]) -> str:
    taken = row.get("delegated")
    return "" if taken is None else f"{taken[0]} of {taken[1]}"


def _error(row: dict[str, Any]) -> str:
    errors = list(row.get("asked", {}).values())
    return f"{max(errors):.1e}" if errors else ""
