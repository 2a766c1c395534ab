"""The table: targets beside what was measured, nothing left out in silence."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.report import markdown, markdown_table
from benchmarks.targets import table

PEER = "onnx2tf 2.6.9"


def _usage(cpu: float, peak: float, **more: float) -> dict[str, Any]:
    return {"median": {"cpu": cpu, "wall": cpu, "peak": peak}, "runs": [], **more}


def _result(converter: str, model: str, layout: str, exporter: str, counts: tuple[int, int, int],
            **more: Any) -> dict[str, Any]:
    operators, transposes, reshapes = counts
    return {"converter": converter, "model": model, "layout": layout, "exporter": exporter, "operators": operators,
            "transposes": transposes, "reshapes": reshapes, "bytes": 1_000_000, **more}


def _measured() -> dict[str, Any]:
    both = [_result("fidelite", "vit", "source", exporter, (240, 13, 14), proof="proven")
            for exporter in ("dynamo", "ts")]
    return {
        "machine": {"system": "Linux x86_64", "cores": 2, "python": "3.11.7", "load_average": [0.1, 1.9]},
        "runs": 5,
        "peers": [PEER],
        "missing": {},
        "cost": {
            "floor": _usage(0.8, 150e6),
            "fidelite": _usage(1.0, 200e6, cpu_over_floor=1.25, peak_over_floor=1.33),
            "fidelite with proof": {"reason": "exit code 5: [F500] not proven"},
            PEER: _usage(8.3, 700e6),
        },
        "results": [*both, _result(PEER, "vit", "source", "dynamo", (320, 36, 50))],
        "latency": [
            {"model": "vit", "layout": "source", "peer": PEER, "ours_seconds": 0.01, "theirs_seconds": 0.011,
             "ratio": {"median": 0.9, "upper": 1.02, "pairs": 90, "confidence": 0.95},
             "largest_relative_difference": 0.5},
            {"model": "lstm", "layout": "source", "peer": PEER, "reason": "fidelite: no lowering"},
        ],
        "install": {"fidelite": {"whole": 340.0, "without_pip": 320.0, "without_pip_and_pyc": 280.0},
                    PEER: {"reason": "not installed"}},
        "scaling": {"elementwise": {"cpu": {"1000": 1.0, "4000": 4.0}, "marginal_growth": 1.1}},
    }


def _rows(results: dict[str, Any]) -> dict[str, Any]:
    return {row.what: row for row in table(results, {"vit": "ViT-tiny"})}


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("convert BiSeNet, verification off: CPU", "reached"),
        ("convert BiSeNet, verification off: peak memory", "missed"),
        ("convert BiSeNet, verification on: CPU", "not measured"),
        ("BiSeNet, NHWC I/O: operators, TRANSPOSE", "not measured"),
        ("ViT-tiny, NCHW in: TRANSPOSE, RESHAPE", "reached"),
        ("latency, ViT-tiny, as the source has it: fidelite / peer", "reached"),
        ("base install in a fresh environment, without pip and setuptools", "reached"),
        ("chain of elementwise, CPU by number of nodes", "reached"),
    ],
)
def test_status(what: str, status: str) -> None:
    assert _rows(_measured())[what].status == status


def test_counts_are_missed_by_either_exporter_or_without_proof() -> None:
    results = _measured()
    results["results"][1]["transposes"] = 26
    assert _rows(results)["ViT-tiny, NCHW in: TRANSPOSE, RESHAPE"].status == "missed"
    results = _measured()
    results["results"][1]["proof"] = "not proven: outputs differ"
    assert _rows(results)["ViT-tiny, NCHW in: TRANSPOSE, RESHAPE"].status == "missed"


def test_the_best_peer_decides() -> None:
    results = _measured()
    other = results["latency"][0] | {"peer": "litert-torch 0.10.0",
                                     "ratio": {"median": 1.0, "upper": 1.04, "pairs": 90, "confidence": 0.95}}
    results["latency"].append(other)
    assert _rows(results)["latency, ViT-tiny, as the source has it: fidelite / peer"].status == "missed"


def test_page_says_what_is_missing_and_what_differs() -> None:
    results = _measured()
    results["missing"][PEER] = "not installed: it needs Python 3.12, and none was found"
    page = markdown(results)
    for words in ("it needs Python 3.12", "[F500] not proven", "fidelite: no lowering", "differ by 5.0e-01",
                  "The machine was busy", "1.00 s (1.25 x the floor)"):
        assert words in page


def test_page_of_nothing() -> None:
    machine = {"system": "Linux x86_64", "cores": 2, "python": "3.11.7"}
    page = markdown({"machine": machine, "runs": 1, "peers": [], "missing": {}})
    assert "target for fidelite" in page


def test_table_keeps_its_cells() -> None:
    assert markdown_table(["a", "b"], [["x|y", "two\nlines"]]) == "| a | b |\n| --- | --- |\n| x\\|y | two lines |"
