"""Checkpoints: read as data only, unwrapped, and compared with the network's own names and shapes."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fidelite.errors import LoadError
from fidelite.source.text import nearest, plural, quoted

Tensor = Any

WRAPPINGS = ("state_dict", "model_state_dict", "model", "network", "net")
"""Keys under which training scripts keep the state dict."""
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What data parallelism, torch.compile and wrappers put before every name."""
_MOST_NAMES = 200


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, unwrapped, with the names as they are in it.

    Nothing in the file is run: PyTorch's loader for weights alone reads it.

    Raises LoadError: F362 it holds more than data, F363 it cannot be read, F364 it holds no state dict.
    """
    details = {"path": str(path)}
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        near = nearest(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [])
        raise LoadError(f"there is no checkpoint '{path}'", code="F363", details=details,
                        remedy=f"did you mean {quoted(path.parent / near[0])}?" if near else "check the path") from None
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, IndexError,
            UnicodeDecodeError, AssertionError) as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise LoadError(f"the checkpoint '{path}' cannot be read: {first}", code="F363",
                        remedy="copy or download the file again, whole", details=details) from error
    return unwrapped(content, path)


def _refused(path: Path, text: str) -> LoadError:
    """F362, or F363 where the bytes are no pickle at all."""
    name = _class_in(text)
    if not name:
        first = text.splitlines()[0][:300] if text else "no pickle"
        return LoadError(f"the checkpoint '{path}' cannot be read: {first}", code="F363",
                         remedy="copy or download the file again, whole", details={"path": str(path)})
    return LoadError(
        f"the checkpoint '{path}' names {name}, which is no weights: it is not read, for that would run code",
        code="F362", details={"path": str(path), "class": name},
        remedy="if you trust it, write the weights alone, in Python: c = torch.load("
               f"{str(path)!r}, weights_only=False); torch.save(c['state_dict'] if isinstance(c, dict) else "
               "c.state_dict(), 'weights.pth')")


def _class_in(text: str) -> str:
    """The class or function that PyTorch's loader refuses to call; '' where it complains about something else."""
    for mark in ("Unsupported global: GLOBAL ", "Unsupported class ", "GLOBAL "):
        _, found, rest = text.partition(mark)
        if found:
            return rest.split()[0].strip("`'\",.()")
    return ""


def unwrapped(content: object, path: Path | None = None) -> dict[str, Tensor]:
    """The parameters in what `torch.load` gave: bare, or under one of `WRAPPINGS`. Raises LoadError F364."""
    inner: Any = content
    while isinstance(inner, Mapping):
        deeper = next((inner[key] for key in WRAPPINGS if isinstance(inner.get(key), Mapping)), None)
        if deeper is None:
            break
        inner = deeper
    if isinstance(inner, Mapping) and any(isinstance(v, torch.Tensor) for v in inner.values()):
        return {str(name): value for name, value in inner.items() if isinstance(value, torch.Tensor)}
    keys = f" (its keys: {', '.join(map(str, list(inner)[:8]))})" if isinstance(inner, Mapping) else ""
    where = f"'{path}'" if path is not None else "the checkpoint"
    raise LoadError(f"{where} holds no state dict, a mapping of names to tensors{keys}", code="F364",
                    remedy="in Python: torch.save(network.state_dict(), 'weights.pth')")


def without_prefixes(state: Mapping[str, Tensor], expected: Sequence[str] = ()) -> dict[str, Tensor]:
    """The state with prefixes removed that all names have and that `expected` names have not."""
    found = dict(state)
    while found:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in found) and not any(n.startswith(prefix) for n in expected):
                found = {name.removeprefix(prefix): value for name, value in found.items()}
                break
        else:
            break
    return found


def load_into(network: Any, state: Mapping[str, Tensor], origin: str = "the checkpoint") -> None:
    """Load the state into a module after comparing all names and shapes.

    Raises LoadError F365 with every missing and unexpected name and every other shape.
    """
    expected: dict[str, Tensor] = network.state_dict()
    given = without_prefixes(state, list(expected))
    # Checkpoints older than PyTorch 0.4.1 have no batch counters; evaluation does not need them.
    optional = {name for name in expected if name.endswith(".num_batches_tracked")}
    missing = sorted(expected.keys() - given.keys() - optional)
    unexpected = sorted(given.keys() - expected.keys())
    reshaped = [f"{name} {list(given[name].shape)} instead of {list(expected[name].shape)}"
                for name in sorted(expected.keys() & given.keys()) if given[name].shape != expected[name].shape]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    parts = [f"{what} ({len(names)}): {_listed(names)}" for what, names in found.items() if names]
    if parts:
        have = plural(len(expected.keys() & given.keys()), "name")
        raise LoadError(f"{origin} is not of this network ({type(network).__name__}; {have} of {len(expected)} agree); "
                        + "; ".join(parts), code="F365", details=dict(found),
                        remedy="give the checkpoint of this very network, or the network of this checkpoint: "
                               "--checkpoint FILE, PACKAGE.MODULE:FACTORY")
    network.load_state_dict(given, strict=False)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
