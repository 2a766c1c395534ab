"""Made inputs fit their ports and ranges, come out the same each time, and differ between samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fidelite.check import InputHint, load_samples, make_inputs
from fidelite.check.hints import hints_of
from fidelite.edge import Edge
from fidelite.errors import BadSample, UsageError
from fidelite.runtime import Port
from fidelite.runtime.protocol import check_array

FLOATS = ["float32", "float16", "bfloat16", "float64", "complex64"]
DTYPES = [*FLOATS, "bool", "int32", "int64", "uint8", "int8", "int4"]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 6), max_size=6),
    st.sampled_from([None, "picture", "index", "mask", "values"]),
)
def test_any_port_gets_what_fits(dtype: str, shape: list[int], kind: Any) -> None:
    port = Port("x", dtype, tuple(shape))
    for sample in make_inputs([port], count=3, hints={"x": InputHint(kind=kind)}):
        check_array(port, sample["x"])
        if not dtype.startswith("complex"):
            assert np.all(np.isfinite(sample["x"].astype(np.float64)))


@pytest.mark.parametrize("dtype", ["float32", "bool", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 8), (1, 4, 6), (1, 3, 8, 8)])
def test_the_same_each_time_and_different_between_samples(dtype: str, shape: tuple[int, ...]) -> None:
    port, other = Port("x", dtype, shape), Port("y", "float32", (3,))
    first, again = make_inputs([port]), make_inputs([other, port])
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a["x"], b["x"])
    values = [s["x"].tobytes() for s in first]
    assert values[0] != values[1]
    if dtype != "bool" or shape not in ((), (1,)):
        assert len(set(values)) == 3
    assert any(s["x"].tobytes() != v for s, v in zip(make_inputs([port], seed=1), values, strict=True)) or shape in (
        (),
        (1,),
    )


def test_pictures_are_smooth_and_of_unit_size() -> None:
    samples = make_inputs([Port("image", "float32", (1, 3, 64, 64))])
    for number, sample in enumerate(samples):
        x = sample["image"].astype(np.float64)
        assert 0.5 < x.std() < 2
        assert abs(x.mean()) < 0.5
        steps = np.diff(x, axis=3).std() / x.std()
        assert 0.02 < steps < 0.5, "neither constant nor noise"
        for earlier in samples[:number]:
            assert abs(np.corrcoef(x.ravel(), earlier["image"].ravel())[0, 1]) < 0.8
            assert abs(x.std() - earlier["image"].std()) > 0.1
    channels = samples[0]["image"][0].reshape(3, -1)
    assert abs(np.corrcoef(channels)[0, 1]) < 0.99


def test_pictures_of_bytes_fill_their_range_in_any_layout() -> None:
    hints = {"image": InputHint(0, 255, "picture", channel_axis=-1)}
    for sample in make_inputs([Port("image", "uint8", (1, 48, 48, 3))], hints=hints):
        x = sample["image"].astype(np.float64)
        assert x.max() - x.min() > 128
        assert np.abs(np.diff(x, axis=1)).mean() < 32


def test_indices_reach_both_ends_of_their_range() -> None:
    for sample in make_inputs([Port("i", "int64", (4, 5))], hints={"i": InputHint(-3, 9, "index")}):
        assert sample["i"].min() == -3
        assert sample["i"].max() == 9
    singles = [s["i"].item() for s in make_inputs([Port("i", "int32", ())], hints={"i": InputHint(0, 4)})]
    assert singles[:2] == [0, 4]
    small = make_inputs([Port("i", "int4", (50,))])[0]["i"].astype(np.int64)
    assert small.min() == 0
    assert small.max() == 7


def test_numbers_that_the_model_compares_with_come_first() -> None:
    """Else one branch of an If on the sampling rate would never be run, and the proof of it would be empty."""
    nodes = [helper.make_node("Equal", ["rate", "known"], ["same"]), helper.make_node("Cast", ["same"], ["y"], to=1)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("rate", TensorProto.INT64, [])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
                              [numpy_helper.from_array(np.asarray(16000), "known")])
    hints = hints_of(onnx_ir.from_proto(helper.make_model(graph)), Edge())
    rates = [s["rate"].item() for s in make_inputs([Port("rate", "int64", ())], hints=hints)]
    assert rates[0] == 16000
    assert 16000 not in rates[1:]


def test_floats_keep_their_range() -> None:
    hints = {"p": InputHint(0, 1), "q": InputHint(0, None)}
    for sample in make_inputs([Port("p", "float32", (200,)), Port("q", "float32", (200,))], hints=hints):
        assert 0 <= sample["p"].min() < 0.3 < 0.7 < sample["p"].max() <= 1
        assert sample["q"].min() == 0


def test_masks_are_ones_and_then_zeros() -> None:
    samples = make_inputs([Port("m", "int64", (2, 10))], hints={"m": InputHint(kind="mask")})
    assert samples[0]["m"].min() == 1
    for sample in samples:
        assert set(np.unique(sample["m"])) <= {0, 1}
        assert np.all(np.diff(sample["m"]) <= 0)
        assert np.all(sample["m"][:, 0] == 1)


def test_booleans_have_both_values() -> None:
    for sample in make_inputs([Port("b", "bool", (3,))]):
        assert set(sample["b"]) == {True, False}


def test_free_dimensions_need_a_size() -> None:
    port = Port("x", "float32", ("n", None, 3))
    sample = make_inputs([port], symbols={"n": 2, "x:1": 5})[0]
    assert sample["x"].shape == (2, 5, 3)
    with pytest.raises(BadSample, match="dimension 'n' of input 'x' is free") as caught:
        make_inputs([port])
    assert caught.value.remedy == "--shape x=N,N,3"
    with pytest.raises(BadSample, match="at axis 1"):
        make_inputs([port], symbols={"n": 2})


def test_what_makes_no_sense_is_told() -> None:
    with pytest.raises(BadSample, match="no making up"):
        make_inputs([Port("x", "str", (1,))])
    with pytest.raises(UsageError):
        InputHint(2, 1)
    with pytest.raises(BadSample, match="no uint8 lies between"):
        make_inputs([Port("x", "uint8", (1,))], hints={"x": InputHint(300, 400)})


PORTS = [Port("image", "float32", (1, 3, 4, "w")), Port("ids", "int64", (2,))]
IMAGE = np.ones((1, 3, 4, 5), np.float32)
IDS = np.array([1, 2])


def _file(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "samples.npz", **arrays)
    return folder / "samples.npz"


def test_samples_one_or_many(tmp_path: Path) -> None:
    (one,) = load_samples(_file(tmp_path, image=IMAGE, ids=IDS), PORTS)
    assert one["image"].shape == IMAGE.shape
    many = load_samples(_file(tmp_path, image=np.stack([IMAGE, 2 * IMAGE]), ids=IDS), PORTS)
    assert [s["image"].max() for s in many] == [1, 2]
    assert all(np.array_equal(s["ids"], IDS) for s in many)


def test_samples_of_types_that_numpy_lacks(tmp_path: Path) -> None:
    values = np.array([1, 2, 3]).astype(ml_dtypes.bfloat16)
    (sample,) = load_samples(_file(tmp_path, x=values), [Port("x", "bfloat16", (3,))])
    np.testing.assert_array_equal(sample["x"], values)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": IMAGE}, r"holds 'image', but the model's inputs are 'image', 'ids'"),
        ({"image": IMAGE, "ids": IDS.astype(np.int32)}, "'ids' is int64, but the array given is int32"),
        ({"image": IMAGE[:, :2], "ids": IDS}, r"wants image: float32\[1, 3, 4, w\], .*\[1, 2, 4, 5\]"),
        ({"image": np.stack([IMAGE] * 2), "ids": np.stack([IDS] * 3)}, "'image' 2, 'ids' 3"),
        ({"image": IMAGE[None][:0], "ids": IDS}, "no samples for 'image'"),
    ],
)
def test_samples_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSample, match=message):
        load_samples(_file(tmp_path, **arrays), PORTS)


def test_files_that_hold_no_samples(tmp_path: Path) -> None:
    with pytest.raises(BadSample, match="cannot be read"):
        load_samples(tmp_path / "none.npz", PORTS)
    (tmp_path / "text.npz").write_text("hello", "utf-8")
    with pytest.raises(BadSample, match="cannot be read"):
        load_samples(tmp_path / "text.npz", PORTS)
    np.save(tmp_path / "one.npy", IMAGE)
    with pytest.raises(BadSample, match="single array"):
        load_samples(tmp_path / "one.npy", PORTS)
    with pytest.raises(BadSample, match="cannot be read"):
        load_samples(_file(tmp_path, image=np.array([{}], object)), PORTS)
