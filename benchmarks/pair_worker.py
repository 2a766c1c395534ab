"""Time two `.tflite` files in turns, one thread each: OURS THEIRS PAIRS SECONDS SEED. Prints JSON.

Which of the two goes first is drawn for each pair, so that neither always finds the other's data in the caches.
Only `invoke` is timed. Both get the same seeded input; how far their results lie apart is said as well.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

WARM_UP = 3


def _edge(details: list[dict[str, Any]]) -> list[list[int]]:
    return [[int(d) for d in one["shape"]] for one in details]


def _load(path: str, feeds: list[np.ndarray[Any, Any]]) -> Any:
    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    for details, feed in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(details["index"], feed)
    return interpreter


def _feeds(path: str, seed: int) -> list[np.ndarray[Any, Any]]:
    """Smooth values for tensors that may be pictures: a random walk along the last axis but one, deviation 1."""
    numbers = np.random.default_rng(seed)
    feeds: list[np.ndarray[Any, Any]] = []
    inputs: list[Any] = Interpreter(model_path=path).get_input_details()
    for details in inputs:
        values = np.cumsum(numbers.standard_normal(details["shape"]), axis=-2)
        feeds.append(((values - values.mean()) / values.std()).astype(details["dtype"]))
    return feeds


def _seconds(interpreter: Any) -> float:
    start = time.perf_counter()
    interpreter.invoke()
    return time.perf_counter() - start


def _difference(pair: list[Any]) -> list[float]:
    """Per output: the largest difference over the largest magnitude."""
    values = [[i.get_tensor(d["index"]) for d in i.get_output_details()] for i in pair]
    return [float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in zip(*values, strict=True)]


def main(ours: str, theirs: str, pairs: int, seconds: float, seed: int) -> None:
    feeds = _feeds(ours, seed)
    pair = [_load(path, feeds) for path in (ours, theirs)]
    edges = [[_edge(i.get_input_details()), _edge(i.get_output_details())] for i in pair]
    if edges[0] != edges[1]:
        words = [" to ".join(", ".join("x".join(map(str, s)) for s in side) for side in edge) for edge in edges]
        print(json.dumps({"reason": f"it has another edge: {words[1]} instead of {words[0]}"}))
        return
    for _ in range(WARM_UP):
        for interpreter in pair:
            interpreter.invoke()
    difference = _difference(pair)
    draw = random.Random(seed)
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while len(times[0]) < pairs and (len(times[0]) < 10 or time.perf_counter() < end):
        for which in draw.choice(((0, 1), (1, 0))):
            times[which].append(_seconds(pair[which]))
    print(json.dumps({"ours": times[0], "theirs": times[1], "difference": difference}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
