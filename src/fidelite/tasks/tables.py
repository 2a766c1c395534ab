"""FlatBuffer tables from and to plain data, by a schema that is data too.

A table is a mapping of field names; what is absent takes the schema's default. Kinds of fields: a scalar by its name
in `_SCALARS`, `string`, `bytes` (a vector of ubyte on 16-byte boundaries), `[scalar]`, a table's name, `[table]`, and
`|union` (two slots; the value is a mapping of the member's name to its table).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Fields = Sequence[tuple[str, str]]
Schema = Mapping[str, Fields]
Unions = Mapping[str, Sequence[str]]
Data = dict[str, Any]

_SCALARS: Mapping[str, str] = {"byte": "Int8", "ubyte": "Uint8", "bool": "Bool", "int": "Int32", "uint": "Uint32",
                               "float": "Float32"}
_BYTES_ALIGNMENT = 16


def pack(schema: Schema, unions: Unions, root: str, data: Mapping[str, Any], identifier: bytes) -> bytes:
    """The bytes of a buffer whose root table is `data`."""
    import flatbuffers

    packer = _Packer(schema, unions, flatbuffers.Builder(1024))
    packer.builder.Finish(packer.table(root, data), identifier)
    return bytes(packer.builder.Output())


def unpack(schema: Schema, unions: Unions, root: str, content: bytes, identifier: bytes) -> Data:
    """The root table of `content`. Raises ValueError where it is damaged, or has another identifier."""
    import struct

    if content[4:8] != identifier:
        raise ValueError(f"the identifier {content[4:8]!r} is not {identifier!r}")
    try:
        return _Reader(schema, unions, content).table(root, struct.unpack_from("<I", content, 0)[0])
    except (struct.error, IndexError, TypeError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"damaged tables: {error}") from error


class _Packer:
    def __init__(self, schema: Schema, unions: Unions, builder: Any) -> None:
        self.schema, self.unions, self.builder = schema, unions, builder

    def table(self, name: str, data: Mapping[str, Any]) -> int:
        """Children come first, as FlatBuffers are built from their end."""
        fields = self.schema[name]
        if unknown := set(data) - {field for field, _ in fields}:
            raise KeyError(f"{name} has no field {sorted(unknown)[0]}")
        offsets = {field: self._child(kind, data[field]) for field, kind in fields
                   if field in data and kind not in _SCALARS}
        builder = self.builder
        builder.StartObject(sum(2 if kind.startswith("|") else 1 for _, kind in fields))
        slot = 0
        for field, kind in fields:
            if field in data and kind in _SCALARS:
                getattr(builder, f"Prepend{_SCALARS[kind]}Slot")(slot, data[field], 0)
            elif field in offsets:
                if kind.startswith("|"):
                    (member,) = data[field]
                    builder.PrependUint8Slot(slot, 1 + self.unions[kind[1:]].index(member), 0)
                builder.PrependUOffsetTRelativeSlot(slot + kind.startswith("|"), offsets[field], 0)
            slot += 2 if kind.startswith("|") else 1
        return builder.EndObject()

    def _child(self, kind: str, value: Any) -> int:
        builder = self.builder
        if kind == "string":
            return builder.CreateString(value)
        if kind == "bytes":
            builder.Prep(_BYTES_ALIGNMENT, len(value))
            return builder.CreateByteVector(value)
        if kind.startswith("|"):
            ((member, table),) = value.items()
            return self.table(member, table)
        if not kind.startswith("["):
            return self.table(kind, value)
        inner = kind[1:-1]
        if inner in _SCALARS:
            builder.StartVector(4, len(value), 4)
            for item in reversed(value):
                getattr(builder, f"Prepend{_SCALARS[inner]}")(item)
            return builder.EndVector()
        offsets = [self._child(inner, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()


class _Reader:
    def __init__(self, schema: Schema, unions: Unions, content: bytes) -> None:
        self.schema, self.unions, self.content = schema, unions, content

    def table(self, name: str, position: int) -> Data:
        from flatbuffers.table import Table

        if not 0 < position < len(self.content):
            raise IndexError(f"offset {position} of {len(self.content)}")
        table: Any = Table(self.content, position)
        found: Data = {}
        slot = 0
        for field, kind in self.schema[name]:
            value_slot = slot + kind.startswith("|")
            if offset := table.Offset(4 + 2 * value_slot):
                member = self._member(table, slot, kind[1:]) if kind.startswith("|") else kind
                if member is not None:
                    value = self._value(table, member, offset + table.Pos)
                    found[field] = {member: value} if kind.startswith("|") else value
            slot = value_slot + 1
        return found

    def _member(self, table: Any, slot: int, union: str) -> str | None:
        """The member of a union by its number; None for those that this schema does not have."""
        from flatbuffers import number_types

        offset = table.Offset(4 + 2 * slot)
        number = table.Get(number_types.Uint8Flags, table.Pos + offset) if offset else 0
        members = self.unions[union]
        return members[number - 1] if 0 < number <= len(members) else None

    def _value(self, table: Any, kind: str, at: int) -> Any:
        from flatbuffers import number_types

        if kind in _SCALARS:
            return table.Get(getattr(number_types, f"{_SCALARS[kind]}Flags"), at)
        if kind == "string":
            return bytes(table.String(at)).decode("utf-8")
        if kind == "bytes":
            start, count = self._vector(table, at)
            return bytes(self.content[start:start + count])
        if not kind.startswith("["):
            return self.table(kind, table.Indirect(at))
        start, count = self._vector(table, at)
        inner = kind[1:-1]
        if inner in _SCALARS:
            flags = getattr(number_types, f"{_SCALARS[inner]}Flags")
            return [table.Get(flags, start + 4 * i) for i in range(count)]
        return [self._value(table, inner, start + 4 * i) for i in range(count)]

    def _vector(self, table: Any, at: int) -> tuple[int, int]:
        from flatbuffers import number_types

        start = table.Indirect(at)
        count = table.Get(number_types.Uint32Flags, start)
        if start + 4 + count > len(self.content):
            raise IndexError(f"a vector of {count} entries passes the end")
        return start + 4, count
