"""Ranges to scales and zero points, as LiteRT's integer kernels want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fidelite.quantize.calibration.moves import MOVES, moved
from fidelite.quantize.calibration.observe import Calibration
from fidelite.quantize.calibration.ranges import Range, clipped_share, exact_range, range_of
from fidelite.tflite.graph import Graph, Operator, Quantization, Tensor
from fidelite.tflite.types import ElementType

LEVELS = {ElementType.INT8: 256, ElementType.INT16: 65536}
UNLIKE = 4.0
"""Branches of a CONCATENATION whose ranges differ by more than this factor share no scale: the narrow one would lose
two of its eight bits."""
_FIXED: Mapping[str, Range] = {
    # Scales that the kernels fix: 1/256 with zero point -128, and 1/128 with zero point 0.
    "LOGISTIC": Range(0.0, 255 / 256), "SOFTMAX": Range(0.0, 255 / 256), "TANH": Range(-1.0, 127 / 128),
    "LOG_SOFTMAX": Range(-255 * 16 / 256, 0.0), "L2_NORMALIZATION": Range(-1.0, 127 / 128),
}
_FIXED_INT16 = frozenset({"LOGISTIC", "SOFTMAX", "TANH"})


@dataclass
class Parameters:
    """A quantization per float activation, and what was noticed on the way.

    `ranges` are those chosen; `floats` are tensors that had better stay float32, each with the reason.
    """

    element: ElementType
    method: str
    quantizations: dict[Tensor, Quantization] = field(default_factory=dict[Tensor, Quantization])
    ranges: dict[Tensor, Range] = field(default_factory=dict[Tensor, Range])
    floats: dict[Tensor, str] = field(default_factory=dict[Tensor, str])
    unlike: list[tuple[Operator, str]] = field(default_factory=list[tuple[Operator, str]])
    """CONCATENATIONs of unlike ranges that take one scale all the same, each with what that means."""

    def to_json(self, calibration: Calibration) -> dict[str, Any]:
        """For the report: per tensor what was seen, the range chosen, and the share of values that it clips."""
        rows: list[dict[str, Any]] = []
        for tensor, statistics in calibration.statistics.items():
            chosen = self.ranges.get(tensor)
            if not statistics.elements or chosen is None:
                continue
            scale, zero_point = None, None
            if (found := self.quantizations.get(tensor)) is not None:
                scale, zero_point = found.scale[0], found.zero_point[0]
            rows.append({"tensor": tensor.name, "seen": [statistics.minimum, statistics.maximum],
                         "range": [chosen.low, chosen.high], "clipped": clipped_share(statistics, chosen),
                         "scale": scale, "zero_point": zero_point})
        return {"samples": calibration.samples, "source": calibration.source, **calibration.feeds,
                "method": self.method, "tensors": rows}


def choose_parameters(graph: Graph, calibration: Calibration, element: ElementType, method: str) -> Parameters:
    """Scales and zero points for every float activation of the main graph.

    Integers of 8 bits are asymmetric, of 16 symmetric (zero point 0). Results of operators that only move values take
    their operand's; a CONCATENATION unites the ranges of its operands, unless they are unlike and nothing but outputs
    come after it: then it stays float. Scales that a kernel fixes are those of the kernel.
    """
    found = Parameters(element, method)
    symmetric = element is ElementType.INT16
    for tensor in graph.inputs:
        _measured(found, tensor, calibration, symmetric)
    for operator in graph.operators:
        if operator.op in MOVES:
            source = moved(operator)
            for tensor in operator.outputs:
                if source in found.ranges and tensor.element is ElementType.FLOAT32:
                    _set(found, tensor, found.ranges[source], symmetric)
                elif source in found.floats:
                    found.floats[tensor] = found.floats[source]
        elif operator.op == "CONCATENATION":
            _concatenate(found, graph, operator, symmetric)
        elif operator.op in _FIXED and (not symmetric or operator.op in _FIXED_INT16):
            fixed = Range(-1.0, 32767 / 32768) if symmetric else _FIXED[operator.op]
            _set(found, operator.outputs[0], fixed, symmetric)
        else:
            for tensor in operator.outputs:
                _measured(found, tensor, calibration, symmetric)
    return found


def _measured(found: Parameters, tensor: Tensor, calibration: Calibration, symmetric: bool) -> None:
    if tensor not in calibration or tensor.element is not ElementType.FLOAT32:
        return
    statistics = calibration.statistics[tensor]
    # 65536 steps are fine enough for every value seen: clipping would gain nothing.
    chosen = exact_range(statistics) if symmetric else range_of(statistics, found.method, LEVELS[found.element])
    _set(found, tensor, chosen, symmetric)


def _set(found: Parameters, tensor: Tensor, chosen: Range, symmetric: bool) -> None:
    found.ranges[tensor] = chosen
    found.quantizations[tensor] = symmetric_int16(chosen) if symmetric else asymmetric_int8(chosen)


def asymmetric_int8(chosen: Range) -> Quantization:
    """-128..127 over the range, moved a little so that zero is exact."""
    scale = _scale((chosen.high - chosen.low) / 255)
    zero_point = int(np.clip(np.rint(-128 - chosen.low / scale), -128, 127))
    return Quantization((scale,), (zero_point,))


def symmetric_int16(chosen: Range) -> Quantization:
    """-32767..32767 over the range mirrored at zero; kernels take no other zero point than 0."""
    return Quantization((_scale(chosen.widest / 32767),), (0,))


def _scale(step: float) -> float:
    """A float32 above zero: a tensor that is always zero has the step 1."""
    return float(np.float32(step)) if np.float32(step) >= np.finfo(np.float32).tiny else 1.0


def _concatenate(found: Parameters, graph: Graph, operator: Operator, symmetric: bool) -> None:
    """One scale for all branches, or none where they are unlike."""
    output = operator.outputs[0]
    branches = [t for t in operator.inputs if t is not None and not t.is_constant]
    if output.element is not ElementType.FLOAT32 or not all(t in found.ranges for t in branches):
        return
    ranges = [*(found.ranges[t] for t in branches), *(_constant_range(t) for t in operator.inputs
                                                      if t is not None and t.is_constant)]
    union = Range(min(r.low for r in ranges), max(r.high for r in ranges))
    widths = [found.ranges[t].high - found.ranges[t].low for t in branches]
    narrow = [(t, w) for t, w in zip(branches, widths, strict=True) if w > 0 and union.high - union.low > UNLIKE * w]
    if narrow and not symmetric:
        tensor, width = min(narrow, key=lambda pair: pair[1])
        reason = (f"its branches have unlike ranges: '{tensor.name}' spans {width:.4g}, all together "
                  f"{union.high - union.low:.4g}")
        if _only_leads_out(graph, output):
            found.floats[output] = reason
            return
        found.unlike.append((operator, reason))
    elif _equalizable(branches, graph):
        for tensor in branches:  # nobody else reads them: with the result's own scale, nothing has to be rescaled
            _set(found, tensor, union, symmetric)
    _set(found, output, union, symmetric)


def _constant_range(tensor: Tensor) -> Range:
    assert tensor.constant is not None
    values = tensor.constant.numpy()
    return Range(min(float(values.min(initial=0.0)), 0.0), max(float(values.max(initial=0.0)), 0.0))


def _equalizable(branches: Sequence[Tensor], graph: Graph) -> bool:
    """Whether each branch is made by an operator whose scale is free, and read by this CONCATENATION only."""
    outputs = graph.output_set()
    return all(t.producer is not None and t.producer.op not in MOVES and t.producer.op not in _FIXED
               and len(t.users) == 1 and t not in outputs for t in branches)


def _only_leads_out(graph: Graph, tensor: Tensor) -> bool:
    """Whether operators behind `tensor` only move its values, to the graph's outputs."""
    ahead, outputs = [tensor], graph.output_set()
    while ahead:
        one = ahead.pop()
        if not one.users and one not in outputs:
            return False
        for user in one.users:
            if user.op not in MOVES:
                return False
            ahead.extend(user.outputs)
    return True
