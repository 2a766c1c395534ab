"""The typed view of an ONNX node that lowerings read: typed attributes, operands by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Final, TypeVar, overload

import onnx_ir as ir

from fidelite.errors import InvalidModel, UnsupportedAttribute, Where

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STACK_TRACE = "pkg.torch.onnx.stack_trace"
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in \S+)?\n?(?P<code>[^\n]*)')
_LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|torch[/\\]nn|lib[/\\]python3)[/\\]")
_LONGEST_CODE = 60


def plain_domain(domain: str) -> str:
    """`ai.onnx` is the long name of the default domain, which is written as the empty string."""
    return "" if domain == "ai.onnx" else domain


def source_line(node: ir.Node) -> str:
    """The innermost line of the user's own code behind the node, where the exporter recorded it."""
    trace = node.metadata_props.get(STACK_TRACE)
    if not trace:
        return ""
    frames = [m for m in _FRAME.finditer(trace) if not _LIBRARY.search(m["file"])]
    if not frames:
        return ""
    frame = frames[-1]
    code = frame["code"].strip()
    if len(code) > _LONGEST_CODE:
        code = code[: _LONGEST_CODE - 3] + "..."
    place = f"{PureWindowsPath(frame['file']).name}:{frame['line']}"  # of either system: both separators
    return f"{place} ({code})" if code else place


def node_name(node: ir.Node) -> str:
    """The node's name, or that of its first output where it has none, or its operator's."""
    return node.name or next((o.name for o in node.outputs if o.name), None) or node.op_type


def where_of(node: ir.Node, opsets: Mapping[str, int]) -> Where:
    """The place of `node` for error messages."""
    domain = plain_domain(node.domain)
    version = opsets.get(domain, opsets.get("ai.onnx") if not domain else None)
    return Where(
        node=node_name(node), op=node.op_type, domain=domain, opset=version, source=source_line(node)
    )


T = TypeVar("T")


class _Required:
    """Stands for a default that is not given: the attribute must be there."""


REQUIRED: Final = _Required()


