"""The table of families is what the modules register, and a model imports only those that it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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


def test_every_operator_is_named_by_a_test() -> None:
    """What no test of lowerings names, none can be about."""
    families.load()
    words = {word for path in Path(__file__).parent.glob("test_*.py")
             for word in re.findall(r"\w+", path.read_text("utf-8"))}
    assert sorted({row.op for row in REGISTRY if row.function.__module__.startswith(_PREFIX)} - words) == []


def test_only_what_is_asked_for_is_imported() -> None:
    code = ("import sys; from fidelite.lower.registry import REGISTRY; assert REGISTRY.find('', 'Relu', 14); "
            "print('fidelite.lower.activation' in sys.modules, 'fidelite.lower.recurrent' in sys.modules)")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "False"]
