"""What calibration saw and what quantization did, as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fidelite.report import figures
from fidelite.report.document import Cell, Column, Facts, Section, Table

_MOST_CLIPPED = 5
_METHODS = {"mse": "least squared error", "minmax": "all values seen", "percentile": "all but the rarest values",
            "entropy": "least entropy lost"}


def section(data: Mapping[str, Any]) -> Section:
    """Samples, ranges, the values that are clipped most, what each improvement gained, scales at the edge."""
    seen = data["calibration"]
    samples = figures.count(seen["samples"], "sample")
    rows: list[tuple[str, str | Cell]] = [("samples", f"{samples} from {seen['source']}")]
    if steps := seen.get("preparation"):
        rows.append(("pictures", "; ".join(steps)))
    clipped = [r["clipped"] for r in seen["tensors"]]
    told = f"at most {max(clipped, default=0.0):.3%} of one is clipped"
    rows.append(("ranges", f"{_METHODS[seen['method']]}, of {figures.count(len(clipped), 'value')}; {told}"))
    rows.append(("integers", f"{figures.count(data['native'], 'operator')} compute in integers"))
    rows += [(one["name"], f"{figures.count(one['operators'], 'operator')}: {one['gain']}")
             for one in data["improvements"]]
    for name, facts in data["scales"].items():
        rows.append((name, f"{facts['type']}: value = {facts['scale']:.6g} x (stored - {facts['zero_point']})"))
    worst = sorted((r for r in seen["tensors"] if r["clipped"] > 0), key=lambda r: -r["clipped"])[:_MOST_CLIPPED]
    table = Table([Column("clipped most"), Column("seen", right=True), Column("range", right=True),
                   Column("clipped", right=True)],
                  [[r["tensor"], _span(r["seen"]), _span(r["range"]), f"{r['clipped']:.3%}"] for r in worst])
    return Section("Calibration", [Facts(rows), *([table] if worst else [])])


def _span(ends: list[float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"
