"""Weights in files of their own: missing, wrong, or somewhere they must not be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.external_data_helper import load_external_data_for_model

from fidelite.errors import FideliteError, LoadError, MissingExternalData, UnsafeExternalData, UsageError
from fidelite.source import inline
from fidelite.source.load import examine, load
from fidelite.source.sizes import weight_tensors
from tests.source.models import codes, conv_model, external_model, move_out, save, set_external, tensor


def refusal(path: Path, weights: Path | None = None) -> FideliteError:
    with pytest.raises(FideliteError) as caught:
        load(path, weights=weights)
    json.dumps(caught.value.to_json())
    return caught.value


def placed(folder: Path, location: object, offset: object = 0, length: object = 432) -> Path:
    """The convolution whose weight lies at `location`."""
    model = conv_model()
    set_external(model.graph.initializer[0], location=location, offset=offset, length=length)
    return save(model, folder / "m.onnx")


def weight(source_model: ir.Model) -> np.ndarray:
    tensor_ = source_model.graph.initializers["w"].const_value
    assert tensor_ is not None
    return tensor_.numpy()


EXPECTED = onnx.numpy_helper.to_array(tensor("w", 4, 3, 3, 3))


def test_weights_are_mapped_and_right(tmp_path: Path) -> None:
    source = load(external_model(tmp_path))
    np.testing.assert_array_equal(weight(source.model), EXPECTED)
    assert source.data_files == ((tmp_path / "m.onnx.data").resolve(),)
    assert source.total_size == source.file_size + 448
    source.close()


def test_the_hash_covers_the_weights(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    before = load(path).sha256
    data = tmp_path / "m.onnx.data"
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    assert load(path).sha256 != before


def test_missing_weights_say_all_there_is_to_know(tmp_path: Path) -> None:
    path = external_model(tmp_path, write=False)
    error = refusal(path)
    assert isinstance(error, MissingExternalData)
    assert (error.code, error.exit_code) == ("F310", 3)
    assert error.details["location"] == "m.onnx.data"
    assert error.details["expected_bytes"] == 448
    assert (error.details["tensors"], error.details["tensors_total"]) == (2, 2)
    assert error.details["graph_bytes"] == path.stat().st_size
    assert Path(error.details["path"]) == (tmp_path / "m.onnx.data").resolve()
    assert "graph only" in error.reason
    assert "448 bytes" in error.reason
    assert "--weights FILE" in error.remedy


def test_missing_weights_may_be_allowed(tmp_path: Path) -> None:
    source = load(external_model(tmp_path, write=False), allow_missing_weights=True)
    assert [m.expected_bytes for m in source.missing] == [448]
    assert [n.code for n in source.notices] == ["W310"]
    assert examine(tmp_path / "m.onnx").problems[0].code == "F310"


def test_a_file_of_the_right_length_is_offered_and_taken(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    (tmp_path / "m.onnx.data").rename(tmp_path / "old name.bin")
    (tmp_path / "short.bin").write_bytes(b"\0" * 40)
    error = refusal(path)
    assert error.details["candidates"] == ["old name.bin"]
    assert "--weights" in error.remedy
    assert "old name.bin" in error.remedy
    source = load(path, weights=tmp_path / "old name.bin")
    np.testing.assert_array_equal(weight(source.model), EXPECTED)
    source.close()


def test_weights_from_elsewhere(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "m.onnx.data").rename(elsewhere / "w.data")
    source = load(path, weights=elsewhere / "w.data")
    np.testing.assert_array_equal(weight(source.model), EXPECTED)
    source.close()
    in_memory = ir.load(path)
    source = load(in_memory, weights=elsewhere / "w.data")
    np.testing.assert_array_equal(weight(source.model), EXPECTED)
    source.close()


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = external_model(tmp_path, write=False)
    (tmp_path / "short.bin").write_bytes(b"\0" * 40)
    for given in ("short.bin", "nowhere.bin"):
        error = refusal(path, tmp_path / given)
        assert (type(error), error.code) == (UsageError, "F201")
    inside = save(conv_model(), tmp_path / "inside.onnx")
    assert refusal(inside, tmp_path / "short.bin").code == "F201"


def test_truncated(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    data = tmp_path / "m.onnx.data"
    data.write_bytes(data.read_bytes()[:440])
    error = refusal(path)
    assert (type(error), error.code) == (MissingExternalData, "F311")
    assert (error.details["found_bytes"], error.details["expected_bytes"]) == (440, 448)
    assert error.details["tensor_names"] == ["b"]


def test_longer_than_needed_is_a_notice_beyond_padding(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    data = tmp_path / "m.onnx.data"
    data.write_bytes(data.read_bytes() + b"\0" * 4096)
    assert load(path).notices == []
    data.write_bytes(data.read_bytes() + b"\0" * 200_000)
    assert [n.code for n in load(path).notices] == ["N312"]


def test_a_length_that_the_shape_contradicts(tmp_path: Path) -> None:
    (tmp_path / "w.data").write_bytes(b"\0" * 1000)
    error = refusal(placed(tmp_path, "w.data", length=436))
    assert (type(error), error.code) == (MissingExternalData, "F312")
    assert error.details["tensors"] == [{"name": "w", "stated": 436, "needed": 432}]


def test_offset_and_length_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "w.data").write_bytes(EXPECTED.tobytes())
    source = load(placed(tmp_path, "w.data", offset=None, length=None))
    np.testing.assert_array_equal(weight(source.model), EXPECTED)
    source.close()


def test_overlapping_tensors(tmp_path: Path) -> None:
    model = conv_model()
    data = move_out(model)
    (tmp_path / "m.onnx.data").write_bytes(data)
    set_external(model.graph.initializer[1], location="m.onnx.data", offset=428, length=16)
    error = refusal(save(model, tmp_path / "m.onnx"))
    assert (type(error), error.code) == (MissingExternalData, "F313")
    assert error.details["pairs"] == [["w", "b"]]


def test_two_tensors_at_the_same_place_are_one_stored_once(tmp_path: Path) -> None:
    model = conv_model()
    model.graph.initializer.append(tensor("b2", 4))
    model.graph.node[1].CopyFrom(onnx.helper.make_node("Add", ["c", "b2"], ["y"]))
    model.graph.initializer[2].dims[:] = [4, 1, 1]
    data = move_out(model)
    set_external(model.graph.initializer[2], location="m.onnx.data", offset=432, length=16)
    (tmp_path / "m.onnx.data").write_bytes(data)
    assert load(save(model, tmp_path / "m.onnx")).problems == ()


@pytest.mark.parametrize(
    ("location", "offset"), [("", 0), (None, 0), ("w.data", -4), ("w.data", "x"), ("folder", 0)]
)
def test_entries_that_make_no_sense(tmp_path: Path, location: str | None, offset: object) -> None:
    (tmp_path / "folder").mkdir()
    error = refusal(placed(tmp_path, location, offset))
    assert (type(error), error.code) == (LoadError, "F314")


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("/etc/passwd", "F320"),
        ("C:\\weights.data", "F320"),
        ("C:weights.data", "F320"),
        ("\\\\server\\share\\w.data", "F320"),
        ("\\w.data", "F320"),
        ("../w.data", "F321"),
        ("..\\w.data", "F321"),
        ("a/../../w.data", "F321"),
    ],
)
def test_paths_that_leave_the_folder(tmp_path: Path, location: str, code: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "w.data").write_bytes(b"\0" * 432)
    error = refusal(placed(inner, location))
    assert (type(error), error.code) == (UnsafeExternalData, code)
    assert error.details["location"] == location


def test_paths_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.data").write_bytes(EXPECTED.tobytes())
    for location in ("sub/w.data", "./sub/w.data", "sub\\w.data", "sub/../sub/w.data"):
        source = load(placed(tmp_path, location))
        np.testing.assert_array_equal(weight(source.model), EXPECTED)
        source.close()


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except (OSError, NotImplementedError):
        pytest.skip("no symbolic links here")


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "w.data").write_bytes(b"\0" * 432)
    link(inner / "w.data", tmp_path / "w.data")
    error = refusal(placed(inner, "w.data"))
    assert (type(error), error.code) == (UnsafeExternalData, "F322")
    assert Path(error.details["target"]) == (tmp_path / "w.data").resolve()


def test_a_link_within_the_folder_and_a_hard_link(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "real.data").write_bytes(EXPECTED.tobytes())
    link(inner / "w.data", inner / "real.data")
    source = load(placed(inner, "w.data"))
    np.testing.assert_array_equal(weight(source.model), EXPECTED)
    source.close()
    os.link(inner / "real.data", inner / "hard.data")
    source = load(placed(inner, "hard.data"))
    np.testing.assert_array_equal(weight(source.model), EXPECTED)
    source.close()


def test_a_cache_that_links_model_and_weights_to_one_folder(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    (blobs / "b1").write_bytes(EXPECTED.tobytes())
    save(big_model(), blobs / "b2")
    placed(blobs, "w.data").rename(blobs / "b3")
    link(snapshot / "w.data", blobs / "b1")
    link(snapshot / "m.onnx", blobs / "b3")
    link(snapshot / "big.onnx", blobs / "b2")
    for name in ("m.onnx", "big.onnx"):
        source = load(snapshot / name)
        np.testing.assert_array_equal(weight(source.model), EXPECTED)
        source.close()


def test_strings_and_numbers_that_lie_in_the_message() -> None:
    model = conv_model()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([b"a", b"b"], object), "s"))
    model.graph.initializer.append(onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [2], [1, 2]))
    model.graph.initializer.append(onnx.helper.make_tensor("h", onnx.TensorProto.INT4, [3], [1, 2, 3]))
    assert load(model).problems == ()
    for initializer in model.graph.initializer[2:4]:
        initializer.dims[0] = 3
    with pytest.raises(FideliteError) as caught:
        load(model)
    assert codes(caught.value) == ["F342", "F342"]


def test_unsafe_paths_cannot_be_read_even_if_ignored(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "w.data").write_bytes(b"\0" * 432)
    source = examine(placed(inner, "../w.data"))
    assert codes(source.problems[0]) == ["F321"]
    with pytest.raises(ValueError):
        weight(source.model)


# weights inside the file


def big_model(size: int = 300_000) -> onnx.ModelProto:
    model = conv_model()
    model.graph.initializer.append(tensor("unused", size))
    return model


def test_inline_weights_stay_in_the_file(tmp_path: Path) -> None:
    path = save(big_model(), tmp_path / "big.onnx")
    source = load(path)
    big = source.model.graph.initializers["unused"].const_value
    assert isinstance(big, ir.ExternalTensor)
    assert source.is_inline(big)
    assert source.data_files == ()
    np.testing.assert_array_equal(big.numpy(), onnx.numpy_helper.to_array(tensor("unused", 300_000)))
    np.testing.assert_array_equal(weight(source.model), EXPECTED)
    assert [t.name for t in weight_tensors(source.model)] == ["w", "b", "unused"]
    source.close()


def test_the_skeleton_is_the_same_model(tmp_path: Path) -> None:
    model = big_model()
    path = save(model, tmp_path / "big.onnx")
    skeleton = inline.skeleton(path, path.name)
    assert skeleton is not None
    assert len(skeleton) < 5000
    found = onnx.load_model_from_string(skeleton)
    load_external_data_for_model(found, str(tmp_path))
    for initializer in found.graph.initializer:
        initializer.ClearField("data_location")
        del initializer.external_data[:]
    assert found == model


@pytest.mark.parametrize("cut", [10, 1000, 600_000, 1_190_000])
def test_a_large_model_that_was_cut_short(tmp_path: Path, cut: int) -> None:
    path = save(big_model(), tmp_path / "big.onnx")
    path.write_bytes(path.read_bytes()[:-cut])
    assert refusal(path).code == "F301"


def test_bytes_inside_that_the_shape_contradicts(tmp_path: Path) -> None:
    model = big_model()
    model.graph.initializer[2].dims[0] = 1000
    error = refusal(save(model, tmp_path / "big.onnx"))
    assert error.code == "F342"
    small = conv_model()
    small.graph.initializer[1].raw_data = b"\0" * 12
    assert refusal(save(small, tmp_path / "small.onnx")).code == "F342"
