"""The messages between owner and worker."""

from __future__ import annotations

import io
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fidelite.runtime.frames import BrokenFrame, read_frame, write_frame

DTYPES: list[Any] = [np.float32, np.float64, np.int64, np.int8, np.bool_, np.complex64, np.float16]
EXTRA: list[Any] = [ml_dtypes.bfloat16, ml_dtypes.int4, ml_dtypes.float8_e5m2]


def _there_and_back(header: dict[str, Any], arrays: list[Any]) -> None:
    stream = io.BytesIO()
    write_frame(stream, header, arrays)
    stream.seek(0)
    frame = read_frame(stream)
    assert frame is not None
    assert frame[0] == header
    assert len(frame[1]) == len(arrays)
    for sent, got in zip(arrays, frame[1], strict=True):
        assert (sent.dtype, sent.shape) == (got.dtype, got.shape)
        assert sent.tobytes() == got.tobytes()
    assert read_frame(stream) is None


@given(
    st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: st.lists(
            hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)), max_size=3
        )
    ),
)
def test_frames_come_through(header: dict[str, Any], arrays: list[Any]) -> None:
    header.pop("arrays", None)
    _there_and_back(header, arrays)


@pytest.mark.parametrize("dtype", EXTRA)
def test_types_that_numpy_lacks_come_through(dtype: Any) -> None:
    _there_and_back({}, [np.arange(6).astype(dtype).reshape(2, 3), np.array(1).astype(dtype)])


def test_objects_do_not_travel() -> None:
    with pytest.raises(TypeError):
        write_frame(io.BytesIO(), {}, [np.array([{}], object)])


@pytest.mark.parametrize("cut", [3, 10, -1])
def test_a_cut_frame_is_told(cut: int) -> None:
    stream = io.BytesIO()
    write_frame(stream, {"a": 1}, [np.ones(3)])
    with pytest.raises(BrokenFrame):
        read_frame(io.BytesIO(stream.getvalue()[:cut]))


def test_what_is_no_frame_is_told() -> None:
    with pytest.raises(BrokenFrame):
        read_frame(io.BytesIO(b"INFO: hello there"))
