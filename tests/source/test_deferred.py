"""onnx_ir comes without sympy, and has it when it asks."""

from __future__ import annotations

import subprocess
import sys


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_sympy_waits_for_its_first_use() -> None:
    assert _run("import fidelite.source, sys, onnx_ir\n"
                "print('sympy.core' in sys.modules)\n"
                "print(onnx_ir.SymbolicDim('n') * 2, 'sympy.core' in sys.modules)") == "False\n2*n True"


def test_others_import_sympy_as_ever() -> None:
    assert _run("import fidelite.source, sys, sympy\nprint('sympy.core' in sys.modules)") == "True"


def test_nothing_heavy_is_imported() -> None:
    assert _run("import fidelite.source, sys\nprint('onnx_ir' in sys.modules, 'onnx' in sys.modules)") == "False False"
