"""DepthToSpace and SpaceToDepth: blocks of pixels to and from channels.

LiteRT's kernels are block-major: depth = (row in block, column in block, channel), which is ONNX's DCR.
"""

from __future__ import annotations

from fidelite.errors import InvalidModel, UnsupportedAttribute
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.kernels import kernel_types


def _read(node: Node, b: Builder) -> tuple[Tensor, int, str]:
    x, block, mode = node.input(0), node.int_("blocksize"), node.str_("mode", "DCR")
    if x.rank != 4 or block < 1:
        raise InvalidModel(f"{node.op} of {x.rank} dimensions by blocks of {block}", remedy="export the model again")
    if mode not in ("DCR", "CRD"):
        raise UnsupportedAttribute(f"the mode {mode} of {node.op} is not known", remedy="use DCR or CRD")
    return x, block, mode


@lowers("DepthToSpace")
def depth_to_space(node: Node, b: Builder) -> Tensor:
    x, block, mode = _read(node, b)
    n, c, h, w = x.shape
    channels = b.static_dim(c, "the channels of DepthToSpace")
    if channels % (block * block):
        raise InvalidModel(f"{channels} channels are no blocks of {block} x {block}", remedy="export the model again")
    depth = channels // (block * block)
    shape = (n, depth, h * block, w * block)
    if mode == "DCR" and _has_kernel("DEPTH_TO_SPACE", x):
        return b.channels_first(b.depth_to_space(b.channels_last(x), block))
    if mode == "DCR":
        return b.reshape(b.transpose(b.reshape(x, (n, block, block, depth, h, w)), (0, 3, 4, 1, 5, 2)), shape)
    return b.reshape(b.transpose(b.reshape(x, (n, depth, block, block, h, w)), (0, 1, 4, 2, 5, 3)), shape)


@lowers("SpaceToDepth")
def space_to_depth(node: Node, b: Builder) -> Tensor:
    x, block, mode = _read(node, b)
    n, c, h, w = x.shape
    for size in (h, w):
        if isinstance(size, int) and size % block:
            raise InvalidModel(f"an axis of {size} is no number of blocks of {block}", remedy="export the model again")
    if mode == "DCR" and _has_kernel("SPACE_TO_DEPTH", x):
        return b.channels_first(b.space_to_depth(b.channels_last(x), block))
    rows = b.reshape(x, (n, c, h // block, block, w // block, block))
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return b.reshape(b.transpose(rows, order), (n, c * (block * block), h // block, w // block))


def _has_kernel(op: str, x: Tensor) -> bool:
    return 0 not in x.shape and x.element in (kernel_types(op) or ())
