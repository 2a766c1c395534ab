"""A file that kills LiteRT is bisected like one that computes something else."""

from __future__ import annotations

from pathlib import Path

import pytest

import fidelite
from fidelite.errors import RuntimeCrash
from fidelite.examples.face_parsing import MODEL_PATH
from fidelite.source.tflite_file import read_tflite
from fidelite.write.flatbuffer import write_model


def _without_bias(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The shipped network with a depthwise convolution that lost its bias, which makes LiteRT segfault."""
    good, bad = folder / "good.tflite", folder / "bad.tflite"
    fidelite.convert(MODEL_PATH, verify=False).save(good)
    model = read_tflite(good)
    operator = [o for o in model.main.operators if o.op == "DEPTHWISE_CONV_2D"][3]
    model.main.set_inputs(operator, operator.inputs[:2])
    with bad.open("wb") as stream:
        write_model(model, stream)
    return bad, (operator.outputs[0].name,)


def test_the_step_that_crashes_is_named(tmp_path: Path) -> None:
    bad, names = _without_bias(tmp_path)
    found = fidelite.verify(MODEL_PATH, bad, bisect=True)
    assert not found.proven
    assert found.divergence is not None
    assert found.divergence.crash
    assert found.divergence.operators == ("DEPTHWISE_CONV_2D",)
    assert found.divergence.value in names
    assert (tmp_path / "bad.cut.tflite").is_file()


def test_without_bisect_the_crash_is_an_error(tmp_path: Path) -> None:
    bad, _ = _without_bias(tmp_path)
    with pytest.raises(RuntimeCrash):
        fidelite.verify(MODEL_PATH, bad)
