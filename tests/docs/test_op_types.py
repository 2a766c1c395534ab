"""scripts/op_types.json says what scripts/op_types.py finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.slow
def test_table_of_types() -> None:
    code = "import sys, json, op_types; sys.stdout.buffer.write(json.dumps(op_types.tried()).encode('utf-8'))"
    found = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, check=True)
    expected = json.loads((SCRIPTS / "op_types.json").read_text("utf-8"))
    assert json.loads(found.stdout) == expected, "python scripts/op_types.py brings it up to date"
