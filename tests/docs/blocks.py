"""The code blocks of a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    """The page's line on which the text begins."""


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks that are fenced as `language`, in order."""
    content = page.read_text("utf-8")
    found = (Block(m[1], m[2], content.count("\n", 0, m.start(2)) + 1) for m in _BLOCK.finditer(content))
    return [block for block in found if block.language == language]
