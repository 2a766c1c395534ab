"""A real export that is broken twice: its weights are elsewhere, and its exporter shared a bias."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fidelite.errors import ContradictoryModel, MissingExternalData, Several
from fidelite.source.load import examine, load
from fidelite.source.profile import profile
from tests.source.models import codes, seeded_data

LENGTH = 53_215_232
"""Where the last tensor ends. 53,168,896 bytes of it are used: the exporter left gaps."""


@pytest.fixture
def graph(shared: Path, tmp_path: Path) -> Path:
    file = shared / "data" / "face_parsing_temp.onnx"
    if not file.is_file():
        pytest.skip(f"no {file.name} beside the repository")
    return Path(shutil.copy(file, tmp_path / file.name))


def test_both_faults_are_told_in_one_run(graph: Path) -> None:
    with pytest.raises(Several) as caught:
        load(graph)
    assert caught.value.exit_code == 3
    assert codes(caught.value) == ["F310", "F340"]
    missing, contradiction = sorted(caught.value.errors, key=lambda e: e.code)
    assert isinstance(missing, MissingExternalData)
    assert missing.details["location"] == "face_parsing_temp.onnx.data"
    assert missing.details["tensor_bytes"] == 53_168_896
    assert missing.details["expected_bytes"] == LENGTH
    assert (missing.details["tensors"], missing.details["tensors_total"]) == (56, 67)
    for words in ("56 of its 67 tensors", "0.11 MB", "graph only", "about 53 MB", "about 13 MB with int8"):
        assert words in missing.reason
    assert isinstance(contradiction, ContradictoryModel)
    for words in ("relu_12_bias", "128 where 512 are needed", "node_Conv_484", "#166797"):
        assert words in contradiction.reason
    assert contradiction.where.node == "node_Conv_480"
    json.dumps(caught.value.to_json())


def test_what_does_not_refuse_is_told_beside(graph: Path) -> None:
    source = examine(graph)
    assert sorted(n.code for n in source.notices) == ["N342", "W340"]
    silent = next(n for n in source.notices if n.code == "W340")
    assert "relu_4_bias" in silent.text
    assert "relu_8_bias" in silent.text
    assert "relu_12_bias" not in silent.text
    assert source.implied_shapes == {"input": (1, 3, 512, 512)}


def test_with_weights_it_is_refused_all_the_same(graph: Path) -> None:
    (graph.parent / "found.bin").write_bytes(seeded_data(LENGTH))
    assert examine(graph).problems[0].details["candidates"] == ["found.bin"]
    (graph.parent / "found.bin").rename(graph.with_name(f"{graph.name}.data"))
    with pytest.raises(ContradictoryModel) as caught:
        load(graph)
    assert caught.value.exit_code == 3
    assert caught.value.where.node == "node_Conv_480"
    assert (caught.value.details["found"], caught.value.details["needed"]) == (128, 512)
    assert caught.value.details["operand"] == "relu_12_bias"
    source = examine(graph)
    value = source.model.graph.initializers["cp.resnet.conv1.weight"].const_value
    assert value is not None
    assert value.numpy().shape == (64, 3, 7, 7)
    assert np.isfinite(value.numpy()).all()
    source.close()


def test_its_figures(graph: Path) -> None:
    facts = profile(examine(graph))
    assert facts.weights.parameters == 13_292_672
    assert facts.output_bytes == 3 * 19 * 512 * 512 * 4
    assert facts.ops["Conv"] == 36
    assert facts.macs is not None
    assert 13e9 < facts.macs < 14e9
    assert 13.3e6 < facts.costs["int8"].file_bytes < 13.5e6
    assert 53e6 < facts.costs["float32"].file_bytes < 53.4e6
    together = facts.choices[-1]
    assert together.memory_bytes < 50e6
    json.dumps(facts.to_json())
