"""ONNX Runtime's own attention: Attention, MultiHeadAttention, GroupQueryAttention, in float32.

Sources: ONNX Runtime, ContribOperators.md, and its CPU kernels (`attention_helper.h`, `gqa_attention_base.h`) for what
masks do: a masked element's score gets `mask_filter_value` added, one that a causal mask hides gets the lowest number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.contrib_activation import DOMAIN
from fidelite.lower.contrib_rotary import rotated
from fidelite.lower.filling import counting
from fidelite.lower.functions import times
from fidelite.lower.matmul import matrices, multiplied
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_LOWEST = float(np.finfo(np.float32).min)
_F32, _I32 = ElementType.FLOAT32, ElementType.INT32


@dataclass(frozen=True, slots=True)
class Scores:
    """What is done to the products of queries and keys [N, heads, queries, keys] before the softmax."""

    scale: float
    added: Sequence[Tensor] = ()
    visible: Tensor | None = None
    """bool, stretched: what a causal mask leaves."""
    soft_cap: float = 0.0


def attend(b: Builder, q: Tensor, k: Tensor, v: Tensor, rules: Scores) -> tuple[Tensor, Tensor]:
    """softmax(q k' scale + ...) v of [N, heads, length, size], as [N, length, heads * size]; and the softmax."""
    scores = matrices(b, times(b, q, rules.scale), k, adj_y=True)
    if rules.soft_cap:
        scores = times(b, b.unary("TANH", times(b, scores, 1.0 / rules.soft_cap)), rules.soft_cap)
    for term in rules.added:
        scores = b.add(scores, term)
    if rules.visible is not None:
        scores = b.select(rules.visible, scores, b.scalar(_LOWEST, scores))
    share = b.softmax(scores)
    found = b.transpose(multiplied(b, share, v), (0, 2, 1, 3))
    n, length, heads, size = found.shape
    return b.reshape(found, (n, length, heads * size)), share


def _heads(b: Builder, x: Tensor, count: int) -> Tensor:
    """[N, length, count * size] as [N, count, length, size]."""
    width = b.static_dim(x.shape[2], "the width of an attention's operand")
    return b.transpose(b.reshape(x, (*x.shape[:2], count, width // count)), (0, 2, 1, 3))


def _causal(b: Builder, queries: Dim, keys: Dim, window: int = -1) -> Tensor:
    """bool [queries, keys]: the last query sees the last key, and of those before at most `window` keys."""
    if isinstance(queries, int) and isinstance(keys, int):
        distance = b.constant(np.subtract.outer(np.arange(queries) + keys - queries, np.arange(keys)).astype(np.int32))
    else:
        first = b.reshape(b.shape_operand([keys - queries]), ())
        rows = b.reshape(b.add(counting(queries, b), first), (queries, 1))
        distance = b.sub(rows, counting(keys, b))
    visible = b.compare("GREATER_EQUAL", distance, b.scalar(0, _I32))
    if window < 0:
        return visible
    return b.logical("LOGICAL_AND", visible, b.compare("LESS", distance, b.scalar(window, _I32)))


def _mask(b: Builder, mask: Tensor, keys: Dim, filter_value: float) -> Tensor:
    """What a mask adds, to be stretched to [N, heads, queries, keys]: of ones and zeros [N, keys] or
    [N, queries, keys], or the lengths [N], or ends and starts [2 N]."""
    if mask.rank in (2, 3):
        kept = b.compare("NOT_EQUAL", mask, b.scalar(0, mask))
        kept = b.unsqueeze(kept, [1, 2] if mask.rank == 2 else [1])
    else:
        places = counting(keys, b)
        kept = b.compare("LESS", places, b.reshape(b.cast(mask, _I32), (mask.shape[0], 1, 1, 1)))
    return b.select(kept, b.scalar(0.0, _F32), b.scalar(filter_value, _F32))


def _refuse(what: str, remedy: str) -> UnsupportedAttribute:
    return UnsupportedAttribute(what, remedy=remedy)


# -- Attention


@lowers("Attention", domain=DOMAIN, partial="do_rotary; past and present in one buffer; a mask of starts and ends, or "
                                            "of 4 dimensions")
def attention(node: Node, b: Builder) -> Sequence[Tensor | None]:
    """Queries, keys and values are one product of the input; `past` and `present` hold keys and values one behind the
    other, [2, N, heads, length, size]."""
    if node.int_("do_rotary", 0) or node.int_("past_present_share_buffer", 0):
        raise _refuse("it has do_rotary or past_present_share_buffer set",
                      "export with a separate RotaryEmbedding, and with past and present of their own")
    x, heads = node.input(0), node.int_("num_heads")
    projected = multiplied(b, b.float32(x), b.float32(node.input(1)))
    if (bias := node.optional(2)) is not None:
        projected = b.add(projected, b.float32(bias))
    width = b.static_dim(projected.shape[2], "the width of Attention's weights")
    sizes = list(node.ints("qkv_hidden_sizes", None) or [width // 3] * 3)
    q, k, v = (_heads(b, part, heads) for part in b.split(projected, sizes, 2))
    past = node.optional(4)
    if past is not None:
        before = [b.squeeze(part, [0]) for part in b.split(b.float32(past), [1, 1], 0)]
        k, v = b.concat([before[0], k], 2), b.concat([before[1], v], 2)
    result, _ = attend(b, q, k, v, _plain_rules(node, b, q, k, node.optional(3), node.optional(5)))
    if not node.wants(1):
        return b.cast(result, x.element), None
    return b.cast(result, x.element), b.cast(b.concat([b.unsqueeze(k, [0]), b.unsqueeze(v, [0])], 0), x.element)


def _plain_rules(node: Node, b: Builder, q: Tensor, k: Tensor, mask: Tensor | None, bias: Tensor | None) -> Scores:
    """Scale, masks and bias of Attention and MultiHeadAttention."""
    size = b.static_dim(q.shape[3], "the size of a head")
    added: list[Tensor] = []
    if mask is not None:
        if mask.rank not in (1, 2, 3) or (mask.rank == 1 and mask.shape[0] != q.shape[0]):
            raise _refuse("its mask is neither of ones and zeros nor of lengths",
                          "give a mask [batch, keys] of ones and zeros")
        added.append(_mask(b, mask, k.shape[2], node.float_("mask_filter_value", -10000.0)))
    if bias is not None:
        added.append(b.float32(bias))
    visible = _causal(b, q.shape[2], k.shape[2]) if node.int_("unidirectional", 0) else None
    return Scores(node.float_("scale", 0.0) or 1.0 / sqrt(size), added, visible)


# -- MultiHeadAttention


@lowers("MultiHeadAttention", domain=DOMAIN, partial="packed keys and values; past and present in one buffer; beams")
def multi_head_attention(node: Node, b: Builder) -> Sequence[Tensor | None]:
    """query [N, queries, width]; key and value of that form, or [N, heads, keys, size] as they were kept."""
    query, key, value = node.input(0), node.optional(1), node.optional(2)
    if query.rank != 3 or key is None or value is None or key.rank == 5:
        raise _refuse("its keys and values are packed", "give query, key and value as operands of their own")
    if any(node.optional(i) is not None for i in (8, 9)):
        raise _refuse("its past and present share a buffer", "export with past and present of their own")
    heads = node.int_("num_heads")
    parts = [b.float32(t) for t in (query, key, value)]
    if (bias := node.optional(3)) is not None:
        widths = [b.static_dim(query.shape[2], "the width of a query")] * 2
        widths.append(b.static_dim(bias.shape[0], "the length of a bias") - 2 * widths[0])
        biases = b.split(b.float32(bias), widths, 0)
        parts = [b.add(part, own) if part.rank == 3 else part for part, own in zip(parts, biases, strict=True)]
    q, k, v = (_heads(b, part, heads) if part.rank == 3 else part for part in parts)
    if (past := node.optional(6)) is not None:
        k, v = b.concat([b.float32(past), k], 2), b.concat([b.float32(node.input(7)), v], 2)
    result, share = attend(b, q, k, v, _plain_rules(node, b, q, k, node.optional(4), node.optional(5)))
    return [b.cast(t, query.element) for t in (result, k, v, share)][:node.output_count]


# -- GroupQueryAttention


_GROUP_PARTIAL = ("batches of more than 1; a total_sequence_length that is not past and new; quantized caches; "
                  "head_sink, smooth_softmax, norms of queries and keys")


@lowers("GroupQueryAttention", domain=DOMAIN, partial=_GROUP_PARTIAL)
def group_query_attention(node: Node, b: Builder) -> Sequence[Tensor | None]:
    """Several heads of queries share one of keys and values; new keys follow those of the past.

    With a batch of 1, `seqlens_k` is total_sequence_length - 1, so nothing is left to the run time.
    """
    _refuse_group(node, b)
    query, heads, shared = node.input(0), node.int_("num_heads"), node.int_("kv_num_heads")
    if node.optional(1) is None:
        width = b.static_dim(query.shape[2], "the width of a packed query")
        size = width // (heads + 2 * shared)
        parts = list(b.split(b.float32(query), [heads * size, shared * size, shared * size], 2))
    else:
        parts = [b.float32(node.input(i)) for i in range(3)]
    q, k, v = (_heads(b, part, count) for part, count in zip(parts, (heads, shared, shared), strict=True))
    past = node.optional(3)
    before: Dim = 0 if past is None else past.shape[2]
    if node.int_("do_rotary", 0):
        q, k = (_turned(node, b, t, before) for t in (q, k))
    if past is not None:
        k, v = b.concat([b.float32(past), k], 2), b.concat([b.float32(node.input(4)), v], 2)
    size = b.static_dim(q.shape[3], "the size of a head")
    bias = node.optional(10)
    visible = _causal(b, q.shape[2], k.shape[2], node.int_("local_window_size", -1))
    rules = Scores(node.float_("scale", 0.0) or 1.0 / sqrt(size), () if bias is None else (b.float32(bias),), visible,
                   node.float_("softcap", 0.0))
    result, _ = attend(b, q, _repeated(b, k, heads // shared), _repeated(b, v, heads // shared), rules)
    return [b.cast(t, query.element) for t in (result, k, v)][:node.output_count]


def _refuse_group(node: Node, b: Builder) -> None:
    query, past = node.input(0), node.optional(3)
    known = node.known_dims(6)
    total = query.shape[1] + (0 if past is None else past.shape[2])
    if b.static_dim(query.shape[0], "the batch of GroupQueryAttention") != 1 or known is None or known[0] != total:
        raise _refuse("its sequences end at different places, or past and present may share a buffer",
                      "convert with a batch of 1 and fixed lengths: --shape NAME=1,...")
    extra = [i for i in range(11, 17) if node.optional(i) is not None]
    for name in ("smooth_softmax", "qk_output", "sliding_window_cache", "kv_cache_bit_width"):
        if node.int_(name, 0) > 0:
            extra.append(11)
    if extra or not node.int_("causal", 1):
        raise _refuse("it has operands or attributes beyond the past, the rotary embedding and the bias",
                      "export without head_sink, smooth_softmax, norms and quantized caches")


def _turned(node: Node, b: Builder, x: Tensor, before: Dim) -> Tensor:
    """Rotary embedding from the position `before` on, or at the positions given."""
    cosine, sine, ids = b.float32(node.input(7)), b.float32(node.input(8)), node.optional(9)
    if ids is None:
        ids = b.add(counting(x.shape[2], b), b.reshape(b.shape_operand([before]), ()))
        ids = b.reshape(ids, (1, x.shape[2]))
    angles = [b.unsqueeze(b.gather(table, ids, 0), [1]) for table in (cosine, sine)]
    return rotated(b, x, angles[0], angles[1], interleaved=bool(node.int_("rotary_interleaved", 0)))


def _repeated(b: Builder, x: Tensor, times_: int) -> Tensor:
    """Each head of [N, heads, length, size] `times_` times in a row."""
    if times_ == 1:
        return x
    n, heads, length, size = x.shape
    wide = b.broadcast_to(b.unsqueeze(x, [2]), (n, heads, times_, length, size))
    return b.reshape(wide, (n, heads * times_, length, size))
