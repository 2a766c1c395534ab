"""The chains are valid models of the promised length, and convert."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import fidelite
from benchmarks.scaling import KINDS, Kind, chain_model
from fidelite.runtime import OnnxSession


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nodes", [1, 7, 60])
def test_chain_is_valid(kind: Kind, nodes: int) -> None:
    model = chain_model(kind, nodes)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == nodes
    assert model.graph.node[-1].output == ["output"]


def test_chain_is_the_same_each_time() -> None:
    assert chain_model("convolutions", 9).SerializeToString() == chain_model("convolutions", 9).SerializeToString()


@pytest.mark.parametrize("kind", KINDS)
def test_long_chain_neither_dies_out_nor_explodes(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "chain.onnx"
    onnx.save_model(chain_model(kind, 100), path)
    feed = np.random.default_rng(0).standard_normal((1, 8, 8, 8)).astype(np.float32)
    with OnnxSession(path) as session:
        found = session.run({"input": feed})["output"]
    assert np.isfinite(found).all()
    assert float(found.std()) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_chain_converts(kind: Kind) -> None:
    result = fidelite.convert(chain_model(kind, 12), verify=False)
    assert not [op for op in result.model.main.operators if op.op == "RESHAPE"]
