"""DeformConv against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.lower.drawing import Array
from tests.lower.support import check, one_node

_OPERANDS = ["x", "w", "o", "b", "m"]


@given(st.data(), st.sampled_from([19, 22]), st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)]), st.booleans(),
       st.booleans(), st.sampled_from(["", "wb"]), st.integers(0, 99))
def test_deform_conv(data: Any, opset: int, groups: tuple[int, int], masked: bool, biased: bool, constant: str,
                     seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel, strides, dilations = (data.draw(st.lists(st.integers(1, most), min_size=2, max_size=2))
                                  for most in (3, 2, 2))
    pads = data.draw(st.lists(st.integers(0, 1), min_size=2, max_size=2)) * 2
    out = [(size + 2 * pads[a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a, size in enumerate((6, 7))]
    group, sets = groups
    taps = kernel[0] * kernel[1]
    arrays: dict[str, Array] = {
        "x": rng.standard_normal((2, 4, 6, 7)), "w": rng.standard_normal((4, 4 // group, *kernel)),
        "o": rng.standard_normal((2, sets * taps * 2, *out)) * 2, "b": rng.standard_normal(4),
        "m": rng.random((2, sets * taps, *out))}
    used = [n if (n != "b" or biased) and (n != "m" or masked) else "" for n in _OPERANDS]
    typed = {n: arrays[n].astype(np.float32) for n in used if n}
    feeds = {n: a for n, a in typed.items() if n not in constant}
    model = one_node("DeformConv", feeds, constants={n: a for n, a in typed.items() if n in constant}, operands=used,
                     opset=opset, strides=strides, dilations=dilations, pads=pads, group=group, offset_group=sets,
                     kernel_shape=kernel)
    check(model, feeds, atol=1e-5)
