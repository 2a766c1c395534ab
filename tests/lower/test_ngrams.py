"""TfIdfVectorizer against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import UnsupportedType
from tests.lower.drawing import refuses
from tests.lower.support import check, one_node


@given(st.data(), st.integers(0, 999), st.sampled_from(["TF", "IDF", "TFIDF"]), st.sampled_from([np.int32, np.int64]),
       st.integers(0, 3), st.integers(1, 12), st.sampled_from([None, 1, 3]))
def test_against_onnx_runtime(data: Any, seed: int, mode: str, dtype: Any, skip: int, length: int,
                              rows: int | None) -> None:
    """n-grams of 1 to 3 elements, more of them than the sequences hold; some columns belong to none."""
    rng = np.random.default_rng(seed)
    pool: list[int] = []
    starts: list[int] = []
    count = 0
    for size in (1, 2, 3):
        starts.append(len(pool))
        found = {tuple(int(v) for v in rng.integers(0, 4, size)) for _ in range(data.draw(st.integers(0, 4)))}
        pool += [v for gram in sorted(found) for v in gram]
        count += len(found)
    if not count:
        pool, starts, count = [1], [0, 1, 1], 1
    least = data.draw(st.integers(1, 3))
    places = [int(v) for v in rng.permutation(count + 2)[:count]]
    x = rng.integers(0, 4, length if rows is None else (rows, length)).astype(dtype)
    weights: dict[str, Any] = {} if seed % 3 == 0 else {"weights": [float(v) for v in rng.uniform(0.5, 2, count)]}
    model = one_node("TfIdfVectorizer", {"x": x}, opset=18, mode=mode, min_gram_length=least,
                     max_gram_length=data.draw(st.integers(least, 3)), max_skip_count=skip, ngram_counts=starts,
                     ngram_indexes=places, pool_int64s=pool, **weights)
    check(model, {"x": x}, rtol=1e-6)


def test_strings_are_refused() -> None:
    refuses(UnsupportedType, "strings", "TfIdfVectorizer", {"x": np.ones(3, np.int32)}, mode="TF", min_gram_length=1,
            max_gram_length=1, max_skip_count=0, ngram_counts=[0], ngram_indexes=[0], pool_strings=["a"])
