"""`package.module:factory` to a network: every way in which that can fail, told with the user's own line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fidelite.errors import UsageError
from fidelite.options import factory_of
from fidelite.source.pytorch.trouble import Guard, at
from fidelite.source.text import nearest

SEED = 0
"""Of what a module or its factory draws at random, so that equal commands give equal files."""


def make(word: str) -> tuple[Any, Any]:
    """The network that `package.module:factory` names, and the example inputs that came with it (None: none).

    The name may be a function or class without arguments, or a module that is there already. A function may return
    `(network, example_inputs)`. Modules are searched for in the current folder first.

    Raises UsageError: F251 the module cannot be imported, F252 it has no such attribute, F253 the factory raises,
    F254 it gives no network.
    """
    with _current_folder_first():
        return _made(word)


def _made(word: str) -> tuple[Any, Any]:
    parts = factory_of(word)
    assert parts is not None
    with _seeded():
        target = _attribute(word, *parts)
    if isinstance(target, torch.nn.Module | torch.export.ExportedProgram):
        return target, None
    if not callable(target):
        raise UsageError(f"'{word}' is a {type(target).__name__}, not a function that makes a network", code="F254",
                         remedy=_example(parts))
    with _seeded(), Guard(lambda reason, line: UsageError(
            f"'{word}' raises when it is called without arguments: {reason}{at(line)}", code="F253",
            remedy=f"write a function that needs none, in {parts[0].rpartition('.')[2]}.py: def network(): "
                   "return Net(...)")):
        made = target()
    network, examples = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(network, torch.nn.Module | torch.export.ExportedProgram):
        raise UsageError(f"'{word}' returns a {type(made).__name__}, not a torch.nn.Module", code="F254",
                         remedy=_example(parts))
    return network, examples


def _attribute(word: str, module_name: str, name: str) -> Any:
    with Guard(lambda reason, line: _not_importable(module_name, reason, line)):
        module = importlib.import_module(module_name)
    if not hasattr(module, name):
        near = nearest(name, [n for n in vars(module) if not n.startswith("_")])
        raise UsageError(f"the module '{module_name}' has no '{name}'", code="F252",
                         remedy=f"did you mean {module_name}:{near[0]}?" if near else
                         f"name a function of '{module_name}' that returns the network",
                         details={"module": module_name, "nearest": near})
    return getattr(module, name)


def _not_importable(module_name: str, reason: str, line: str) -> UsageError:
    top = module_name.partition(".")[0]
    if f"No module named '{top}'" in reason or f"No module named '{module_name}'" in reason:
        return UsageError(f"there is no module '{module_name}' in the current folder ({Path.cwd()}) or among the "
                          "installed packages", code="F251", remedy="go to the folder that holds "
                          f"{top}.py or {top}/, or install the package")
    return UsageError(f"the module '{module_name}' cannot be imported: {reason}{at(line)}", code="F251",
                      remedy=f"python -c \"import {module_name}\" shows the same; mend that first")


@contextmanager
def _current_folder_first() -> Generator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        yield
    finally:
        sys.path.remove(here)


@contextmanager
def _seeded() -> Generator[None]:
    """PyTorch's generator seeded inside, and as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        yield


def _example(parts: tuple[str, str]) -> str:
    module, name = parts
    return f"in {module.rpartition('.')[2]}.py: def {name}(): return Net()   # a torch.nn.Module"
