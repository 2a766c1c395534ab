"""Brings the help texts in docs/cli.md up to date: each block after `fidelite COMMAND -h` is what that prints.

    python scripts/write_cli.py
"""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from fidelite.cli import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
BLOCK = re.compile(r"```text\n\$ fidelite ?(?P<command>[a-z]*) -h\n.*?```", re.DOTALL)


def help_of(command: str) -> str:
    """What `fidelite COMMAND -h` prints, 100 columns wide."""
    arguments = [command, "-h"] if command else ["-h"]
    result = CliRunner().invoke(cli, arguments, prog_name="fidelite", terminal_width=100)
    assert result.exit_code == 0, result.output
    return result.output


def updated(page: str) -> str:
    """The page with every help text replaced."""

    def block(match: re.Match[str]) -> str:
        command = match["command"]
        line = f"$ fidelite {command} -h" if command else "$ fidelite -h"
        return f"```text\n{line}\n{help_of(command).rstrip()}\n```"

    return BLOCK.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8", newline="\n")
