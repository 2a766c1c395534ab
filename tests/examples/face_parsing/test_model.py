"""The shipped network: its interface, what it can do, and what its card says of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from fidelite.examples.face_parsing import CLASSES, MODEL_PATH
from fidelite.examples.face_parsing.drawing import TRAINING_SEEDS
from fidelite.examples.face_parsing.evaluate import Figures, evaluate, markdown, onnx_segmenter
from fidelite.runtime import OnnxSession


def test_interface() -> None:
    with OnnxSession(MODEL_PATH) as session:
        assert [str(p) for p in session.inputs] == ["input: float32[1, 3, 512, 512]"]
        assert [str(p) for p in session.outputs] == ["output: float32[1, 19, 512, 512]"]


def test_file_is_whole_small_and_says_nothing_of_where_it_was_made() -> None:
    assert MODEL_PATH.stat().st_size < 1_000_000
    model = onnx.load(MODEL_PATH, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)
    assert not any(n.doc_string or n.metadata_props for n in model.graph.node)
    parameters = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    assert parameters < 170_000


def test_segments_held_out_drawings() -> None:
    segment, size = onnx_segmenter(MODEL_PATH)
    figures = evaluate(segment, "usual", 8, size=size)
    assert figures.mean_iou > 0.75
    poor = {c.name: c.iou for c in figures.classes if c.iou is not None and c.iou < 0.4}
    assert not poor


def test_card_names_every_class() -> None:
    card = MODEL_PATH.with_name("MODEL_CARD.md").read_text("utf-8")
    assert all(f"\n| {name} | " in card for name in CLASSES)
    assert "drawings" in card
    assert "Apache-2.0" in card


def _perfect(size: int) -> tuple[Figures, Figures]:
    from fidelite.examples.face_parsing.drawing import draw_face

    masks = iter([draw_face(seed, size)[1] for seed in range(2)] * 2)
    return (
        evaluate(lambda _: next(masks), "usual", 2, size=size),
        evaluate(lambda p: np.zeros(p.shape[:2], np.uint8), "other", 2, size=size),
    )


def test_perfect_masks_score_one_and_empty_ones_next_to_nothing() -> None:
    perfect, empty = _perfect(64)
    assert perfect.mean_iou == 1.0
    assert perfect.pixel_accuracy == 1.0
    assert {c.iou for c in perfect.classes} <= {1.0, None}
    assert empty.mean_iou < 0.1
    table = markdown(perfect, empty)
    assert "**1.000**" in table
    assert table.count("\n| ") == 2 + 2 + 1 + len(CLASSES)


def test_training_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="held-out drawings lie below"):
        evaluate(lambda p: p[..., 0], "usual", 2, first_seed=TRAINING_SEEDS - 1)
