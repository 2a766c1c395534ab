"""Which operators LiteRT.js runs right: the ONNX backend suite's cases, converted with --target web, in the browser.

    python -m tests.extras.web.survey

Prints the cases that fail, and the table for `fidelite/targets/web.py`. Takes about three minutes.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import textwrap
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import fidelite
from fidelite.errors import BadSample, FideliteError
from tests.extras.browser import Browser, serving
from tests.house import ROOT

HERE = Path(__file__).parent
VENDOR = ROOT / "src" / "fidelite" / "web" / "vendor"


def make(folder: Path) -> list[dict[str, Any]]:
    """Every case that converts, as files in `folder`; a description of each."""
    from tests.conformance import conformance as suite

    rows: list[dict[str, Any]] = []
    refused: Counter[str] = Counter()
    cases: Any = [case for case in suite.load_suite() if not suite.exclusion_of(case) and case.data_sets]
    for case in cases:
        names = suite.static_inputs(case)
        one = suite.fold(case, names) if names else case
        try:
            rows.append(_written(folder, one))
        except FideliteError as error:
            refused[error.errors[0].code] += 1
    print(f"{len(rows)} of {len(cases)} cases convert; refused: {dict(refused)}")
    return rows


def _written(folder: Path, case: Any) -> dict[str, Any]:
    given, wanted = ({v.name: np.asarray(a) for v, a in zip(values, arrays, strict=False)} for values, arrays in
                     zip((_inputs(case.model), case.model.graph.output), case.data_sets[0], strict=True))
    shapes = {v.name: given[v.name].shape for v in _inputs(case.model) if not _is_fixed(v)}
    result = fidelite.convert(case.model, verify=False, target="web", shapes=shapes)
    for tensor in result.model.main.inputs:
        _check_fits(given[tensor.name], tensor.element.dtype)
    result.save(folder / f"{case.name}.tflite")
    row: dict[str, Any] = {"name": case.name, "inputs": [], "outputs": []}
    for ending, key, tensors, arrays in (("in", "inputs", result.model.main.inputs, given),
                                         ("out", "outputs", result.model.main.outputs, wanted)):
        for i, tensor in enumerate(tensors):
            array = arrays[tensor.name].astype(tensor.element.dtype)
            (folder / f"{case.name}.{ending}{i}").write_bytes(array.tobytes())
            row[key].append({"name": tensor.name, "type": array.dtype.name, "shape": list(array.shape)})
    small = any(a.dtype.name in ("float16", "bfloat16") for a in (*given.values(), *wanted.values()))
    row["near"] = 1.6e-2 if small else 1e-3
    row["ops"] = sorted({operator.op for graph in result.model.graphs for operator in graph.operators})
    return row


def _check_fits(array: np.ndarray, kind: np.dtype) -> None:
    """Inputs of 64 bits may hold numbers that the file does not take. Raises BadSample."""
    whole = array.dtype.kind in "iu" and kind.kind in "iu"
    if whole and not np.array_equal(array.astype(kind).astype(array.dtype), array):
        raise BadSample(f"{array.dtype} does not fit into {kind}")


def _inputs(model: Any) -> list[Any]:
    constant = {t.name for t in model.graph.initializer}
    return [v for v in model.graph.input if v.name not in constant]


def _is_fixed(value: Any) -> bool:
    tensor = value.type.tensor_type
    return tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)


def main() -> int:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="fidelite-survey-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        shutil.copytree(VENDOR, folder / "vendor")
        shutil.copyfile(HERE / "survey.html", folder / "survey.html")
        rows = make(folder)
        (folder / "cases.json").write_text(json.dumps(rows), "utf-8")
        with serving(folder) as address:
            seen = Browser(HERE, timeout=1800).run([
                {"open": f"{address}/survey.html"}, {"wait": "window.found"},
                {"evaluate": {"function": "() => window.found"}}])
    found: dict[str, str] = seen.results[-1]
    for case, what in found.items():
        if what:
            print(f"{case}: {what}")
    right = sorted({op for row in rows if not found[row["name"]] for op in row["ops"]})
    print(f"{sum(not what for what in found.values())} of {len(found)} cases are right; {len(right)} operators:\n")
    print("\n".join(textwrap.wrap(" ".join(right), 118)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
