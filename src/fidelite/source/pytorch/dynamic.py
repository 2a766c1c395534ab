"""Dynamic dimensions: `torch.export.Dim` in Python, names in a shape on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fidelite.errors import UsageError
from fidelite.source.pytorch.structure import Call, Slot, items
from fidelite.source.text import nearest

Dims = dict[int, Any]
"""Axis -> a torch.export.Dim, or a name."""

_BATCH, _PICTURE, _OTHER = 2, 256, 16


def of_shapes(names: Sequence[str], shapes: Mapping[str, Sequence[int | str]]) -> tuple[Dims, ...]:
    """The named dimensions of `shapes`, per input."""
    return tuple({axis: dim.partition(":")[0] for axis, dim in enumerate(shapes.get(name, ())) if isinstance(dim, str)}
                 for name in names)


def example_shape(shape: Sequence[int | str]) -> tuple[int, ...]:
    """Numbers for a shape with names in it: those behind the names (`H:512`), or usual ones."""
    found: list[int] = []
    for axis, dim in enumerate(shape):
        if isinstance(dim, int):
            found.append(dim)
        else:
            _, _, number = dim.partition(":")
            usual = _BATCH if axis == 0 else _PICTURE if len(shape) >= 4 else _OTHER
            found.append(int(number) if number else usual)
    return tuple(found)


def of_specification(call: Call, tensors: Sequence[Any], specification: Any) -> tuple[Dims, ...]:
    """`dynamic_shapes` as `torch.export.export` takes them, per tensor of the call.

    Raises UsageError F259: it does not follow the arguments, or names an axis that is not there.
    """
    if specification is None:
        return tuple({} for _ in tensors)
    arguments = list(call.arguments) + list(call.keywords.values())
    if isinstance(specification, Mapping):
        return _of_mapping(call, tensors, specification)
    if not isinstance(specification, list | tuple) or len(specification) > len(arguments):
        raise _misfit(f"it is a {type(specification).__name__} where a mapping of parameters is expected"
                      if not isinstance(specification, list | tuple)
                      else f"it has {len(specification)} entries for {len(arguments)} arguments")
    found: list[Dims] = [{} for _ in tensors]
    for argument, part in zip(arguments, specification, strict=False):
        _fill(argument, part, tensors, found)
    return tuple(found)


def _of_mapping(call: Call, tensors: Sequence[Any], specification: Mapping[Any, Any]) -> tuple[Dims, ...]:
    by_name = call.by_parameter()
    found: list[Dims] = [{} for _ in tensors]
    for name, part in specification.items():
        if name not in by_name:
            near = nearest(str(name), list(by_name))
            raise _misfit(f"there is no parameter '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        _fill(by_name[name], part, tensors, found)
    return tuple(found)


def _fill(argument: Any, part: Any, tensors: Sequence[Any], found: list[Dims]) -> None:
    if part is None:
        return
    if isinstance(argument, Slot):
        found[argument.index] = _dims(part, tensors[argument.index].dim())
        return
    parts = items(argument)
    if parts is None:
        raise _misfit(f"it has {part!r} for an argument that is no tensor")
    inner = dict(parts)
    named = part.items() if isinstance(part, Mapping) else ((str(i), p) for i, p in enumerate(part))
    for name, deeper in named:
        if str(name) not in inner:
            raise _misfit(f"it names '{name}', and the argument has {', '.join(inner) or 'nothing'}")
        _fill(inner[str(name)], deeper, tensors, found)


def _dims(part: Any, rank: int) -> Dims:
    pairs = dict(part.items()) if isinstance(part, Mapping) else dict(enumerate(part))
    dims = {int(axis): dim for axis, dim in pairs.items() if dim is not None and not _is_static(dim)}
    if any(not -rank <= axis < rank for axis in dims):
        raise _misfit(f"it names the axis {max(dims, key=abs)} of a tensor with {rank}")
    return {axis % rank: dim for axis, dim in dims.items()}


def _is_static(dim: Any) -> bool:
    return isinstance(dim, int) or dim is getattr(torch.export.Dim, "STATIC", None)


def named_axes(dims: Sequence[Dims], names: Sequence[str]) -> dict[str, dict[int, str]]:
    """As the older exporter takes them: input -> axis -> name."""
    return {name: {axis: dim if isinstance(dim, str) else getattr(dim, "__name__", None) or f"{name}_{axis}"
                   for axis, dim in row.items()} for name, row in zip(names, dims, strict=True) if row}


def _misfit(why: str) -> UsageError:
    return UsageError(f"dynamic_shapes does not fit the arguments of forward: {why}", code="F259",
                      remedy='dynamic_shapes={"PARAMETER": {0: torch.export.Dim("batch")}}')
