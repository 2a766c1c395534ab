"""The results as a page of markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.models import SPECS
from benchmarks.targets import MISSING, Row, table

Json = Mapping[str, Any]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars inside a cell are escaped, line ends become spaces."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _targets(rows: Sequence[Row], peers: Sequence[str]) -> str:
    columns = [*peers, "floor", "fidelite"]
    if not any("floor" in row.values for row in rows):
        columns.remove("floor")
    body = [[row.what, *(row.values.get(name, MISSING) for name in columns), row.target, row.status] for row in rows]
    return markdown_table(["what", *columns, "target for fidelite", ""], body)


def _machine(results: Json) -> str:
    facts = results["machine"]
    load = facts.get("load_average")
    words = "" if load is None else f", load average {load[0]:.1f} at the start and {load[1]:.1f} at the end"
    noisy = load is not None and max(load) > 0.5 * facts["cores"]
    text = (f"{facts['system']}, {facts['cores']} cores, Python {facts['python']}{words}; "
            f"each conversion measured {results['runs']} times.")
    if noisy:
        text += " The machine was busy (the benchmark itself is part of that): read times as ratios."
    return text


def _missing(results: Json) -> list[str]:
    """What was not measured, each with its reason."""
    found = [f"{name}: {reason}" for name, reason in results.get("missing", {}).items()]
    found += [f"conversion by {name}: {row['reason']}" for name, row in results.get("cost", {}).items()
              if "reason" in row]
    for row in results.get("results", ()):
        place = f"{row['converter']}, {row['model']} ({row['exporter']} export, layout {row['layout']})"
        if "reason" in row:
            found.append(f"{place}: {row['reason']}")
        elif row.get("proof", "proven") != "proven":
            found.append(f"{place}: {row['proof']}")
    found += [f"latency of {row['model']}, layout {row['layout']}, beside {row['peer']}: {row['reason']}"
              for row in results.get("latency", ()) if "reason" in row]
    found += [f"chain of {kind}: {row['reason']}" for kind, row in results.get("scaling", {}).items()
              if "reason" in row]
    return found


def _all_counts(results: Json) -> str:
    body: list[list[str]] = []
    for row in results["results"]:
        if "operators" in row:
            body.append([SPECS[row["model"]].title, row["exporter"], row["layout"], row["converter"],
                         *(str(row[key]) for key in ("operators", "transposes", "reshapes")),
                         f"{row['bytes'] / 1e6:.1f}"])
    header = ["model", "export", "layout", "converter", "operators", "TRANSPOSE", "RESHAPE", "MB"]
    return markdown_table(header, sorted(body))


def _differences(results: Json) -> list[str]:
    """Pairs whose results lie further apart than rounding explains: one of the two computes something else."""
    return [f"{row['model']}, layout {row['layout']}: fidelite and {row['peer']} differ by "
            f"{row['largest_relative_difference']:.1e} of the largest value"
            for row in results.get("latency", ()) if row.get("largest_relative_difference", 0.0) > 1e-3]


def markdown(results: Json) -> str:
    """The page: machine, targets, what was not measured, all counts."""
    rows = table(results, {name: spec.title.split(",")[0] for name, spec in SPECS.items()})
    parts = ["# Benchmarks", "How each figure is taken: `benchmarks/README.md`. Written by `python -m benchmarks`.",
             _machine(results), _targets(rows, results["peers"])]
    for title, lines in (("Not measured, and why", _missing(results)), ("Results that differ", _differences(results))):
        if lines:
            parts += [f"## {title}", "\n".join("- " + " ".join(line.split()) for line in lines)]
    if results.get("results"):
        parts += ["## Operators of every result", _all_counts(results)]
    if results.get("plot"):
        parts.append(f"![conversion cost, latency, scaling]({results['plot']})")
    return "\n\n".join(parts) + "\n"
