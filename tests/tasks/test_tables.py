"""FlatBuffer tables from plain data and back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidelite.tasks.metadata import DETECTOR, SEGMENTER, pack_metadata, unpack_metadata
from fidelite.tasks.tables import Schema, Unions, pack, unpack

SCHEMA: Schema = {
    "Root": (("small", "byte"), ("flag", "bool"), ("many", "[uint]"), ("real", "float"), ("name", "string"),
             ("content", "|Content"), ("children", "[Child]"), ("child", "Child"), ("raw", "bytes")),
    "Child": (("number", "int"), ("names", "[string]"), ("reals", "[float]")),
    "Other": (("large", "uint"),),
}
UNIONS: Unions = {"Content": ("Child", "Other")}

_float32 = st.floats(allow_nan=False, width=32).filter(lambda v: v != 0.0)
_child = st.fixed_dictionaries({}, optional={
    "number": st.integers(-2**31, 2**31 - 1).filter(bool), "names": st.lists(st.text(), max_size=3),
    "reals": st.lists(_float32, max_size=4)})
_content = st.one_of(st.builds(lambda c: {"Child": c}, _child),
                     st.builds(lambda n: {"Other": {"large": n}}, st.integers(1, 2**32 - 1)))
_root = st.fixed_dictionaries({}, optional={
    "small": st.integers(-128, 127).filter(bool), "flag": st.just(True), "real": _float32, "name": st.text(),
    "many": st.lists(st.integers(0, 2**32 - 1), max_size=4), "content": _content,
    "children": st.lists(_child, max_size=3), "child": _child, "raw": st.binary(max_size=50)})


@given(_root)
def test_what_was_packed_comes_back(data: dict[str, Any]) -> None:
    packed = pack(SCHEMA, UNIONS, "Root", data, b"T001")
    assert unpack(SCHEMA, UNIONS, "Root", packed, b"T001") == data
    assert pack(SCHEMA, UNIONS, "Root", data, b"T001") == packed
    if data.get("raw"):
        assert packed.index(data["raw"]) >= 0


@given(_root, st.data())
def test_damage_is_an_error_or_other_data(data: dict[str, Any], draw: st.DataObject) -> None:
    """Never anything but a ValueError."""
    packed = bytearray(pack(SCHEMA, UNIONS, "Root", data, b"T001"))
    at = draw.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= draw.draw(st.integers(1, 255))
    cut = bytes(packed[:draw.draw(st.integers(0, len(packed)))])
    for content in (bytes(packed), cut):
        with suppress(ValueError):
            unpack(SCHEMA, UNIONS, "Root", content, b"T001")


def test_raw_bytes_lie_on_sixteen() -> None:
    """`force_align: 16` in the schema: MediaPipe reads tables there."""
    for length in range(1, 40):
        raw = bytes(range(100, 100 + length))
        packed = pack(SCHEMA, UNIONS, "Root", {"name": "n" * length, "raw": raw}, b"T001")
        assert packed.index(raw) % 16 == 0


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(KeyError, match="Child has no field nmber"):
        pack(SCHEMA, UNIONS, "Child", {"nmber": 1}, b"T001")


def test_custom_metadata() -> None:
    custom = {SEGMENTER: {"activation": 2, "min_parser_version": "1.0.0"},
              DETECTOR: {"tensors_decoding_options": {"num_boxes": 64, "x_scale": 320.0, "sigmoid_score": True}}}
    data = {"name": "m", "subgraph_metadata": [{"custom_metadata": custom}]}
    assert unpack_metadata(pack_metadata(data)) == data
    with pytest.raises(ValueError, match="identifier"):
        unpack_metadata(b"\0" * 4 + b"M002" + b"\0" * 20)
