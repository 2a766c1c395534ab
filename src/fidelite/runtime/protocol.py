"""What every runtime offers: ports in the model's order, and `run` from arrays to arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fidelite.errors import BadSample

Array = NDArray[Any]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its name, element type and shape.

    `dtype` is NumPy's name of the type ("float32", "int64", "bool"), or that of ml_dtypes ("bfloat16",
    "int4"). What is no tensor of numbers has a name that `dtype_of` does not take ("str", "seq(...)").
    A dimension is a number, a symbol where the model names one, or None where it is free and nameless.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


class Session(Protocol):
    """A model, loaded by a runtime. Close it (or use `with`) to free memory, worker and files."""

    @property
    def runtime(self) -> str:
        """The runtime's name, for messages."""
        ...

    @property
    def inputs(self) -> tuple[Port, ...]: ...

    @property
    def outputs(self) -> tuple[Port, ...]: ...

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """All outputs in the model's order, or those named, in that order.

        Raises `BadSample` where the feeds do not fit the inputs, `RuntimeCrash` where the runtime fails.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def dtype_of(name: str) -> np.dtype[Any]:
    """The NumPy type of that name, or else that of ml_dtypes. Raises TypeError for other names."""
    try:
        found = np.dtype(name)
    except TypeError:
        import ml_dtypes

        scalar = getattr(ml_dtypes, name, None)
        if not isinstance(scalar, type):
            raise TypeError(f"no tensor element type is called {name!r}") from None
        found = np.dtype(scalar)
    if found.kind in "OSUMm" or found.itemsize == 0:
        raise TypeError(f"{name!r} is no numeric element type")
    return found


def check_feeds(ports: Sequence[Port], feeds: Arrays, runtime: str) -> None:
    """Raise `BadSample` unless the feeds have exactly the inputs' names, types and fixed dimensions."""
    wanted = {p.name for p in ports}
    if wanted != set(feeds):
        raise BadSample(
            f"the model's inputs are {_names(p.name for p in ports)}, but what was given is {_names(feeds)}",
            details={"expected": [p.name for p in ports], "found": list(feeds), "runtime": runtime},
        )
    for port in ports:
        check_array(port, feeds[port.name])


def check_array(port: Port, array: Array) -> None:
    """Raise `BadSample` unless the array has the port's type, rank and fixed dimensions."""
    found = f"{array.dtype.name}[{', '.join(map(str, array.shape))}]"
    details = {"input": port.name, "expected": port.to_json(), "found": found}
    if array.dtype.name != port.dtype:
        raise BadSample(
            f"input '{port.name}' is {port.dtype}, but the array given is {found}",
            remedy=f"array.astype({port.dtype!r})",
            details=details,
        )
    fits = len(port.shape) == array.ndim and all(
        d == n for d, n in zip(port.shape, array.shape, strict=True) if isinstance(d, int)
    )
    if not fits:
        raise BadSample(f"the model wants {port}, but the array given is {found}", details=details)


def pick(outputs: Sequence[Port], wanted: Sequence[str] | None) -> list[str]:
    """The names to return: those wanted, checked, or all."""
    names = [p.name for p in outputs]
    if wanted is None:
        return names
    unknown = [n for n in wanted if n not in names]
    if unknown:
        raise BadSample(f"the model has no output {_names(unknown)}; it has {_names(names)}")
    return list(wanted)


def _names(names: Any) -> str:
    return ", ".join(f"'{n}'" for n in names) or "none"
