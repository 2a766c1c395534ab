"""Ranges to grids (scales and zero points), as LiteRT's integer kernels want them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fidelite.quantize.calibration.follow import followed, moves
from fidelite.quantize.calibration.observe import Calibration
from fidelite.quantize.calibration.ranges import Range, clipped_share, exact_range, range_of
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.grid import Grid
from fidelite.tflite.quantized import Kind, row_of
from fidelite.tflite.types import ElementType

LEVELS: Mapping[ElementType, int] = {ElementType.INT8: 256, ElementType.INT16: 65536}
HEADROOM = 2.0
"""How much further than what was seen int16 reaches: one bit of sixteen, for values that no sample had."""
UNLIKE = 4.0
"""Values that are joined and whose ranges differ by more than this factor share no scale: the narrow ones would lose
two of their eight bits."""


@dataclass
class Parameters:
    """A grid per float activation, and what was noticed on the way.

    `ranges` are those chosen; `floats` are values that had better stay float32, each with the reason.
    """

    element: ElementType
    method: str
    grids: dict[Tensor, Grid] = field(default_factory=dict[Tensor, Grid])
    ranges: dict[Tensor, Range] = field(default_factory=dict[Tensor, Range])
    floats: dict[Tensor, str] = field(default_factory=dict[Tensor, str])
    unlike: list[tuple[Operator, str]] = field(default_factory=list[tuple[Operator, str]])
    """Operators that join values of unlike ranges and take one grid all the same, each with what that means."""

    def to_json(self, calibration: Calibration) -> dict[str, Any]:
        """For the report: per tensor what was seen, the range chosen, and the share of values that it clips."""
        rows: list[dict[str, Any]] = []
        for tensor, statistics in calibration.statistics.items():
            chosen, grid = self.ranges.get(tensor), self.grids.get(tensor)
            if statistics.elements and chosen is not None:
                rows.append({"tensor": tensor.name, "seen": [statistics.minimum, statistics.maximum],
                             "range": [chosen.low, chosen.high], "clipped": clipped_share(statistics, chosen),
                             "scale": None if grid is None else grid.scale,
                             "zero_point": None if grid is None else grid.zero_point})
        return {"samples": calibration.samples, "source": calibration.source, **calibration.feeds,
                "method": self.method, "tensors": rows}


def choose_parameters(graph: Graph, calibration: Calibration, element: ElementType, method: str) -> Parameters:
    """Grids for every float activation of the main graph.

    Integers of 8 bits are asymmetric, of 16 symmetric (zero point 0). Results of operators that move values take
    their operand's grid; where several are joined, they all take that of the united ranges, unless the ranges are
    unlike and nothing but outputs come after: then the result stays float. Grids that a kernel fixes are the kernel's.
    """
    found = Parameters(element, method)
    for tensor in graph.inputs:
        _measured(found, tensor, calibration)
    for operator in graph.operators:
        row, sources = row_of(operator.op), followed(operator)
        if len(sources) == 1:
            _follow(found, operator, sources[0])
        elif sources:
            _join(found, graph, operator, sources)
        elif row is not None and row.kind is Kind.FIXED and element in row.fixed:
            grid = row.fixed[element]
            _set(found, operator.outputs[0], Range((grid.low - grid.zero_point) * grid.scale,
                                                   (grid.high - grid.zero_point) * grid.scale), grid)
        else:
            for tensor in operator.outputs:
                _measured(found, tensor, calibration)
    return found


def _measured(found: Parameters, tensor: Tensor, calibration: Calibration) -> None:
    if tensor not in calibration or tensor.element is not ElementType.FLOAT32:
        return
    statistics = calibration.statistics[tensor]
    if found.element is ElementType.INT16:  # its steps are fine enough for every value: clipping would gain nothing
        seen = exact_range(statistics)
        _set(found, tensor, Range(HEADROOM * seen.low, HEADROOM * seen.high))
    else:
        _set(found, tensor, range_of(statistics, found.method, LEVELS[found.element]))


def _set(found: Parameters, tensor: Tensor, chosen: Range, grid: Grid | None = None) -> None:
    found.ranges[tensor] = chosen
    found.grids[tensor] = grid or grid_for(chosen, found.element)


def _follow(found: Parameters, operator: Operator, source: Tensor) -> None:
    for tensor in operator.outputs:
        if tensor.element is not ElementType.FLOAT32:
            continue
        if source in found.grids:
            _set(found, tensor, found.ranges[source], found.grids[source])
        elif source in found.floats:
            found.floats[tensor] = found.floats[source]


def grid_for(chosen: Range, element: ElementType) -> Grid:
    """int8: -128..127 over the range, moved a little so that zero is exact. int16: the range mirrored at zero, since
    kernels take no other zero point than 0."""
    if element is ElementType.INT16:
        return Grid.of(element, _scale(chosen.widest / 32767))
    scale = _scale((chosen.high - chosen.low) / 255)
    return Grid.of(element, scale, int(np.clip(np.rint(-128 - chosen.low / scale), -128, 127)))


def _scale(step: float) -> float:
    """A float32 above zero: a tensor that is always zero has the step 1."""
    return float(np.float32(step)) if np.float32(step) >= np.finfo(np.float32).tiny else 1.0


def _join(found: Parameters, graph: Graph, operator: Operator, sources: list[Tensor]) -> None:
    """One grid for all operands and the result, or none where they are unlike."""
    output = operator.outputs[0]
    branches = [t for t in sources if not t.is_constant]
    if not all(t in found.ranges for t in branches):
        return
    ranges = [_constant_range(t) if t.is_constant else found.ranges[t] for t in sources]
    union = Range(min(r.low for r in ranges), max(r.high for r in ranges))
    spans = [(found.ranges[t].high - found.ranges[t].low, t) for t in branches]
    narrow = [(span, t) for span, t in spans if span > 0 and union.high - union.low > UNLIKE * span]
    if narrow and found.element is ElementType.INT8:
        span, tensor = min(narrow, key=lambda pair: pair[0])
        reason = (f"what it joins has unlike ranges: '{tensor.name}' spans {span:.4g}, all together "
                  f"{union.high - union.low:.4g}")
        if _only_leads_out(graph, output):
            found.floats[output] = reason
            return
        found.unlike.append((operator, reason))
    elif _equalizable(branches, graph):
        for tensor in branches:  # nobody else reads them: with the result's own scale, nothing has to be rescaled
            _set(found, tensor, union)
    _set(found, output, union)


def _constant_range(tensor: Tensor) -> Range:
    assert tensor.constant is not None
    values = tensor.constant.numpy()
    finite = values[np.isfinite(values)]  # a padding of -infinity never wins
    return Range(min(float(finite.min(initial=0.0)), 0.0), max(float(finite.max(initial=0.0)), 0.0))


def _equalizable(branches: list[Tensor], graph: Graph) -> bool:
    """Whether each branch is made by an operator whose grid is free, and read by this one only."""
    outputs = graph.output_set()
    for tensor in branches:
        row = None if tensor.producer is None else row_of(tensor.producer.op)
        if row is None or row.kind not in (Kind.RESCALES, Kind.WEIGHTED) or len(tensor.users) != 1 or tensor in outputs:
            return False
    return True


def _only_leads_out(graph: Graph, tensor: Tensor) -> bool:
    """Whether operators behind `tensor` only move its values, to the graph's outputs."""
    ahead, outputs = [tensor], graph.output_set()
    while ahead:
        one = ahead.pop()
        if not one.users and one not in outputs:
            return False
        for user in one.users:
            if not moves(user):
                return False
            ahead.extend(user.outputs)
    return True
