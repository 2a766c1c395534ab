"""Files of PyTorch's that hold a whole network: exported programs (`.pt2`) and TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from fidelite.errors import LoadError
from fidelite.source.pytorch.trouble import Guard


def load_exported(path: Path) -> Any:
    """The torch.export.ExportedProgram in a `.pt2`. Raises LoadError F369."""
    with _guard(path, "exported program"):
        return torch.export.load(path)


def load_script(path: Path) -> Any:
    """The ScriptModule in a file, on the CPU. Raises LoadError F369."""
    with _guard(path, "TorchScript file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that TorchScript is old: the file is there all the same
        return torch.jit.load(path, map_location="cpu")


def _guard(path: Path, what: str) -> Guard:
    return Guard(lambda reason, line: LoadError(
        f"the {what} '{path}' cannot be loaded by torch {torch.__version__}: {reason}", code="F369",
        remedy="save it with a PyTorch of the same version, or give the module itself: "
               "fidelite convert PACKAGE.MODULE:FACTORY", details={"path": str(path)}))


def exported_examples(program: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments for an exported program: its own examples, or ones of the shapes that it was traced with."""
    if program.example_inputs is not None:
        arguments, keywords = program.example_inputs
        return tuple(arguments), dict(keywords)
    names = set(program.graph_signature.user_inputs)
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    arguments, keywords = torch.utils._pytree.tree_unflatten([_like(v) for v in values], program.call_spec.in_spec)
    return tuple(arguments), dict(keywords)


def exported_dims(program: Any) -> list[dict[int, str]]:
    """The dynamic dimensions of an exported program's tensors, in order."""
    names = set(program.graph_signature.user_inputs)
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [{axis: str(d) for axis, d in enumerate(v.shape) if not isinstance(d, int)}
            for v in values if isinstance(v, torch.Tensor)]


def _like(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    size = [int(d) for d in value.shape]
    if value.dtype.is_floating_point:
        return torch.rand(size, generator=torch.Generator().manual_seed(0)).to(value.dtype)
    return torch.ones(size, dtype=value.dtype)


def script_parameters(network: Any) -> tuple[str, ...]:
    """The names that `forward` takes, as TorchScript keeps them."""
    schema = network.forward.schema if hasattr(network.forward, "schema") else network._c._get_method("forward").schema
    return tuple(argument.name for argument in schema.arguments[1:])
