"""ONNX Runtime's own RotaryEmbedding: pairs of elements turned by an angle that depends on their position."""

from __future__ import annotations

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.contrib_activation import DOMAIN
from fidelite.lower.filling import counting
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType


@lowers("RotaryEmbedding", domain=DOMAIN, partial="packed batches")
def rotary_embedding(node: Node, b: Builder) -> Tensor:
    """[N, length, heads * size] or [N, heads, length, size], with cosines and sines by position."""
    if node.int_("is_packed_batching", 0):
        raise UnsupportedAttribute("batches are packed (is_packed_batching)", remedy="export with padded batches")
    x, ids, cosine, sine = (node.input(i) for i in range(4))
    length = x.shape[-2]
    wide = b.float32(x)
    if x.rank == 3:
        width = b.static_dim(x.shape[2], "the width of a rotary embedding")
        size = width // node.int_("num_heads", 0) if node.int_("rotary_embedding_dim", 0) else \
            2 * b.static_dim(cosine.shape[1], "the width of a table of cosines")
        wide = b.transpose(b.reshape(wide, (*x.shape[:2], width // size, size)), (0, 2, 1, 3))
    angles: list[Tensor] = []
    for table in (cosine, sine):
        if ids.rank == 1:  # the first position
            found = b.gather(b.float32(table), b.add(b.cast(ids, ElementType.INT32), counting(length, b)), 0)
            angles.append(b.reshape(found, (1, 1, length, table.shape[1])))
        else:
            angles.append(b.unsqueeze(b.gather(b.float32(table), ids, 0), [1]))
    result = rotated(b, wide, angles[0], angles[1], interleaved=bool(node.int_("interleaved", 0)))
    if x.rank == 3:
        result = b.reshape(b.transpose(result, (0, 2, 1, 3)), x.shape)
    return b.cast(result, x.element)


def rotated(b: Builder, x: Tensor, cosine: Tensor, sine: Tensor, *, interleaved: bool) -> Tensor:
    """x [N, heads, length, size] whose first elements, twice as many as there are angles [N or 1, 1, length, angles],
    are turned: pairs are neighbours (interleaved), or lie half of them apart."""
    size = b.static_dim(x.shape[3], "the size of a head")
    half = b.static_dim(cosine.shape[3], "the width of a table of cosines")
    turned, rest = b.split(x, [2 * half, size - 2 * half], 3) if 2 * half < size else (x, None)
    if interleaved:
        pairs = b.reshape(turned, (*x.shape[:3], half, 2))
        first, second = (b.squeeze(part, [4]) for part in b.split(pairs, [1, 1], 4))
    else:
        first, second = b.split(turned, [half, half], 3)
    real = b.sub(b.mul(first, cosine), b.mul(second, sine))
    imaginary = b.add(b.mul(first, sine), b.mul(second, cosine))
    if interleaved:
        joined = b.concat([b.unsqueeze(real, [4]), b.unsqueeze(imaginary, [4])], 4)
        result = b.reshape(joined, turned.shape)
    else:
        result = b.concat([real, imaginary], 3)
    return result if rest is None else b.concat([result, rest], 3)