class NodeView:
    """An ONNX node, read with types. Getters raise at the node's place where the model breaks the rules."""

    __slots__ = ("node", "opset")

    def __init__(self, node: ir.Node, opsets: Mapping[str, int]) -> None:
        self.node = node
        self.opset = opsets.get(plain_domain(node.domain), 0) or (
            opsets.get("ai.onnx", 0) if not plain_domain(node.domain) else 0
        )
        """Version of the node's domain that the model (or function) asks for; 0 where it asks for none."""

    def __repr__(self) -> str:
        return f"NodeView({self.where()})"

    @property
    def op(self) -> str:
        return self.node.op_type

    @property
    def domain(self) -> str:
        """Empty for the standard's own operators."""
        return plain_domain(self.node.domain)

    @property
    def name(self) -> str:
        return node_name(self.node)

    @property
    def since(self) -> int | None:
        """The schema version in use: the newest one up to `opset`. None for unknown operators."""
        import onnx.defs

        try:
            return onnx.defs.get_schema(self.op, self.opset, self.domain).since_version
        except onnx.defs.SchemaError:
            return None

    def where(self) -> Where:
        where = where_of(self.node, {self.domain: self.opset})
        return where if self.opset else Where(where.node, where.op, where.domain, None, where.source)

    # names of operands (the lowering's view, `lower.node`, gives the operands themselves)

    @property
    def input_names(self) -> tuple[str | None, ...]:
        return tuple((v.name or "") if v is not None else None for v in self.node.inputs)

    @property
    def output_names(self) -> tuple[str | None, ...]:
        return tuple(o.name or None for o in self.node.outputs)

    # attributes

    def has(self, name: str) -> bool:
        return name in self.node.attributes

    def attribute_names(self) -> set[str]:
        return set(self.node.attributes)

    def unknown_attributes(self, known: set[str]) -> list[str]:
        """Attributes that are not in `known`, sorted: a lowering refuses what it would otherwise ignore."""
        return sorted(set(self.node.attributes) - known)

    def _get(self, name: str, type_: ir.AttributeType) -> ir.Attr | None:
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return None
        if attribute.is_ref():
            raise UnsupportedAttribute(
                f"its attribute '{name}' refers to an attribute of the function around it",
                code="F421",
                where=self.where(),
                remedy="inline the model's functions first",
            )
        if attribute.type != type_:
            raise InvalidModel(
                f"its attribute '{name}' is of type {attribute.type.name} where {type_.name} is needed",
                code="F339",
                where=self.where(),
                remedy="export the model again",
                details={"attribute": name, "type": attribute.type.name, "needed": type_.name},
            )
        return attribute

    @overload
    def int_(self, name: str) -> int: ...
    @overload
    def int_(self, name: str, default: int) -> int: ...
    @overload
    def int_(self, name: str, default: None) -> int | None: ...
    def int_(self, name: str, default: int | _Required | None = REQUIRED) -> int | None:
        attribute = self._get(name, ir.AttributeType.INT)
        return attribute.as_int() if attribute is not None else self._default(name, default)

    @overload
    def float_(self, name: str) -> float: ...
    @overload
    def float_(self, name: str, default: float) -> float: ...
    @overload
    def float_(self, name: str, default: None) -> float | None: ...
    def float_(self, name: str, default: float | _Required | None = REQUIRED) -> float | None:
        attribute = self._get(name, ir.AttributeType.FLOAT)
        return attribute.as_float() if attribute is not None else self._default(name, default)

    @overload
    def str_(self, name: str) -> str: ...
    @overload
    def str_(self, name: str, default: str) -> str: ...
    @overload
    def str_(self, name: str, default: None) -> str | None: ...
    def str_(self, name: str, default: str | _Required | None = REQUIRED) -> str | None:
        attribute = self._get(name, ir.AttributeType.STRING)
        return attribute.as_string() if attribute is not None else self._default(name, default)

    @overload
    def ints(self, name: str) -> tuple[int, ...]: ...
    @overload
    def ints(self, name: str, default: Sequence[int]) -> tuple[int, ...]: ...
    @overload
    def ints(self, name: str, default: None) -> tuple[int, ...] | None: ...
    def ints(self, name: str, default: Sequence[int] | _Required | None = REQUIRED) -> tuple[int, ...] | None:
        attribute = self._get(name, ir.AttributeType.INTS)
        if attribute is not None:
            return tuple(attribute.as_ints())
        value = self._default(name, default)
        return None if value is None else tuple(value)

    @overload
    def floats(self, name: str) -> tuple[float, ...]: ...
    @overload
    def floats(self, name: str, default: Sequence[float]) -> tuple[float, ...]: ...
    @overload
    def floats(self, name: str, default: None) -> tuple[float, ...] | None: ...
    def floats(
        self, name: str, default: Sequence[float] | _Required | None = REQUIRED
    ) -> tuple[float, ...] | None:
        attribute = self._get(name, ir.AttributeType.FLOATS)
        if attribute is not None:
            return tuple(attribute.as_floats())
        value = self._default(name, default)
        return None if value is None else tuple(value)

    @overload
    def strings(self, name: str) -> tuple[str, ...]: ...
    @overload
    def strings(self, name: str, default: Sequence[str]) -> tuple[str, ...]: ...
    @overload
    def strings(self, name: str, default: None) -> tuple[str, ...] | None: ...
    def strings(
        self, name: str, default: Sequence[str] | _Required | None = REQUIRED
    ) -> tuple[str, ...] | None:
        attribute = self._get(name, ir.AttributeType.STRINGS)
        if attribute is not None:
            return tuple(attribute.as_strings())
        value = self._default(name, default)
        return None if value is None else tuple(value)

    def tensor(self, name: str) -> NDArray[np.generic] | None:
        """The tensor attribute's values; None where it is not given."""
        attribute = self._get(name, ir.AttributeType.TENSOR)
        return attribute.as_tensor().numpy() if attribute is not None else None

    def graph(self, name: str) -> ir.Graph | None:
        """The subgraph; None where it is not given."""
        attribute = self._get(name, ir.AttributeType.GRAPH)
        return attribute.as_graph() if attribute is not None else None

    def _default(self, name: str, default: T | _Required) -> T:
        if isinstance(default, _Required):
            raise InvalidModel(
                f"its attribute '{name}' is missing",
                code="F339",
                where=self.where(),
                remedy="export the model again",
                details={"attribute": name},
            )
        return default
