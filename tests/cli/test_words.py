"""Words of the command line to values."""

from __future__ import annotations

import click
import pytest

from fidelite.cli import words
from fidelite.options import Normalization, factory_of


def test_shapes() -> None:
    assert words.shapes(["input=1,3,512,512", "a=b=2x3"]) == {"input": (1, 3, 512, 512), "a=b": (2, 3)}


def test_open_shapes() -> None:
    assert words.open_shapes(["a=N,3,H:512,W:512", "b=2x3", "ids=1,T"]) == {
        "a": ("N", 3, "H:512", "W:512"), "b": (2, 3), "ids": (1, "T")}
    assert words.open_shapes(["a=x,x2"]) == {"a": ("x", "x2")}
    for word in ("a=N,3.5", "a=N,H:", "a=N,,3", "a=N;3"):
        with pytest.raises(click.BadParameter, match="NAME="):
            words.open_shapes([word])


def test_names() -> None:
    assert words.names(["a,b", "c"]) == ("a", "b", "c")


def test_layouts() -> None:
    assert words.layouts(["x:0=NHWC"]) == {"x:0": "nhwc"}


def test_normalizations() -> None:
    assert words.normalizations(["imagenet"], [], [], []) == {"": Normalization.imagenet()}
    assert words.normalizations([], ["127.5"], [], ["1/255"]) == {"": Normalization((127.5,), (1.0,), 1 / 255)}
    found = words.normalizations(["y=imagenet"], [], ["x=1,2,3"], [])
    assert found == {"y": Normalization.imagenet(), "x": Normalization((0.0,), (1.0, 2.0, 3.0), 1.0)}
    with pytest.raises(click.UsageError, match="name the input always"):
        words.normalizations([], ["127.5"], ["x=1"], [])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("package.module:factory", ("package.module", "factory")),
        ("module:make", ("module", "make")),
        ("C:\\models\\x.onnx", None),
        ("C:model", None),
        ("d:/x.onnx", None),
        ("x.onnx", None),
        ("a b:c", None),
        ("module:", None),
    ],
)
def test_factory_of(word: str, expected: tuple[str, str] | None) -> None:
    assert factory_of(word) == expected


def test_what_cannot_be_read_says_how_it_is_written() -> None:
    with pytest.raises(click.BadParameter, match="NAME=1,3,512,512"):
        words.shapes(["1,3"])
