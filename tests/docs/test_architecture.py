"""docs/architecture.md says what tests/test_house.py enforces, and names files that are there."""

from __future__ import annotations

import re

from tests.house import PACKAGE, ROOT
from tests.test_house import FREE, MAY_IMPORT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
_NAMES = {"": "the public API"}


def test_table_of_imports() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows
    for room, told in rows:
        allowed = MAY_IMPORT[room]
        assert isinstance(allowed, set)
        expected = ", ".join(sorted(_NAMES.get(name, f"`{name}`") for name in allowed - FREE)) or "nothing"
        assert ", ".join(sorted(told.split(", "))) == expected, room


def test_named_files_exist() -> None:
    """Each `file.py` or `folder/` in backquotes lies in the package or in the repository."""
    named = re.findall(r"`([\w./]+(?:\.py|/))`", PAGE)
    assert named
    places = (PACKAGE, ROOT, PACKAGE / "optimize", PACKAGE / "optimize" / "layout", PACKAGE / "runtime")
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert set(missing) <= {"targets/"}, missing
