"""Each rule of MediaPipe's tasks, broken once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import fidelite
from fidelite.errors import FideliteError, TargetError
from fidelite.targets import mediapipe
from fidelite.tasks.card import Boxes, Card, attach, read_card
from fidelite.tasks.metadata import METADATA
from fidelite.tflite.graph import Graph, Model, Operator, Quantization, Tensor
from fidelite.tflite.types import ElementType
from tests.house import ROOT
from tests.tasks import networks

F32 = ElementType.FLOAT32
SEGMENTER = Card("image-segmenter", ("a", "b"), mean=(0.0,), std=(1.0,))


def _model(card: Card | None, *outputs: Tensor, inputs: Sequence[Tensor] | None = None) -> Model:
    """A graph of inputs and outputs: the rules look at nothing else."""
    graph = Graph()
    graph.inputs = list(inputs if inputs is not None else [_tensor("picture", 1, 32, 32, 3)])
    graph.outputs = list(outputs)
    graph.append(Operator("RELU", graph.inputs[:1], graph.outputs))
    model = Model([graph])
    if card is not None:
        attach(card, model)
    return model


def _tensor(name: str, *shape: int, element: ElementType = F32, quantized: bool = False) -> Tensor:
    return Tensor(name, element, shape, quantization=Quantization((1.0,), (0,)) if quantized else None)


def _rules(model: Model) -> set[str]:
    found = mediapipe.check(model)
    assert all(f.remedy and f.level == "refused" for f in found)
    return {f.rule.name for f in found}


BOXES = Card("object-detector", mean=(0.0,), std=(1.0,), boxes=Boxes("xyxy"))


def _mask(**changes: Any) -> Tensor:
    return _tensor("mask", 1, 16, 16, 2, **changes)


def _two(boxes: Sequence[int], scores: Sequence[int]) -> list[Tensor]:
    return [_tensor("boxes", *boxes), _tensor("scores", *scores)]


def _four(*changed: tuple[int, Sequence[int]]) -> list[Tensor]:
    shapes: list[Sequence[int]] = [(1, 9, 4), (1, 9), (1, 9), (1,)]
    for index, shape in changed:
        shapes[index] = shape
    return [_tensor(f"o{i}", *shape) for i, shape in enumerate(shapes)]


def _pictures(*shapes: Sequence[int], element: ElementType = F32) -> list[Tensor]:
    return [_tensor(f"in{i}", *shape, element=element) for i, shape in enumerate(shapes)]


ROWS: list[tuple[str, Callable[[], Model]]] = [
    ("one-picture", lambda: _model(SEGMENTER, _mask(), inputs=_pictures((1, 8, 8, 3), (1, 8, 8, 3)))),
    ("one-picture", lambda: _model(SEGMENTER, _mask(), inputs=_pictures((1, 3, 8, 8)))),
    ("one-picture", lambda: _model(SEGMENTER, _mask(), inputs=_pictures((1, 8, 8, 1)))),
    ("one-picture", lambda: _model(SEGMENTER, _mask(), inputs=_pictures((1, 8, 8, 4)))),
    ("one-picture", lambda: _model(SEGMENTER, _mask(), inputs=_pictures((2, 8, 8, 3)))),
    ("one-picture", lambda: _model(SEGMENTER, _mask(), inputs=_pictures((1, 192)))),
    ("picture-type", lambda: _model(SEGMENTER, _mask(), inputs=_pictures((1, 8, 8, 3), element=ElementType.INT8))),
    ("picture-type", lambda: _model(SEGMENTER, _mask(), inputs=_pictures((1, 8, 8, 3), element=ElementType.FLOAT16))),
    ("normalization", lambda: _model(replace(SEGMENTER, mean=(), std=()), _mask())),
    ("normalization", lambda: _model(replace(SEGMENTER, mean=(1.0, 2.0, 3.0), std=(1.0,) * 3), _mask())),
    ("labels-file", lambda: _without_files(_model(SEGMENTER, _mask()))),
    ("labels-fit", lambda: _model(replace(SEGMENTER, labels=("a",)), _mask())),
    ("labels-fit", lambda: _model(replace(SEGMENTER, task="image-classifier"), _tensor("s", 1, 3))),
    ("one-mask", lambda: _model(SEGMENTER, _mask(), _tensor("b", 1, 2), _tensor("c", 1, 16, 16, 2))),
    ("mask-shape", lambda: _model(replace(SEGMENTER, labels=()), _tensor("mask", 1, 16, 16))),
    ("mask-shape", lambda: _model(SEGMENTER, _tensor("mask", 2, 16, 16, 2))),
    ("no-indices", lambda: _model(replace(SEGMENTER, labels=()), _tensor("m", 1, 16, 16, element=ElementType.INT64))),
    ("mask-type", lambda: _model(SEGMENTER, _mask(element=ElementType.FLOAT16))),
    ("mask-type", lambda: _model(SEGMENTER, _mask(element=ElementType.UINT8))),
    ("mask-classes", lambda: _model(replace(SEGMENTER, labels=()), _tensor("mask", 1, 2, 16, 512))),
    ("heads-type", lambda: _model(Card("image-embedder", mean=(0.0,), std=(1.0,)),
                                  _tensor("e", 1, 8, element=ElementType.FLOAT16))),
    ("heads-type", lambda: _model(Card("image-embedder", mean=(0.0,), std=(1.0,)), _tensor("e", 1, 8),
                                  _tensor("f", 1, 8, element=ElementType.UINT8, quantized=True))),
    ("heads-shape", lambda: _model(Card("image-embedder", mean=(0.0,), std=(1.0,)), _tensor("e", 4, 8))),
    ("heads-shape", lambda: _model(Card("image-classifier", mean=(0.0,), std=(1.0,)), _tensor("e", 1, 8, 9))),
    ("detector-outputs", lambda: _model(BOXES, _tensor("both", 1, 84, 8400))),
    ("detector-shapes", lambda: _model(BOXES, *_four((1, (1, 8))))),
    ("detector-shapes", lambda: _model(BOXES, *_four((3, (1, 1))))),
    ("detector-shapes", lambda: _model(replace(BOXES, boxes=Boxes("cycxhw")), *_two((1, 9, 5), (1, 9, 3)))),
    ("detector-shapes", lambda: _model(replace(BOXES, boxes=Boxes("cycxhw")), *_two((1, 9, 4), (1, 8, 3)))),
    ("box-format", lambda: _model(replace(BOXES, boxes=None), *_four())),
    ("labels-fit", lambda: _model(replace(BOXES, boxes=Boxes("cycxhw"), labels=("a",)), *_two((1, 9, 4), (1, 9, 3)))),
    ("task", lambda: _model(None, _mask())),
]


def _without_files(model: Model) -> Model:
    model.files.clear()
    return model


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_rule(row: int) -> None:
    rule, make = ROWS[row]
    assert _rules(make()) == {rule}


SOUND: list[Callable[[], Model]] = [
    lambda: _model(SEGMENTER, _mask()),
    lambda: _model(SEGMENTER, _tensor("quality", 1, 2), _mask()),
    lambda: _model(SEGMENTER, _mask(element=ElementType.INT8, quantized=True)),
    lambda: _model(replace(SEGMENTER, mean=(127.5,) * 3, std=(127.5,) * 3), _mask()),
    lambda: _model(replace(SEGMENTER, mean=(), std=()), _mask(),
                   inputs=_pictures((1, 8, 8, 3), element=ElementType.UINT8)),
    lambda: _model(replace(SEGMENTER, task="image-classifier"), _tensor("s", 1, 1, 1, 2)),
    lambda: _model(replace(SEGMENTER, task="image-embedder", labels=()), _tensor("s", 1, 8), _tensor("t", 1, 9)),
    lambda: _model(BOXES, *_four()),
    lambda: _model(replace(BOXES, boxes=Boxes("cycxhw", 320.0, 240.0), labels=("a", "b")), *_two((1, 9, 4), (1, 9, 2))),
]


@pytest.mark.parametrize("row", range(len(SOUND)))
def test_sound(row: int) -> None:
    assert _rules(SOUND[row]()) == set()


def test_several_graphs_are_refused() -> None:
    model = _model(SEGMENTER, _mask())
    model.graphs.append(Graph("body"))
    assert _rules(model) == {"one-graph"}


def test_every_rule_is_broken_somewhere() -> None:
    broken = {rule for rule, _ in ROWS} | {"one-graph", "static-shapes"}
    assert {rule.name for rule in mediapipe.PROFILE.rules} == broken


def test_the_page_has_the_rules() -> None:
    rows = [f"| {r.name} | {r.text} | {r.source} |" for r in mediapipe.PROFILE.rules]
    page = (ROOT / "docs" / "mediapipe.md").read_text("utf-8")
    assert "| --- | --- | --- |\n" + "\n".join(rows) + "\n\n" in page


def test_open_shapes_are_refused_with_the_line_to_paste(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(networks.segmenter(tmp_path))
    for value in (*model.graph.input, *model.graph.output):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    path = tmp_path / "open.onnx"
    onnx.save(model, path)
    with pytest.raises(FideliteError) as caught:
        fidelite.convert(path, task="image-segmenter", normalize={"": fidelite.Normalization()}, verify=False)
    told = [e for e in caught.value.errors if isinstance(e, TargetError)]
    assert {e.details["rule"] for e in told} == {"static-shapes"}
    assert any("--shape picture=1,3,512,512" in e.remedy for e in told)


def test_a_task_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"which of MediaPipe's tasks") as caught:
        fidelite.convert(networks.segmenter(tmp_path), target="mediapipe", verify=False)
    assert caught.value.code == "F485"
    assert "--task image-segmenter" in caught.value.remedy


def test_damaged_metadata_are_told(tmp_path: Path) -> None:
    model = _model(SEGMENTER, _mask())
    model.metadata[METADATA] = model.metadata[METADATA][:30]
    with pytest.raises(FideliteError) as caught:
        read_card(model.metadata, model.files)
    assert caught.value.code == "F308"


def test_cards_come_back() -> None:
    """What was attached is read, for each sound model."""
    for make in SOUND:
        model = make()
        card = read_card(model.metadata, model.files)
        assert card is not None
        again = Model(model.graphs)
        attach(card, again)
        assert again.metadata[METADATA] == model.metadata[METADATA]
        assert again.files == model.files
