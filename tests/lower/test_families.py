"""The table of families is what the modules register, and a model imports only those that it needs."""

from __future__ import annotations

import subprocess
import sys

from fidelite.lower import families
from fidelite.lower.registry import REGISTRY

_PREFIX = "fidelite.lower."


def test_table_is_what_is_registered() -> None:
    families.load()
    found: dict[str, set[str]] = {}
    for row in REGISTRY:
        module = row.function.__module__
        if module.startswith(_PREFIX):
            name = f"{row.domain}::{row.op}" if row.domain else row.op
            found.setdefault(module.removeprefix(_PREFIX), set()).add(name)
    assert {name: set(ops.split()) for name, ops in families.FAMILIES.items()} == found


def test_only_what_is_asked_for_is_imported() -> None:
    code = ("import sys; from fidelite.lower.registry import REGISTRY; assert REGISTRY.find('', 'Relu', 14); "
            "print('fidelite.lower.activation' in sys.modules, 'fidelite.lower.recurrent' in sys.modules)")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "False"]
