"""docs/models.md is what the zoo's results say; and (make test-all) the results are what the zoo gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.zoo import page, run

ZOO = Path(os.environ.get("FIDELITE_ZOO") or run.ROOT / ".zoo")


def test_the_page_is_what_the_results_say() -> None:
    assert page.PAGE.read_text("utf-8") == page.text(run.load()), "python -m tests.zoo.run --page"


def test_nothing_is_wrong_and_every_refusal_has_its_reason() -> None:
    for name, row in run.load().items():
        assert row["status"] in ("proven", "refused"), name
        assert row["status"] == "proven" or (row["codes"] and all(row["reasons"])), name
        limit = 0.1 if name.endswith(("/qdq", "/qoperator", "/dynamic")) else 1e-3  # steps of 8 bits; ties
        assert all(error < limit for error in row.get("asked", {}).values()), name


@pytest.mark.zoo
@pytest.mark.timeout(4 * 3600)
def test_the_results_are_what_the_zoo_gives() -> None:
    found = run.files(ZOO)
    assert found, f"nothing in {ZOO}: make zoo"
    known = run.load()
    assert {name for name, _ in found} == set(known)
    changed: dict[str, object] = {}
    for name, file in found:
        row = run.judged(file)
        if (row["status"], row.get("codes")) != (known[name]["status"], known[name].get("codes")):
            changed[name] = row
    assert not changed
