"""PyTorch on the CPU: where the module itself is at hand, it is the first oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from fidelite.errors import RuntimeCrash
from fidelite.runtime.protocol import Array, Arrays, Port, check_feeds, dtype_of, pick

_FAILURES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AssertionError, AttributeError, ArithmeticError,
             MemoryError)


class TorchSession:
    """A network in PyTorch, in this process.

    Args:
        ask: From tensors, one for each name of `order`, to a tuple of tensors, one for each output.
        order: All that `ask` takes, by name.
        inputs: Which of them are fed; the others are always `fixed[name]`.
        outputs: Names, types and shapes of what comes out, in order.

    `run` raises `RuntimeCrash` with PyTorch's words where the network fails.
    """

    runtime = "PyTorch"

    def __init__(self, ask: Callable[..., Sequence[Any]], order: Sequence[str], inputs: Sequence[Port],
                 outputs: Sequence[Port], fixed: Mapping[str, Any] | None = None) -> None:
        self._ask: Callable[..., Sequence[Any]] | None = ask
        self._order, self._fixed = tuple(order), dict(fixed or {})
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._outputs

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """See `Session.run`."""
        if self._ask is None:
            raise RuntimeCrash("The PyTorch session is closed.")
        check_feeds(self._inputs, feeds, self.runtime)
        names = pick(self._outputs, outputs)
        tensors = [_tensor(feeds[n]) if n in feeds else self._fixed[n] for n in self._order]
        try:
            found = self._ask(*tensors)
        except _FAILURES as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RuntimeCrash(f"PyTorch cannot run the network: {first}",
                               details={"runtime": "PyTorch", "how": "refused"}) from error
        arrays = {p.name: _array(t) for p, t in zip(self._outputs, found, strict=True)}
        return {name: arrays[name] for name in names}

    def close(self) -> None:
        """Let the network go."""
        self._ask = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def port_of(name: str, tensor: Any, open_axes: Mapping[int, str] | None = None) -> Port:
    """A tensor's port, with names for the axes that are open."""
    shape = tuple((open_axes or {}).get(axis, int(size)) for axis, size in enumerate(tensor.shape))
    return Port(name, _dtype_name(tensor.dtype), shape)


def _dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _tensor(array: Array) -> Any:
    """A tensor of its own with the array's values, types of ml_dtypes by their bytes."""
    import torch

    array = np.array(array, order="C", copy=True)
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    bits = torch.from_numpy(array.view(np.dtype(f"uint{8 * array.dtype.itemsize}")))
    return bits.view(getattr(torch, array.dtype.name))


def _array(tensor: Any) -> Array:
    import torch

    tensor = tensor.detach().cpu().contiguous().resolve_conj().resolve_neg()
    dtype = dtype_of(_dtype_name(tensor.dtype))
    if dtype.isbuiltin == 1:
        return tensor.numpy()
    return tensor.view(getattr(torch, f"uint{8 * dtype.itemsize}")).numpy().view(dtype)
