"""The table of TensorFlow's operators, without TensorFlow: names, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fidelite.lower.families import FAMILIES
from fidelite.quantize import apply_plan, plan_weights
from fidelite.quantize.recipe import recipe_of
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Model, Tensor
from fidelite.tflite.ops import OPS
from fidelite.write.saved_model.build import port_names
from fidelite.write.saved_model.refusals import refusals
from fidelite.write.saved_model.table import makers
from tests.house import PACKAGE
from tests.tflite.graphs import build

F = np.float32


@pytest.mark.parametrize(("given", "expected"), [
    (["input", "mask"], ["input", "mask"]),
    (["input.1"], ["input.1"]),
    (["onnx::Conv_0"], ["onnx__Conv_0"]),
    (["self"], ["self_"]),
    (["a b", "a_b", "a.b"], ["a_b", "a_b_1", "a.b_2"]),
    (["???"], ["input"]),
    (["\u753b\u50cf", "\u753b"], ["input", "input_1"]),
])
def test_port_names(given: list[str], expected: list[str]) -> None:
    assert port_names(given) == expected


def test_the_table_has_only_operators_there_are() -> None:
    assert set(makers()) <= set(OPS)


def test_every_operator_that_a_lowering_makes_is_in_the_table() -> None:
    """A new one in `lower`, `optimize` or the Builder needs its row, or this says that it is refused."""
    assert FAMILIES
    text = "\n".join(file.read_text("utf-8") for room in ("lower", "optimize", "tflite/builder")
                     for file in sorted((PACKAGE / room).rglob("*.py")))
    made = {op for op in OPS if f'"{op}"' in text}
    assert len(made) > 100
    assert made - set(makers()) == {"QUANTIZE"}  # refused: what follows it is quantized arithmetic


def _tripled(b: Builder, x: Tensor) -> Tensor:
    return b.scatter(x, b.constant(np.array([[1]], np.int32)), b.constant(np.ones((1, 4), F)), "mul")


def _unknown(b: Builder, x: Tensor) -> Tensor:
    return b.one("L2_NORMALIZATION", [x], x.element, x.shape, fusedActivationFunction=0)


@pytest.mark.parametrize(("make", "words"), [(_tripled, "no products"), (_unknown, "not in the table")])
def test_what_has_no_exact_counterpart_is_refused(make: Callable[..., Tensor], words: str) -> None:
    found, = refusals(build(make, (F, (3, 4))))
    assert (found.code, found.exit_code) == ("F412", 4)
    assert words in found.reason
    assert "--saved-model" in found.remedy


def test_types_that_tensorflow_has_not_are_refused() -> None:
    def batched(b: Builder, x: Tensor) -> Tensor:
        return b.one("SPACE_TO_BATCH_ND", [x, b.int32([2, 2]), b.constant(np.zeros((2, 2), np.int32))], x.element,
                     (4, 1, 2, 3))

    found, = refusals(build(batched, (np.bool_, (1, 2, 4, 3))))
    assert "BOOL" in found.reason
    assert refusals(build(batched, (F, (1, 2, 4, 3)))) == []


def test_float_values_times_int8_weights_are_refused_and_float16_weights_are_not() -> None:
    def layers(b: Builder, x: Tensor) -> Tensor:
        weights = b.constant(np.random.default_rng(0).standard_normal((64, 64)).astype(F))
        return b.fully_connected(b.fully_connected(x, weights, None), weights, None)

    def quantized(precision: str) -> Model:
        model = build(layers, (F, (2, 64)))
        recipe = recipe_of(precision)
        assert recipe is not None
        apply_plan(model, plan_weights(model, recipe))
        return model

    found, = refusals(quantized("dynamic-int8"))
    assert found.details == {"op": "FULLY_CONNECTED"}
    assert refusals(quantized("float16")) == []
