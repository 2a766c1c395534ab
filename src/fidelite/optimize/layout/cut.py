"""A minimum cut, by Dinic's algorithm (E. A. Dinic, 1970): augment along shortest paths, level by level."""

from __future__ import annotations

from collections import deque

INFINITE = float("inf")


class Network:
    """A flow network. `add(u, v, c)` costs `c` when `u` is on the source's side of the cut and `v` is not."""

    SOURCE = 0
    SINK = 1

    def __init__(self) -> None:
        self._edges: list[list[int]] = [[], []]
        self._to: list[int] = []
        self._capacity: list[float] = []

    def node(self) -> int:
        self._edges.append([])
        return len(self._edges) - 1

    def add(self, u: int, v: int, capacity: float) -> None:
        if capacity <= 0 or u == v:
            return
        for start, end, room in ((u, v, capacity), (v, u, 0.0)):
            self._edges[start].append(len(self._to))
            self._to.append(end)
            self._capacity.append(room)

    def add_infinite(self, u: int, v: int) -> None:
        self.add(u, v, INFINITE)

    def source_side(self) -> set[int]:
        """Nodes on the source's side of a minimum cut (the smallest such set)."""
        while (levels := self._levels())[self.SINK] >= 0:
            progress = [0] * len(self._edges)
            while self._augment(levels, progress):
                pass
        return {node for node, level in enumerate(levels) if level >= 0}

    def _levels(self) -> list[int]:
        levels = [-1] * len(self._edges)
        levels[self.SOURCE] = 0
        queue = deque([self.SOURCE])
        while queue:
            node = queue.popleft()
            for edge in self._edges[node]:
                if self._capacity[edge] > 0 and levels[self._to[edge]] < 0:
                    levels[self._to[edge]] = levels[node] + 1
                    queue.append(self._to[edge])
        return levels

    def _augment(self, levels: list[int], progress: list[int]) -> bool:
        """Push flow along one path of rising levels; false where there is none left."""
        path: list[int] = []
        node = self.SOURCE
        while node != self.SINK:
            edges = self._edges[node]
            while progress[node] < len(edges):
                edge = edges[progress[node]]
                if self._capacity[edge] > 0 and levels[self._to[edge]] == levels[node] + 1:
                    path.append(edge)
                    node = self._to[edge]
                    break
                progress[node] += 1
            else:
                if not path:
                    return False
                edge = path.pop()
                node = self._to[edge ^ 1]
                progress[node] += 1
        amount = min(self._capacity[edge] for edge in path)
        if amount == INFINITE:
            raise ArithmeticError("the network has an unbounded path")
        for edge in path:
            self._capacity[edge] -= amount
            self._capacity[edge ^ 1] += amount
        return True
