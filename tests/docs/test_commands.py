"""Every `fidelite ...` that a page shows has a verb and options that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fidelite.cli import cli
from tests.house import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```\w+\n(.*?)^```$|((?:^ {4}.*\n)+)", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^\s*(?:\$ )?(?:.*python -m |.*Scripts.)?fidelite (\w.*)$", re.MULTILINE)
_INLINE = re.compile(r"`(?:python -m )?fidelite (\w[^`]*)`")


def commands(page: Path) -> Iterator[list[str]]:
    text = page.read_text("utf-8")
    shown = [match for block in _BLOCK.finditer(text) for match in _LINE.finditer(block[0])]
    for match in [*shown, *_INLINE.finditer(text)]:
        yield shlex.split(match[1].replace("\\", "/"), comments=True)


def known_options(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    wrong: list[str] = []
    for words in commands(page):
        verb = cli.commands.get(words[0])
        options = known_options(cli if verb is None else verb)
        if verb is None or any(word.startswith("-") and word.partition("=")[0] not in options for word in words[1:]):
            wrong.append(" ".join(words))
    assert not wrong, "\n".join(wrong)


def test_something_is_found() -> None:
    assert sum(1 for page in PAGES for _ in commands(page)) > 20


def test_options_in_backquotes_exist() -> None:
    """`--option` alone in backquotes is an option of some command."""
    known = set().union(*(known_options(command) for command in cli.commands.values()))
    wrong: list[str] = []
    for page in PAGES:
        for option in re.findall(r"`(--[a-z][a-z-]*)", page.read_text("utf-8")):
            if option not in known:
                wrong.append(f"{page.name}: {option}")
    assert not wrong, "\n".join(wrong)
