"""Nested arguments and results, flat: what `forward` takes and gives becomes a tuple of tensors with names."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fidelite.errors import LoadError, UsageError
from fidelite.source.pytorch.trouble import Guard, at
from fidelite.source.text import some

Tensor = Any
Path_ = tuple[str, ...]

_WORD = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor's place in a structure."""

    index: int


@dataclass(frozen=True, slots=True)
class Call:
    """How `forward` is called: its arguments by parameter, with a `Slot` for each tensor."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    parameters: tuple[str, ...]
    """Names of the positional arguments."""
    names: tuple[str, ...]
    """Of the tensors, in order."""
    constants: tuple[str, ...]
    """Numbers and texts among the arguments: fixed in the graph."""

    def by_parameter(self) -> dict[str, Any]:
        """The arguments by parameter, in order."""
        return dict(zip(self.parameters, self.arguments, strict=False)) | dict(self.keywords)

    def filled(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments with these tensors."""
        return (tuple(_fill(a, tensors) for a in self.arguments),
                {name: _fill(a, tensors) for name, a in self.keywords.items()})


def items(value: Any) -> Iterator[tuple[str, Any]] | None:
    """The parts of a container, by name; None for what is no container."""
    if isinstance(value, torch.Tensor | np.ndarray | str | bytes):
        return None
    if isinstance(value, Mapping):
        return ((str(key), part) for key, part in value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return zip(value._fields, value, strict=True)  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, list | tuple):
        return ((str(i), part) for i, part in enumerate(value))
    return None


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Everything in a structure that is no container, with the way to it."""
    parts = items(value)
    if parts is None:
        yield path, value
        return
    for name, part in parts:
        yield from leaves(part, (*path, name))


def call_of(network: Any, arguments: Sequence[Any], keywords: Mapping[str, Any],
            parameters: Sequence[str] | None = None) -> tuple[Call, tuple[Tensor, ...]]:
    """How `forward` is called with these arguments, and the tensors in them.

    Args:
        network: The module.
        arguments, keywords: Tensors, NumPy arrays, containers of them, and constants.
        parameters: Names of the parameters, for a network without a Python signature.

    Raises UsageError F256: they do not fit `forward`'s signature, or there is no tensor among them.
    """
    signature = signature_of(network, parameters)
    with Guard(lambda reason, line: UsageError(
            f"the example inputs do not fit forward{signature}: {reason}", code="F256",
            remedy="give one example for each parameter: example_inputs=(torch.zeros(1, 3, 224, 224),)")):
        bound = signature.bind(*arguments, **keywords)
    tensors: list[Tensor] = []
    names: list[str] = []
    constants: list[str] = []

    def empty(name: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value.copy())
        if isinstance(value, torch.Tensor):
            tensors.append(value)
            names.append(name)
            return Slot(len(tensors) - 1)
        parts = items(value)
        if parts is not None:
            return _rebuilt(value, [empty(f"{name}_{key}", part) for key, part in parts])
        if value is not None:
            constants.append(f"{name} = {value!r}")
        return value

    template: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            template[name] = {key: empty(key, part) for key, part in value.items()}
        else:
            template[name] = empty(name, value)
    bound.arguments.update(template)
    if not tensors:
        raise UsageError("there is no tensor among the example inputs", code="F256",
                         remedy="example_inputs=(torch.zeros(1, 3, 224, 224),)")
    positional = tuple(name for name in bound.arguments if name not in bound.kwargs)
    call = Call(bound.args, bound.kwargs, positional, unique(names), tuple(constants))
    return call, tuple(tensors)


def signature_of(network: Any, parameters: Sequence[str] | None = None) -> inspect.Signature:
    """The signature of `forward`, without `self`."""
    if parameters is not None:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter(_identifier(name), kind) for name in parameters])
    found = inspect.signature(network.forward)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return found.replace(parameters=plain, return_annotation=inspect.Signature.empty)


def results(value: Any) -> list[tuple[str, Tensor]]:
    """The tensors that `forward` gave, with names: keys of a dict, fields of a dataclass or named tuple, else `output`
    alone or `output_0`, `output_1`, ... in order. Nested ones are joined by an underscore.

    Raises LoadError F368: it gave no tensor, or something beside tensors that cannot be an output.
    """
    found = list(leaves(value))
    other = [type(v).__name__ for _, v in found if v is not None and not isinstance(v, torch.Tensor)]
    kept = [(path, v) for path, v in found if isinstance(v, torch.Tensor)]
    if other or not kept:
        what = f"beside tensors also {some(sorted(set(other)))}" if kept else "no tensor"
        raise LoadError(f"forward returns {what}: only tensors can be outputs", code="F368",
                        remedy="wrap the network in a module whose forward returns tensors only (a dict names them)")
    names = unique([_output_name(path) for path, _ in kept])
    return list(zip(names, [v for _, v in kept], strict=True))


def _output_name(path: Path_) -> str:
    if not path:
        return "output"
    name = "_".join(path)
    return f"output_{name}" if path[0].isdecimal() else name


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names that are all different: a number is put behind those that come again."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        word, number = name, 1
        while word in taken:
            number += 1
            word = f"{name}_{number}"
        taken.add(word)
        found.append(word)
    return tuple(found)


class Flat(torch.nn.Module):
    """From a call's tensors to a tuple of `results`: what exporters are given, so that both name things alike."""

    def __init__(self, network: Any, call: Call) -> None:
        super().__init__()
        self.network = network
        self._call = call

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        arguments, keywords = self._call.filled(tensors)
        return tuple(tensor for _, tensor in results(self.network(*arguments, **keywords)))


def asked(network: Any, call: Call, tensors: Sequence[Tensor]) -> Any:
    """What the network answers, without gradients. Raises UsageError F256 with the reason and the line."""
    arguments, keywords = call.filled([t.clone() for t in tensors])
    shapes = ", ".join(f"{n} {list(t.shape)}" for n, t in zip(call.names, tensors, strict=True))

    def fault(reason: str, line: str) -> UsageError:
        return UsageError(f"forward fails on the example inputs ({shapes}): {reason}{at(line)}", code="F256",
                          remedy="give example inputs that the network takes: --shape NAME=1,3,512,512, or "
                                 "example_inputs=(...) in Python")

    with Guard(fault), torch.no_grad():
        return network(*arguments, **keywords)


def _fill(value: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(value, Slot):
        return tensors[value.index]
    parts = items(value)
    return value if parts is None else _rebuilt(value, [_fill(part, tensors) for _, part in parts])


def _rebuilt(value: Any, parts: Sequence[Any]) -> Any:
    """A container like `value` with other parts."""
    if isinstance(value, Mapping):
        return dict(zip(value, parts, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value)]
        return dataclasses.replace(value, **dict(zip(fields, parts, strict=True)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*parts)
    return list(parts) if isinstance(value, list) else tuple(parts)


def _identifier(name: str) -> str:
    word = _WORD.sub("_", name)
    return word if word.isidentifier() else f"input_{word}"
