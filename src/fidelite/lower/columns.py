"""Col2Im: the sum of patches put back where they came from."""

from __future__ import annotations

from math import prod

import numpy as np

from fidelite.errors import ContradictoryModel
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor


@lowers("Col2Im", partial="shapes of image and block that are not constant")
def col2im(node: Node, b: Builder) -> Tensor:
    """x [N, C * block, places] -> [N, C, image]. Rows of N * C elements are added at places known when converting;
    what lies in the padding goes to one more row, which is cut off."""
    x, image, block = node.input(0), node.ints_at(1, "image_shape"), node.ints_at(2, "block_shape")
    axes = len(image)
    where = _places(image, block, node.ints("strides", [1] * axes), node.ints("dilations", [1] * axes),
                    node.ints("pads", [0] * 2 * axes))
    columns, size = where.shape[0], prod(image)
    if b.static_dim(x.shape[2], "the places of Col2Im") * prod(block) != columns:
        raise ContradictoryModel(f"its operand has {x.shape[2]} places, and {columns // max(prod(block), 1)} fit into "
                                 f"the image {image}", remedy="export the model again")
    n, channels = x.shape[0], x.shape[1] // prod(block)
    x = b.transpose(b.reshape(x, (n, channels, prod(block), x.shape[2])), (2, 3, 0, 1))
    rows = b.reshape(x, (columns, n * channels))
    total = b.scatter_nd(b.constant(where[:, None]), rows, (size + 1, n * channels))
    result = b.reshape(b.slice(total, [0, 0], [size, n * channels]), (size, n, channels))
    return b.reshape(b.transpose(result, (1, 2, 0)), (n, channels, *image))


def _places(image: list[int], block: list[int], strides: tuple[int, ...], dilations: tuple[int, ...],
            pads: tuple[int, ...]) -> np.ndarray:
    """For each element of a block and each place of the block, the element of the flat image, or its size for none."""
    axes = len(image)
    flat: np.ndarray = np.zeros((1,) * 2 * axes, np.int64)
    valid: np.ndarray = np.ones((1,) * 2 * axes, bool)
    for a in range(axes):
        reach = dilations[a] * (block[a] - 1) + 1
        count = (image[a] + pads[a] + pads[a + axes] - reach) // strides[a] + 1
        at = np.arange(block[a])[:, None] * dilations[a] + np.arange(max(count, 0))[None] * strides[a] - pads[a]
        at = at.reshape([block[a] if i == a else max(count, 0) if i == a + axes else 1 for i in range(2 * axes)])
        flat = flat + at * prod(image[a + 1:])
        valid = valid & (at >= 0) & (at < image[a])
    return np.where(valid, flat, prod(image)).astype(np.int32).reshape(-1)
