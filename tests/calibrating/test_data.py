"""Calibration data from pictures, arrays, functions and generators; and what is wrong with some of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fidelite.calibrating import open_calibration
from fidelite.edge import Edge, InputEdge
from fidelite.errors import BadSample, FideliteError, Several
from fidelite.options import Normalization
from fidelite.pictures import read_picture
from fidelite.preparation import prepare
from fidelite.runtime.protocol import Port
from fidelite.using import Known, picture_use

PORT = Port("x", "float32", (1, 3, 8, 10))
TWO = (Port("a", "float32", (2,)), Port("b", "int64", (1, 3)))


def drawn(count: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((1, 3, 8, 10)).astype(np.float32) for _ in range(count)]


def folder_of(path: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path / f"picture {i}.png")
    return path


def opened(given: Any, inputs: tuple[Port, ...] = (PORT,), known: Known | None = None) -> Any:
    return open_calibration(given, inputs, known or Known(), lambda: [{"x": a} for a in drawn(4)])


def codes(data: Any) -> list[str]:
    list(data.samples)
    return [n.code for n in data.notices]


def test_pictures_go_in_as_inference_puts_them_in(awkward_folder: Path) -> None:
    folder = folder_of(awkward_folder, 9)
    (folder / "notes.txt").write_text("no picture", "utf-8")
    known = Known(normalize={"": Normalization.imagenet()})
    data = opened(folder, known=known)
    assert data.total == 9
    samples = list(data.samples)
    wanted = prepare(read_picture(folder / "picture 4.png"), picture_use((PORT,), known))
    np.testing.assert_array_equal(samples[4]["x"], wanted.array)
    assert not data.notices
    assert any("normalised" in step for step in data.facts["preparation"])


def test_a_graph_that_normalises_gets_bytes(tmp_path: Path) -> None:
    edge = Edge({"x": InputEdge((), Normalization.imagenet(), 1)})
    data = opened(str(folder_of(tmp_path, 8)), known=Known(edge))
    values = np.stack([s["x"] for s in data.samples])
    assert values.max() > 100
    np.testing.assert_array_equal(values, np.rint(values))


def test_one_picture_and_npz_files_and_arrays(tmp_path: Path) -> None:
    assert opened(folder_of(tmp_path, 1) / "picture 0.png").total == 1
    stack = np.stack(drawn(9))
    np.savez(tmp_path / "samples.npz", x=stack)
    for given in (tmp_path / "samples.npz", stack, {"x": stack}, stack[:, 0]):
        found = list(opened(given).samples)
        assert len(found) == 9
        np.testing.assert_array_equal(found[3]["x"], stack[3])


def representative_dataset() -> Iterator[list[np.ndarray[Any, Any]]]:
    """As users of TensorFlow write it."""
    for array in drawn(10):
        yield [array]


@pytest.mark.parametrize("given", [representative_dataset, representative_dataset(), drawn(10),
                                   [{"x": a} for a in drawn(10)], [(a,) for a in drawn(10)],
                                   [a.astype(np.float64) for a in drawn(10)]],
                         ids=["function", "generator", "list", "dicts", "tuples", "float64"])
def test_functions_generators_and_lists_of_any_shape_of_sample(given: Any) -> None:
    found = list(opened(given).samples)
    assert len(found) == 10
    np.testing.assert_array_equal(found[7]["x"], drawn(10)[7])


def test_several_inputs() -> None:
    data = opened(({"a": np.ones(2, np.float32) * i, "b": np.array([[i, 1, 2]])} for i in range(8)), TWO)
    found = list(data.samples)
    assert found[5]["b"].dtype == np.int64
    np.testing.assert_array_equal(found[5]["b"], [[5, 1, 2]])
    paired = [[np.full(2, i), [[i, 1, 2]]] for i in range(3)]
    assert len(list(opened(paired, TWO).samples)) == 3
    stacked = list(opened({"a": np.arange(16.0).reshape(8, 2), "b": np.array([[1, 2, 3]])}, TWO).samples)
    assert len(stacked) == 8


def test_a_function_of_a_module_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_calibration.py").write_text(
        "import numpy as np\n\ndef data():\n    for i in range(8):\n"
        "        yield [np.full((1, 3, 8, 10), i, 'float32') + np.arange(10, dtype='float32')]\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    data = opened("my_calibration:data")
    assert data.source == "my_calibration:data"
    assert codes(data) == []


def test_a_drive_letter_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for word in (r"C:\faces", "C:faces", "D:/faces/more"):
        with pytest.raises(BadSample) as error:
            opened(word)
        assert error.value.code == "F231"


def test_made_up_inputs_are_said() -> None:
    data = opened("synthetic")
    assert "made-up" in data.source
    assert codes(data) == ["W463"]


def test_broken_pictures_are_named_all_at_once(tmp_path: Path) -> None:
    folder_of(tmp_path, 3)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    whole = (tmp_path / "picture 0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Several) as error:
        opened(tmp_path)
    assert {e.code for e in error.value.errors} == {"F232", "F233"}


@pytest.mark.parametrize(("given", "code", "says"), [
    ([np.zeros((1, 8, 10, 3), np.float32)], "F237", "transpose"),
    ([np.zeros((3, 8, 10), np.float32)], "F237", "batch"),
    ([np.zeros((1, 3, 9, 9), np.float32)], "F237", "shape"),
    ([[np.zeros(1), np.zeros(1)]], "F237", "2 arrays"),
    ([{"y": np.zeros(1)}], "F237", "'y'"),
    (["text"], "F237", "type"),
    ({"y": np.zeros((3, 1, 3, 8, 10))}, "F237", "'y'"),
    (lambda: 1 / 0, "F238", "ZeroDivisionError"),
    (lambda: None, "F238", "TypeError"),
    ("no_such_module_anywhere:data", "F236", "cannot be imported"),
    ("json:no_such_function", "F236", "has no"),
    ("nowhere/at/all", "F231", "no calibration data"),
])
def test_what_does_not_fit_is_told(given: Any, code: str, says: str) -> None:
    with pytest.raises(FideliteError) as error:
        list(opened(given).samples)
    assert error.value.code == code
    assert says in f"{error.value.reason} {error.value.remedy}"
    assert error.value.remedy


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(BadSample) as error:
        opened(tmp_path)
    assert error.value.code == "F235"


def test_whole_numbers_that_a_type_cannot_hold() -> None:
    with pytest.raises(BadSample) as error:
        list(opened([{"a": np.zeros(2), "b": np.array([[0.5, 1, 2]])}], TWO).samples)
    assert error.value.code == "F237"


def test_few_constant_and_repeated_samples_are_warned_of() -> None:
    assert codes(opened(drawn(3))) == ["W460"]
    assert codes(opened([np.full((1, 3, 8, 10), i, np.float32) for i in range(9)])) == ["W461"]
    assert codes(opened(drawn(1) * 9)) == ["W462"]
