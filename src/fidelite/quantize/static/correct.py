"""Bias correction: take back what rounding the weights adds to the mean of each output channel.

    mean(y') - mean(y) = sum over k of (w'_k - w_k) * mean(x_k)

The means of the inputs' channels are calibrated. After M. Nagel, M. van Baalen et al., "Data-Free Quantization Through
Weight Equalization and Bias Correction" (ICCV 2019), equation 16; here with measured means instead of derived ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fidelite.quantize.calibration.observe import Calibration, weighted_operand
from fidelite.tflite.constant import Constant
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.grid import Grid, on_grid
from fidelite.tflite.quantized import WEIGHTED
from fidelite.tflite.types import ElementType

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Correction:
    """Of one operator: the new bias, and the root mean square over channels of what was taken back, as a share of the
    width of the result's range."""

    operator: Operator
    bias: Tensor
    share: float


def correct_biases(graph: Graph, calibration: Calibration, grids: Mapping[Tensor, Grid]) -> list[Correction]:
    """Correct the bias of each operator whose weights are to be rounded to `grids`; the weights are still float."""
    made = [c for operator in graph.operators if (c := _correction(operator, calibration, grids)) is not None]
    for correction in made:
        operator, position = correction.operator, WEIGHTED[correction.operator.op].bias
        operands = [*operator.inputs, *[None] * (position + 1 - len(operator.inputs))]
        operands[position] = correction.bias
        graph.set_inputs(operator, operands)
    return made


def _correction(operator: Operator, calibration: Calibration, grids: Mapping[Tensor, Grid]) -> Correction | None:
    facts, data = WEIGHTED.get(operator.op), weighted_operand(operator)
    if facts is None or data is None or data not in calibration:
        return None
    weights = operator.inputs[facts.weights]
    bias = operator.inputs[facts.bias] if len(operator.inputs) > facts.bias else None
    if weights is None or weights.constant is None or weights not in grids or (bias and bias.constant is None):
        return None
    means = calibration.statistics[data].channel_mean
    rounded = on_grid(weights.constant, grids[weights], narrow=True).numpy()
    shift = mean_shift(operator.op, rounded.astype(np.float64) - weights.constant.numpy(), means)
    if shift is None:
        return None
    old = np.zeros(len(shift)) if bias is None or bias.constant is None else bias.constant.numpy()
    new = Constant.of((old - shift).astype(np.float32))
    name = f"{operator.outputs[0].name}/bias" if bias is None else bias.name
    seen = calibration.statistics.get(operator.outputs[0])
    width = 0.0 if seen is None else seen.maximum - seen.minimum
    share = float(np.sqrt(np.mean(np.square(shift)))) / width if width > 0 else 0.0
    return Correction(operator, Tensor(name, ElementType.FLOAT32, new.shape, constant=new), share)


def mean_shift(op: str, difference: Floats, means: Floats) -> Floats | None:
    """How far each output channel's mean moves when the weights change by `difference`; None where the shapes do not
    tell. Padding's zeros are not counted, which makes it a little too large at borders."""
    if op == "FULLY_CONNECTED":
        return difference @ means if difference.shape[1] == len(means) else None
    if op == "DEPTHWISE_CONV_2D":
        channels = difference.shape[3]
        if not len(means) or channels % len(means):
            return None
        return difference.sum((0, 1, 2)) * np.repeat(means, channels // len(means))
    if op != "CONV_2D":
        return None
    outputs, depth = difference.shape[0], difference.shape[3]
    if not len(means) or not depth or len(means) % depth or outputs % max(len(means) // depth, 1):
        return None
    groups = len(means) // depth
    taps = difference.sum((1, 2)).reshape(groups, outputs // groups, depth)
    return np.einsum("goc,gc->go", taps, means.reshape(groups, depth)).reshape(-1)
