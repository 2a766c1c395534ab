"""ONNX Runtime's own attention against ONNX Runtime: masks, past, groups of heads, rotary embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import UnsupportedAttribute
from tests.lower.elements import SEEDS
from tests.lower.support import Array, lowered, one_node
from tests.lower.test_contrib import DOMAIN, agrees, floats

BATCHES, LENGTHS, HEADS = st.integers(1, 2), st.integers(1, 4), st.integers(1, 3)


def mask_of(kind: str, seed: int, batch: int, queries: int, keys: int) -> Array:
    """Ones and zeros of 2 or 3 dimensions, or lengths; each query sees something."""
    rng = np.random.default_rng(seed)
    if kind == "lengths":
        return rng.integers(1, keys + 1, batch).astype(np.int32)
    mask = rng.integers(0, 2, (batch, keys) if kind == "keys" else (batch, queries, keys)).astype(np.int32)
    mask[..., 0] = 1
    return mask


@given(BATCHES, LENGTHS, HEADS, st.integers(0, 3), st.sampled_from(["", "keys", "pairs", "lengths"]), st.integers(0, 1),
       st.booleans(), SEEDS)
def test_attention(batch: int, length: int, heads: int, past: int, mask: str, causal: int, bias: bool,
                   seed: int) -> None:
    size, keys = 4, length + past
    width = heads * size
    feeds = {"x": floats(seed, batch, length, 5)}
    constants = {"w": floats(seed + 1, 5, 3 * width), "b": floats(seed + 2, 3 * width)}
    if mask:
        feeds["m"] = mask_of(mask, seed, batch, length, keys)
    if past:
        feeds["past"] = floats(seed + 3, 2, batch, heads, past, size)
    elif bias:
        feeds["a"] = floats(seed + 4, 1, heads, length, keys)
    names = ["x", "w", "b", "m" if mask else "", "past" if past else "", "a" if bias and not past else ""]
    while not names[-1]:
        names.pop()
    attributes: dict[str, Any] = {"scale": 0.7} if seed % 3 == 0 else {}
    agrees("Attention", feeds, constants=constants, operands=names, outputs=2 if past else 1, num_heads=heads,
           unidirectional=causal, **attributes)


@given(BATCHES, LENGTHS, LENGTHS, HEADS, st.sampled_from(["", "keys", "pairs", "lengths"]), st.booleans(),
       st.booleans(), st.booleans(), SEEDS)
def test_multi_head_attention(batch: int, queries: int, keys: int, heads: int, mask: str, bias: bool, scores: bool,
                              kept: bool, seed: int) -> None:
    """Values may have another width than keys; keys and values may come as they were kept."""
    size, wide = 4, 4 if kept else 6
    feeds = {"q": floats(seed, batch, queries, heads * size)}
    for name, width in (("k", size), ("v", wide)):
        shape = (batch, heads, keys, width) if kept else (batch, keys, heads * width)
        feeds[name] = floats(seed + len(feeds), *shape)
    constants = {"b": floats(seed + 5, heads * (2 * size + wide))} if bias else {}
    if mask:
        feeds["m"] = mask_of(mask, seed, batch, queries, keys)
    if scores:
        feeds["a"] = floats(seed + 4, 1, heads, queries, keys)
    names = ["q", "k", "v", "b" if bias else "", "m" if mask else "", "a" if scores else ""]
    while not names[-1]:
        names.pop()
    agrees("MultiHeadAttention", feeds, constants=constants, operands=names, num_heads=heads)


@given(BATCHES, LENGTHS, HEADS, st.integers(1, 3), st.integers(0, 1), SEEDS)
def test_multi_head_attention_with_past(batch: int, length: int, heads: int, past: int, causal: int, seed: int) -> None:
    names = ["q", "k", "v", "", "", "", "pk", "pv"]
    feeds = {n: floats(seed + i, batch, length, heads * 4) for i, n in enumerate("qkv")}
    feeds |= {n: floats(seed + 9, batch, heads, past, 4) for n in ("pk", "pv")}
    agrees("MultiHeadAttention", feeds, operands=names, num_heads=heads, outputs=3, unidirectional=causal)


def _group(seed: int, length: int, past: int, shared: int, times: int, **attributes: Any) -> tuple[Any, ...]:
    size = 16
    feeds = {"q": floats(seed, 1, length, shared * times * size), "k": floats(seed + 1, 1, length, shared * size),
             "v": floats(seed + 2, 1, length, shared * size)}
    names = ["q", "k", "v", "pk" if past else "", "pv" if past else "", "ends", "total"]
    if past:
        feeds |= {n: floats(seed + i, 1, shared, past, size) for i, n in enumerate(("pk", "pv"))}
    feeds["ends"] = np.array([past + length - 1], np.int32)
    constants = {"total": np.array(past + length, np.int32)}
    if attributes.get("do_rotary"):
        angles = floats(seed, 9, size // 2)
        constants |= {"cos": np.cos(angles), "sin": np.sin(angles)}
        names += ["cos", "sin"]
    attributes |= {"num_heads": shared * times, "kv_num_heads": shared}
    return feeds, constants, names, attributes


@given(LENGTHS, st.integers(0, 4), st.integers(1, 2), st.integers(1, 3), SEEDS, st.sampled_from([
    {}, {"do_rotary": 1}, {"do_rotary": 1, "rotary_interleaved": 1}, {"local_window_size": 2},
    {"softcap": 2.0, "scale": 0.7}]))
def test_group_query_attention(length: int, past: int, shared: int, times: int, seed: int,
                               attributes: dict[str, Any]) -> None:
    """A prompt, or tokens after a past, one by one or several."""
    if past and length > 1 and "do_rotary" in attributes:
        length = 1
    feeds, constants, names, all_attributes = _group(seed, length, past, shared, times, **attributes)
    agrees("GroupQueryAttention", feeds, constants=constants, operands=names, outputs=3, **all_attributes)


@given(BATCHES, LENGTHS, HEADS, SEEDS, st.integers(0, 1), st.sampled_from(["3", "4", "partial"]), st.booleans())
def test_rotary_embedding(batch: int, length: int, heads: int, seed: int, interleaved: int, form: str,
                          start: bool) -> None:
    size, turned = 8, 4 if form == "partial" else 8
    x = floats(seed, *((batch, heads, length, size) if form == "4" else (batch, length, heads * size)))
    rng = np.random.default_rng(seed)
    ids = np.array([seed % 3]) if start else rng.integers(0, 9, (batch, length))
    angles = floats(seed, 9, turned // 2)
    attributes: dict[str, Any] = {"num_heads": heads, "rotary_embedding_dim": turned} if form == "partial" else {}
    agrees("RotaryEmbedding", {"x": x, "ids": ids}, constants={"cos": np.cos(angles), "sin": np.sin(angles)},
           interleaved=interleaved, **attributes)


def test_refusals() -> None:
    """Forms whose meaning hangs on buffers, or that ONNX Runtime's CPU kernels do not take."""
    packed = one_node("MultiHeadAttention", {"q": floats(0, 1, 3, 2, 3, 4)}, opset=17, domain=DOMAIN, num_heads=2)
    feeds, constants, names, attributes = _group(0, 2, 3, 1, 2)
    shared = one_node("GroupQueryAttention", feeds, opset=17, domain=DOMAIN, operands=names, outputs=3,
                      constants=constants | {"total": np.array(4, np.int32)}, **attributes)
    turned = one_node("Attention", {"x": floats(0, 1, 3, 8)}, opset=17, domain=DOMAIN, num_heads=2, do_rotary=1,
                      constants={"w": floats(0, 8, 24), "b": floats(0, 24)})
    for model, told in ((packed, "packed"), (shared, "buffer"), (turned, "do_rotary")):
        with pytest.raises(UnsupportedAttribute, match=told):
            lowered(model)
