"""TfIdfVectorizer: how often a sequence of numbers holds each of some short sequences."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fidelite.errors import InvalidModel, UnsupportedType
from fidelite.lower.node import Node
from fidelite.lower.registry import lowers
from fidelite.tflite.builder import Builder
from fidelite.tflite.graph import Tensor
from fidelite.tflite.types import ElementType

_I32 = ElementType.INT32


@lowers("TfIdfVectorizer", since=9, partial="strings; sequences of a length that only the run time knows")
def tf_idf_vectorizer(node: Node, b: Builder) -> Tensor:
    """x [C] or [N, C] of integers -> [columns] or [N, columns]: counts (TF), weights of what is there (IDF), or both
    multiplied (TFIDF). An n-gram is found at a distance of 1 to max_skip_count + 1 from element to element."""
    if node.has("pool_strings"):
        raise UnsupportedType("LiteRT has no operators for strings", remedy="use numbers (pool_int64s)")
    x, places = node.input(0), node.ints("ngram_indexes")
    rows = b.reshape(x, (1, *x.shape)) if x.rank == 1 else x
    length = b.static_dim(rows.shape[1], "the length of a sequence whose n-grams are counted")
    grams = _grams(node, len(places))
    counts: list[Tensor] = []
    order: list[int] = []
    for size in range(1, len(node.ints("ngram_counts")) + 1):
        wanted = [i for i, gram in enumerate(grams) if len(gram) == size]
        if not wanted or not node.int_("min_gram_length") <= size <= node.int_("max_gram_length"):
            continue
        distances = range(1, (node.int_("max_skip_count") if size > 1 else 0) + 2)
        parts = [_found(b, rows, [grams[i] for i in wanted], distance, length) for distance in distances]
        known = [part for part in parts if part is not None]
        if known:
            counts.append(_sum(b, known))
            order += wanted
    result = _columns(node, b, rows, counts, order, list(places))
    return b.reshape(result, result.shape[1:]) if x.rank == 1 else result


def _grams(node: Node, count: int) -> list[tuple[int, ...]]:
    """The pool's n-grams: `ngram_counts` says where those of 1, 2, ... elements begin."""
    pool, begins = list(node.ints("pool_int64s")), [*node.ints("ngram_counts"), len(node.ints("pool_int64s"))]
    grams: list[tuple[int, ...]] = []
    for size, (begin, end) in enumerate(pairwise(begins), start=1):
        grams += [tuple(pool[i:i + size]) for i in range(begin, end, size)]
    if len(grams) != count or any(len(g) == 0 for g in grams):
        raise InvalidModel(f"{len(grams)} n-grams and {count} places for them", where=node.where(),
                           remedy="export the model again")
    return grams


def _found(b: Builder, rows: Tensor, grams: list[tuple[int, ...]], distance: int, length: int) -> Tensor | None:
    """How often each row holds each of the n-grams (of one size) at one distance: int32 [N, n-grams]."""
    size = len(grams[0])
    windows = length - (size - 1) * distance
    if windows < 1:
        return None
    table = np.asarray(grams, np.int64).astype(rows.element.dtype)
    match: Tensor | None = None
    for k in range(size):
        part = b.slice(rows, [0, k * distance], [rows.shape[0], windows])
        same = b.compare("EQUAL", b.unsqueeze(part, [2]), b.constant(table[None, None, :, k]))
        match = same if match is None else b.logical("LOGICAL_AND", match, same)
    assert match is not None
    return b.reduce("SUM", b.cast(match, _I32), [1], keep_dims=False)


def _sum(b: Builder, parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = b.add(total, part)
    return total


def _columns(node: Node, b: Builder, rows: Tensor, counts: list[Tensor], order: list[int], places: list[int]) -> Tensor:
    """The counts of the n-grams `order`, each put in its place, and weighed."""
    width = max(places, default=-1) + 1
    zeros = b.cast(b.mul(b.slice(b.cast(rows, _I32), [0, 0], [rows.shape[0], 1]), b.scalar(0, _I32)), _I32)
    table = b.concat([*counts, zeros], 1)
    source = np.full(width, len(order), np.int32)
    for column, gram in enumerate(order):
        source[places[gram]] = column
    found = b.cast(b.gather(table, b.constant(source), 1), ElementType.FLOAT32)
    mode = node.str_("mode")
    if mode == "TF":
        return found
    weights = np.ones(width, np.float32)
    given = node.floats("weights", None)
    for gram, weight in enumerate(given or ()):
        weights[places[gram]] = weight
    if mode == "IDF":
        found = b.minimum(b.scalar(1.0, found), found)
    elif mode != "TFIDF":
        raise InvalidModel(f"there is no mode '{mode}'", where=node.where(), remedy="use TF, IDF or TFIDF")
    return b.mul(found, b.constant(weights))
