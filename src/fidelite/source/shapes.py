"""What the user chooses at the model's edge: shapes of inputs (`--shape`), outputs to keep (`--outputs`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from fidelite.errors import FideliteError, UsageError, raise_all
from fidelite.source.text import nearest, some

Dim = int | str | None


def apply_shapes(model: ir.Model, shapes: Mapping[str, Sequence[Dim]]) -> None:
    """Fix the shapes of inputs, in place. A dimension that is no int stays as it is.

    A symbolic dimension that gets a number gets it in every value of the model that mentions it.

    Raises:
        UsageError: F202 there is no such input; F203 another rank; F204 a dimension that the model fixes
        otherwise,
            or one symbol with two numbers; F206 a dimension below 1.
    """
    inputs = {v.name or "": v for v in model.graph.inputs}
    errors: list[FideliteError] = []
    numbers: dict[str, int] = {}
    fixed: dict[ir.Value, list[int | ir.SymbolicDim]] = {}
    for name, wanted in shapes.items():
        value = inputs.get(name)
        if value is None:
            errors.append(_unknown("input", name, list(inputs), "F202", "--shape NAME=..."))
            continue
        error = _conflict(name, value.shape, wanted, numbers)
        if error is not None:
            errors.append(error)
            continue
        old = list(value.shape) if value.shape is not None else [ir.SymbolicDim(None)] * len(wanted)
        fixed[value] = [w if isinstance(w, int) else o for w, o in zip(wanted, old, strict=True)]
    raise_all(errors)
    for value, dims in fixed.items():
        value.shape = ir.Shape(dims)
    if numbers:
        _substitute(model, numbers)


def _conflict(
    name: str, shape: ir.Shape | None, wanted: Sequence[Dim], numbers: dict[str, int]
) -> UsageError | None:
    """What is wrong with `wanted` for an input of `shape`. Collects in `numbers` what symbols become."""
    details = {
        "input": name,
        "wanted": list(wanted),
        "declared": None if shape is None else shape_text(shape),
    }
    remedy = f"--shape {name}=" + ",".join(
        str(d) if isinstance(d, int) else "1" for d in (shape if shape is not None else wanted)
    )
    if any(isinstance(w, int) and w < 1 for w in wanted):
        return UsageError(
            f"the shape {list(wanted)} for '{name}' has a dimension below 1",
            code="F206",
            remedy=remedy,
            details=details,
        )
    if shape is None:
        return None
    if len(shape) != len(wanted):
        return UsageError(
            f"the input '{name}' has {len(shape)} dimensions ({shape_text(shape)}), and {len(wanted)} are "
            "given",
            code="F203",
            remedy=remedy,
            details=details,
        )
    for axis, (have, want) in enumerate(zip(shape, wanted, strict=True)):
        if not isinstance(want, int):
            continue
        if isinstance(have, int) and have != want:
            return UsageError(
                f"dimension {axis} of the input '{name}' is fixed at {have} in the model, and {want} is "
                "given",
                code="F204",
                remedy=remedy,
                details=details,
            )
        symbol = have.value if isinstance(have, ir.SymbolicDim) else None
        if symbol and numbers.setdefault(symbol, want) != want:
            return UsageError(
                f"the dimension '{symbol}' is given as {numbers[symbol]} and, for input '{name}', as {want}",
                code="F204",
                remedy=remedy,
                details=details,
            )
    return None


def _substitute(model: ir.Model, numbers: Mapping[str, int]) -> None:
    """Put numbers for symbols into the shapes of all values."""
    for graph in model.graphs():
        values = [*graph.inputs, *(o for node in graph for o in node.outputs), *graph.outputs]
        for value in values:
            if value.shape is None or value.shape.is_static():
                continue
            value.shape = ir.Shape([_numbered(d, numbers) for d in value.shape])


def _numbered(dim: int | ir.SymbolicDim, numbers: Mapping[str, int]) -> int | ir.SymbolicDim:
    if isinstance(dim, int) or dim.value is None:
        return dim
    if dim.value in numbers:
        return numbers[dim.value]
    # An expression over a symbol that is a number now: shape inference knows better.
    return ir.SymbolicDim(None) if any(symbol in dim.value for symbol in numbers) else dim


def select_outputs(model: ir.Model, outputs: Sequence[str]) -> list[str]:
    """Keep `outputs` in the order given, in place, and remove what only served the others.

    Returns:
        Names of the outputs that were removed. Inputs stay, used or not.

    Raises:
        UsageError: F205, there is no such output, or one is named twice.
    """
    known = {v.name or "": v for v in model.graph.outputs}
    errors: list[FideliteError] = [
        _unknown("output", name, list(known), "F205", "--outputs") for name in outputs if name not in known
    ]
    twice = sorted({name for name in outputs if list(outputs).count(name) > 1})
    if twice:
        errors.append(
            UsageError(
                f"--outputs names {some(twice)} twice",
                code="F205",
                remedy="name each output once",
                details={"outputs": twice},
            )
        )
    raise_all(errors)
    if not outputs:
        return []
    kept = [known[name] for name in outputs]
    dropped = [name for name in known if name not in set(outputs)]
    model.graph.outputs.clear()
    model.graph.outputs.extend(kept)
    remove_dead(model)
    return dropped


def remove_dead(model: ir.Model) -> int:
    """Remove nodes and initializers of the main graph that nothing uses. Returns how many nodes went."""
    graph = model.graph
    count = 0
    for node in reversed(graph):
        if all(not o.is_graph_output() and not o.uses() for o in node.outputs):
            graph.remove(node, safe=True)
            count += 1
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]
    return count


def shape_text(shape: ir.Shape) -> str:
    """`[s77, 3, 512, 512]`."""
    return "[" + ", ".join(str(d) if isinstance(d, int) else (d.value or "?") for d in shape) + "]"


def _unknown(kind: str, name: str, known: Sequence[str], code: str, option: str) -> UsageError:
    near = nearest(name, known)
    return UsageError(
        f"the model has no {kind} '{name}'; it has {some(list(known), 12)}",
        code=code,
        remedy=f"{option.replace('NAME', near[0])}" + (f" {near[0]}" if "NAME" not in option else "")
        if near
        else f"name one of the model's {kind}s",
        details={"name": name, "nearest": near, "known": list(known)},
    )


def open_negative_dimensions(model: ir.Model) -> None:
    """Some exporters (PaddlePaddle's) declare -1 for a dimension that is open: take it so."""
    for graph in model.graphs():
        values = [*graph.inputs, *graph.outputs, *(v for node in graph for v in node.outputs)]
        for value in values:
            if value.shape is not None and any(isinstance(d, int) and d < 0 for d in value.shape):
                value.shape = ir.Shape([None if isinstance(d, int) and d < 0 else d for d in value.shape])
