"""Names of classes, one per line of a text file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fidelite.errors import UsageError


def read_labels(labels: Path | str | Iterable[str]) -> tuple[str, ...]:
    """Labels from a file or a list. Empty lines at the end do not count.

    Raises UsageError (F271): the file cannot be read as UTF-8, there are no labels, or one is empty or has more than
    one line.
    """
    if isinstance(labels, Path | str):
        path = Path(labels)
        try:
            found = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the labels in '{path}' cannot be read: {error}", code="F271",
                             remedy="a text file in UTF-8 with one name per line: --labels labels.txt") from error
        place = f"'{path}'"
    else:
        found, place = [str(label).strip() for label in labels], "the list"
    while found and not found[-1]:
        found.pop()
    if not found:
        raise UsageError(f"{place} has no labels", code="F271", remedy="one name per line, one line per class")
    for number, label in enumerate(found, 1):
        if not label or len(label.splitlines()) != 1:
            raise UsageError(f"label {number} of {place} is {'empty' if not label else 'more than one line'}: every "
                             "class has a line of its own", code="F271",
                             remedy=f"write a name there, such as 'class {number - 1}'")
    return tuple(found)
