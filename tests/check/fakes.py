"""A session made of a function, to plant faults with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fidelite.runtime.protocol import Array, Arrays, Port, check_feeds, pick


class FakeSession:
    """`function` maps feeds to outputs. Counts its runs, and how many sessions are open."""

    open_now = 0

    def __init__(
        self,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        function: Callable[[Arrays], Mapping[str, Array]],
        runtime: str = "Fake",
    ) -> None:
        assert FakeSession.open_now == 0, "two sessions are alive at once"
        FakeSession.open_now += 1
        self.runtime = runtime
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.function = function

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        check_feeds(self.inputs, feeds, self.runtime)
        found = self.function(feeds)
        return {name: found[name] for name in pick(self.outputs, outputs)}

    def close(self) -> None:
        FakeSession.open_now -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
