"""Find DEPTH_TO_SPACE in views that move blocks of channels into the picture (a pixel shuffle).

    (n, h, w, r, r, c) -> (n, h, r, w, r, c)      depth in blocks first (ONNX's DCR): DEPTH_TO_SPACE itself
    (n, h, w, c, r, r) -> (n, h, r, w, r, c)      channels first (ONNX's CRD, torch's pixel_shuffle): the convolution
                                                  before it puts its output channels in the other order, at no cost
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fidelite.optimize.passes import Log
from fidelite.optimize.views import Shape, Step, chain_to, effect_of, private_part, step_of
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Graph, Model, Operator, Tensor
from fidelite.tflite.kernels import kernel_types

_FIRST = (0, 3, 1, 2)
"""From channels last to channels first."""


@dataclass(frozen=True)
class FindDepthToSpace:
    """Rewrite the views between a channels-last tensor and the larger picture that is made of it."""

    name: ClassVar[str] = "find depth to space"

    def run(self, model: Model, log: Log) -> int:
        count = 0
        for graph in model.graphs:
            outputs = graph.output_set()
            b = Builder(graph)
            b.made_by = self.name
            for operator in graph.operators:
                if operator in graph and operator.op in ("RESHAPE", "TRANSPOSE"):
                    count += _find(graph, b, operator, outputs, log)
        return count


def _find(graph: Graph, b: Builder, last: Operator, outputs: set[Tensor], log: Log) -> int:
    result = last.outputs[0]
    if result.rank != 4 or not result.is_static or result.element not in (kernel_types("DEPTH_TO_SPACE") or ()):
        return 0
    chain = private_part(chain_to(last), outputs)
    for start in range(len(chain) - 2):
        source = chain[start].inputs[0]
        if source is None or source.rank != 4 or not source.is_static:
            continue
        block = _block(source.static_shape, result.static_shape)
        if block is None:
            continue
        effect = effect_of(source.static_shape, [step_of(o) for o in chain[start:]])
        for channels_first in (False, True):
            tail: list[Step] = [("TRANSPOSE", _FIRST)] if channels_first else []
            if effect == effect_of(source.static_shape, [*_steps(source.static_shape, block, by_channel=False), *tail]):
                _write(graph, b, source, block, channels_first, last)
                return 1
            if effect == effect_of(source.static_shape, [*_steps(source.static_shape, block, by_channel=True), *tail]):
                if not _reorder_channels(graph, source, block * block, outputs):
                    log.refuse(FindDepthToSpace.name, f"nothing before '{result.name}' can reorder its channels")
                    return 0
                _write(graph, b, source, block, channels_first, last)
                return 1
    return 0


def _block(source: Shape, result: Shape) -> int | None:
    """By how much the picture grows, where `result` may be made of `source`, channels last or first."""
    n, h, w, depth = source
    for height, width, channels in (result[1:], (*result[2:], result[1])):
        block = height // h if h else 0
        if block > 1 and (height, width, channels * block * block) == (h * block, w * block, depth) and n == result[0]:
            return block
    return None


def _steps(source: Shape, block: int, *, by_channel: bool) -> Sequence[Step]:
    """What DEPTH_TO_SPACE does, as views; `by_channel`: of a depth in which the block is innermost."""
    n, h, w, depth = source
    channels = depth // (block * block)
    split = (n, h, w, channels, block, block) if by_channel else (n, h, w, block, block, channels)
    order = (0, 1, 4, 2, 5, 3) if by_channel else (0, 1, 3, 2, 4, 5)
    return (("RESHAPE", split), ("TRANSPOSE", order), ("RESHAPE", (n, h * block, w * block, channels)))


def _reorder_channels(graph: Graph, source: Tensor, per_channel: int, outputs: set[Tensor]) -> bool:
    """Let the convolution that makes `source` put out (block, channel) instead of (channel, block)."""
    maker = source.producer
    if maker is None or maker.op not in ("CONV_2D", "FULLY_CONNECTED") or source in outputs or len(source.users) != 1:
        return False
    data, weights = maker.inputs[0], maker.inputs[1]
    bias = maker.inputs[2] if len(maker.inputs) > 2 else None
    if data is None or weights is None or weights.constant is None or (bias is not None and bias.constant is None):
        return False
    if data.shape[-1] != weights.shape[-1] or any(t is not None and t.quantization for t in (weights, bias)):
        return False  # in groups, channels may not leave theirs
    moved = [_reordered(t, per_channel) if t is not None and i else t for i, t in enumerate(maker.inputs)]
    graph.set_inputs(maker, moved)
    source.origin = None
    return True


def _reordered(tensor: Tensor, per_channel: int) -> Tensor:
    constant = tensor.constant
    assert constant is not None
    first, *rest = constant.shape
    split = constant.reshape((first // per_channel, per_channel, *rest))
    moved = split.permute((1, 0, *range(2, 2 + len(rest)))).reshape(constant.shape)
    return Tensor(tensor.name, tensor.element, moved.shape, constant=moved)


def _write(graph: Graph, b: Builder, source: Tensor, block: int, channels_first: bool, last: Operator) -> None:
    result = last.outputs[0]
    b.nodes = last.nodes
    graph.remove(last)
    made = b.depth_to_space(source, block)
    if channels_first:
        made = b.transpose(made, _FIRST)
    maker = made.producer
    assert maker is not None
    graph.set_outputs(maker, [result])
