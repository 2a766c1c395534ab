"""DFT and STFT against ONNX Runtime and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.errors import ContradictoryModel, InvalidModel, NeedsConstant, UnsupportedAttribute
from tests.lower.drawing import Array, dynamic, refuses
from tests.lower.support import check, lowered, one_node


def _signal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _want(x: Array, length: int | None, axis: int, inverse: bool, one_sided: bool) -> Array:
    """By numpy, in float64."""
    z = x[..., 0] + 1j * (x[..., 1] if x.shape[-1] == 2 else 0)
    if inverse and one_sided:
        return np.fft.irfft(z, length, axis)[..., None].astype(np.float32)
    y = (np.fft.ifft if inverse else np.fft.fft)(z, length, axis)
    if one_sided:
        y = np.take(y, range(y.shape[axis] // 2 + 1), axis)
    return np.stack([y.real, y.imag], -1).astype(np.float32)


@given(st.data(), st.sampled_from([17, 20]), st.booleans(), st.booleans(), st.booleans())
def test_dft(data: Any, opset: int, inverse: bool, one_sided: bool, is_dynamic: bool) -> None:
    shape = data.draw(st.lists(st.integers(2, 7), min_size=2, max_size=3))
    parts = 2 if inverse else 1 if one_sided else data.draw(st.integers(1, 2))
    axis = data.draw(st.integers(0 if opset == 20 else 1, len(shape) - 1))
    length = data.draw(st.sampled_from([None, 3, 6, 9]))
    x = _signal(sum(shape), *shape, parts)
    constants = {"n": np.asarray(length, np.int64)} if length else {}
    attributes: dict[str, Any] = {"inverse": int(inverse), "onesided": int(one_sided)}
    operands = ["x", "n" if length else ""]
    if opset == 20:
        constants["a"] = np.asarray(axis - len(shape) - 1 if data.draw(st.booleans()) else axis, np.int64)
        operands.append("a")
    else:
        attributes["axis"] = axis
    model = one_node("DFT", {"x": x}, constants=constants, operands=operands, opset=opset, **attributes)
    if is_dynamic:
        model = dynamic(model, ["x"])
        dims = model.graph.input[0].type.tensor_type.shape.dim
        dims[axis].dim_value, dims[-1].dim_value = shape[axis], parts
    check(model, {"x": x}, expected={"y0": _want(x, length, axis, inverse, one_sided)}, atol=1e-5)


def test_dft_by_onnx_runtime() -> None:
    for opset in (17, 20):
        x = _signal(1, 2, 16, 1)
        check(one_node("DFT", {"x": x}, opset=opset, onesided=1), {"x": x}, atol=1e-5)


@given(st.integers(1, 3), st.integers(1, 5), st.sampled_from([8, 7]), st.booleans(), st.booleans(), st.booleans())
def test_stft(batch: int, step: int, length: int, windowed: bool, one_sided: bool, is_dynamic: bool) -> None:
    x = _signal(step, batch, 24, 1)
    constants: dict[str, Array] = {"s": np.asarray(step, np.int64)}
    constants["w" if windowed else "l"] = np.hanning(length).astype(np.float32) if windowed else \
        np.asarray(length, np.int64)
    operands = ["x", "s", "w"] if windowed else ["x", "s", "", "l"]
    model = one_node("STFT", {"x": x}, constants=constants, operands=operands, opset=17, onesided=int(one_sided))
    if is_dynamic:
        model = dynamic(model, ["x"])
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 1
    check(model, {"x": x}, atol=1e-5)


def test_a_complex_signal_in_frames() -> None:
    x = _signal(3, 1, 20, 2)
    frames = np.stack([x[:, i:i + 8] for i in range(0, 13, 4)], 1)
    constants = {"s": np.asarray(4, np.int64), "l": np.asarray(8, np.int64)}
    model = one_node("STFT", {"x": x}, constants=constants, operands=["x", "s", "", "l"], opset=17, onesided=0)
    check(model, {"x": x}, expected={"y0": _want(frames, None, 2, False, False)}, atol=1e-5)


def test_refused() -> None:
    x = _signal(0, 1, 8, 1)
    scalar = np.asarray
    refuses(InvalidModel, "real and imaginary", "DFT", {"x": x}, opset=17, axis=2)
    refuses(InvalidModel, "its length is 0", "DFT", {"x": x}, {"n": scalar(0, np.int64)}, opset=17)
    refuses(NeedsConstant, "dft_length", "DFT", {"x": x, "n": scalar(8, np.int64)}, opset=17)
    refuses(UnsupportedAttribute, "entries", "DFT", {"x": np.zeros((1, 8192, 1), np.float32)}, opset=17)
    refuses(ContradictoryModel, "its window has 4", "STFT", {"x": x}, {
        "s": scalar(2, np.int64), "w": np.ones(4, np.float32), "l": scalar(8, np.int64)}, opset=17)
    with pytest.raises(NeedsConstant):
        lowered(one_node("STFT", {"x": x, "s": scalar(2, np.int64)}, constants={"w": np.ones(4, np.float32)},
                         opset=17))
