"""The least that a converter must do: read the weights, put the convolutions' into LiteRT's axis order, write them.

    python floor.py MODEL.onnx OUT

Its CPU time and memory are the floor beside which fidelite's are judged.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx_ir


def main(source: str, target: str) -> None:
    model = onnx_ir.load(source)
    with Path(target).open("wb") as stream:
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None:
                raise SystemExit(f"'{value.name}' has no content")
            array = tensor.numpy()
            if array.ndim == 4:
                array = array.transpose(0, 2, 3, 1)
            stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


if __name__ == "__main__":
    main(*sys.argv[1:])
