"""docs/cli.md and docs/ops.md say what the program says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fidelite.cli import cli
from tests.cli.support import fidelite

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cli.md"


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_help_is_on_the_page(command: str) -> None:
    shown = fidelite(*([command] if command else []), "-h").output.rstrip()
    line = f"$ fidelite {command} -h" if command else "$ fidelite -h"
    block = f"```text\n{line}\n{shown}\n```"
    assert block in PAGE.read_text("utf-8"), "python scripts/write_cli.py brings it up to date"


def test_examples_on_the_page_have_known_options() -> None:
    for line in re.findall(r"^    fidelite (.+)$", PAGE.read_text("utf-8"), re.MULTILINE):
        words = line.split()
        command = cli.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = [w for w in words if re.fullmatch(r"-o|--[a-z-]+", w) and w not in known]
        assert not unknown, f"{line}: {unknown}"


@pytest.mark.parametrize("page", ["ops", "targets"])
def test_pages_that_are_written(page: str) -> None:
    # In a process of its own: other tests may have registered operators of theirs.
    code = f"import sys, write_{page}; sys.stdout.buffer.write(write_{page}.text().encode('utf-8'))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, check=True)
    expected = found.stdout.decode("utf-8")
    shown = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert shown == expected, f"python scripts/write_{page}.py brings it up to date"
