"""Quantize with Google's quantizer, in its own environment: FLOAT.tflite RECIPE CALIBRATION.npz|- OUT.tflite"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from litert_quantizer import quantizer, recipe


def _samples(path: str) -> Iterator[dict[str, Any]]:
    with np.load(path) as arrays:
        held = {name: arrays[name] for name in arrays.files}
    for index in range(len(next(iter(held.values())))):
        yield {name: array[index] for name, array in held.items()}


def main(model: str, recipe_name: str, calibration: str, target: str) -> None:
    tool = quantizer.Quantizer(model, getattr(recipe, recipe_name)())
    ranges = None
    if tool.need_calibration:
        ranges = tool.calibrate({"serving_default": _samples(calibration)}, num_threads=1)
    tool.quantize(ranges).export_model(target, overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
