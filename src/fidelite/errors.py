"""The error tree. Everything fidelite raises on purpose is a `FideliteError`.

    FideliteError                  exit  code        raised when
    |- UsageError                   2    F2xx        an option or argument does not fit
    |  |- OutputError               2                the result cannot be written where it should go
    |  |- MissingExtra              2                an optional dependency is not installed
    |  `- BadSample                 2                a picture or sample file cannot be used
    |- LoadError                    3    F3xx        the model cannot be read
    |  |- MissingExternalData       3                weights live in a file that is not there, or not whole
    |  |- UnsafeExternalData        3                a weight path leaves the model's folder
    |  |- InvalidModel              3                the graph is broken (cycle, dangling input, duplicate name)
    |  |- ContradictoryModel        3                operands of a node contradict each other
    |  `- NotAModel                 3                the file holds something else (checkpoint, hollow .tflite, ...)
    |- ConversionError              4    F4xx        the model is sound, but cannot be converted exactly
    |  |- UnsupportedOp             4
    |  |- UnsupportedAttribute      4
    |  |- UnsupportedType           4
    |  |- NeedsConstant             4                an operand must be known when converting
    |  |- NeedsStaticShape          4                a dimension must be known when converting
    |  |- QuantizationError         4
    |  `- TargetError               4                the chosen target cannot take the model
    |- VerificationError            5    F5xx
    |  |- Mismatch                  5                source and result differ
    |  |- NotProven                 5                the comparison could not have failed, so it proves nothing
    |  `- RuntimeCrash              5                a runtime died or refused the model
    |- InternalError                1    F1xx        our bug
    `- Several                   worst               more than one of the above, found in one run

Codes are stable: `docs/errors.md` lists them, and a test triggers each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Where:
    """The place in the source model that an error is about. Empty fields are unknown."""

    node: str = ""
    op: str = ""
    domain: str = ""
    opset: int | None = None
    source: str = ""
    """The user's own code line where the exporter recorded it."""

    def __str__(self) -> str:
        parts: list[str] = []
        if self.op:
            name = f"{self.domain}::{self.op}" if self.domain else self.op
            parts.append(f"{name} (opset {self.opset})" if self.opset is not None else name)
        if self.node:
            parts.insert(0, f"node '{self.node}'")
        if self.source:
            parts.append(f"from {self.source}")
        return ", ".join(parts)


class FideliteError(Exception):
    """Something that went wrong, in the user's terms: what, where, and what to do about it.

    `code` is stable and documented, `reason` one or two sentences, `remedy` a line to paste or to act on,
    `details` plain data (JSON types) for programs.
    """

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "F100"

    def __init__(
        self,
        reason: str,
        *,
        remedy: str = "",
        where: Where | None = None,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code or self.default_code
        self.reason = reason
        self.remedy = remedy
        self.where = where or Where()
        self.details: dict[str, Any] = dict(details or {})

    @property
    def errors(self) -> Sequence[FideliteError]:
        """The single errors that this one stands for."""
        return (self,)

    def at(self, where: Where) -> FideliteError:
        """This error, told where it happened unless it knows already."""
        if self.where == Where():
            self.where = where
        return self

    def to_json(self) -> dict[str, Any]:
        place = {k: getattr(self.where, k) for k in ("node", "op", "domain", "opset", "source")}
        return {
            "code": self.code,
            "kind": type(self).__name__,
            "reason": self.reason,
            "remedy": self.remedy,
            "where": {k: v for k, v in place.items() if v not in ("", None)},
            "details": self.details,
        }

    def __str__(self) -> str:
        text = f"[{self.code}] {self.reason}"
        if place := str(self.where):
            text = f"[{self.code}] {place}: {self.reason}"
        return f"{text}\n    -> {self.remedy}" if self.remedy else text


class UsageError(FideliteError):
    exit_code = 2
    default_code = "F200"


class OutputError(UsageError):
    default_code = "F210"


class MissingExtra(UsageError):
    default_code = "F220"


class BadSample(UsageError):
    default_code = "F230"


class LoadError(FideliteError):
    exit_code = 3
    default_code = "F300"


class MissingExternalData(LoadError):
    default_code = "F310"


class UnsafeExternalData(LoadError):
    default_code = "F320"


class InvalidModel(LoadError):
    default_code = "F330"


class ContradictoryModel(LoadError):
    default_code = "F340"


class NotAModel(LoadError):
    default_code = "F350"


class ConversionError(FideliteError):
    exit_code = 4
    default_code = "F400"


class UnsupportedOp(ConversionError):
    default_code = "F410"


class UnsupportedAttribute(ConversionError):
    default_code = "F420"


class UnsupportedType(ConversionError):
    default_code = "F430"


class NeedsConstant(ConversionError):
    default_code = "F440"


class NeedsStaticShape(ConversionError):
    default_code = "F450"


class QuantizationError(ConversionError):
    default_code = "F460"


class TargetError(ConversionError):
    default_code = "F470"


class VerificationError(FideliteError):
    exit_code = 5
    default_code = "F500"
    evidence: Any = None
    """The conversion whose proof failed, where there is one."""


class Mismatch(VerificationError):
    default_code = "F510"


class NotProven(VerificationError):
    default_code = "F520"


class RuntimeCrash(VerificationError):
    default_code = "F530"


class InternalError(FideliteError):
    exit_code = 1
    default_code = "F100"


class Several(FideliteError):
    """More than one error, found in one run. Its exit code is that of the earliest stage that failed."""

    default_code = "F000"

    def __init__(self, errors: Sequence[FideliteError]) -> None:
        super().__init__(f"{len(errors)} problems were found", details={"count": len(errors)})
        self._errors = tuple(errors)
        self.exit_code = min(e.exit_code for e in errors)  # type: ignore[misc]

    @property
    def errors(self) -> Sequence[FideliteError]:
        return self._errors

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"errors": [e.to_json() for e in self._errors]}

    def __str__(self) -> str:
        return "\n".join([self.reason + ":", *(str(e) for e in self._errors)])


def raise_all(errors: Iterable[FideliteError]) -> None:
    """Raise what was collected: nothing, the one error, or `Several`."""
    found = list(errors)
    if len(found) == 1:
        raise found[0]
    if found:
        raise Several(found)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know that does not stop the work (design: nothing silent).

    `level` is "notice" or "warning"; `code` as for errors, with N or W in front (N300, W340).
    """

    code: str
    text: str
    remedy: str = ""
    where: Where = field(default_factory=Where)
    level: str = "notice"

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "level": self.level, "text": self.text, "remedy": self.remedy,
                "node": self.where.node}

    def __str__(self) -> str:
        place = f"{self.where}: " if str(self.where) else ""
        return f"[{self.code}] {place}{self.text}" + (f"\n    -> {self.remedy}" if self.remedy else "")
