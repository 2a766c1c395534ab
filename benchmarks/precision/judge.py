"""How far a file's answers lie from the float file's: FLOAT.tflite FILE.tflite TEST.npz. Prints JSON.

Quantized outputs are compared as the numbers they stand for. SQNR is 10 log10(sum of squares / sum of squared errors),
over all samples.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

Array = np.ndarray[Any, Any]


def _interpreter(path: Path, *, xnnpack: bool) -> Any:
    kind = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), num_threads=1, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    return interpreter


def answers(path: Path, samples: Sequence[dict[str, Array]], *, xnnpack: bool = True) -> list[dict[str, Array]]:
    """The outputs for each sample, as real numbers."""
    runner = Interpreter(model_path=str(path)).get_signature_runner("serving_default")  # it holds views of its tensors
    ins, outs = runner.get_input_details(), runner.get_output_details()
    found: list[dict[str, Array]] = []
    interpreter = _interpreter(path, xnnpack=xnnpack)
    for sample in samples:
        feeds = {name: _stored(array, ins[name]) for name, array in sample.items()}
        for name, feed in feeds.items():
            interpreter.set_tensor(ins[name]["index"], feed)
        interpreter.invoke()
        found.append({name: _real(interpreter.get_tensor(facts["index"]), facts) for name, facts in outs.items()})
    return found


def _stored(array: Array, facts: dict[str, Any]) -> Array:
    scale, zero = facts["quantization"]
    if not scale or facts["dtype"] == np.float32:
        return array.astype(facts["dtype"])
    info = np.iinfo(facts["dtype"])
    return np.clip(np.rint(array / scale) + zero, info.min, info.max).astype(facts["dtype"])


def _real(array: Array, facts: dict[str, Any]) -> Array:
    scale, zero = facts["quantization"]
    return (array.astype(np.float64) - zero) * scale if scale else array.astype(np.float64)


def _figures(wanted: Sequence[Array], found: Sequence[Array]) -> dict[str, float | None]:
    a, b = np.stack(wanted), np.stack(found)
    error, signal = float(np.sum((a - b) ** 2)), float(np.sum(a**2))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    classes = a.ndim >= 3 and 2 <= a.shape[2] <= 4096  # [sample, batch, classes, ...]
    return {
        "sqnr": None if error == 0 else float(10 * np.log10(max(signal, 1e-30) / error)),
        "cosine": float(np.sum(a * b)) / norms if norms else float(error == 0),
        "argmax": float(np.mean(a.argmax(2) == b.argmax(2))) if classes else None,
        "finite": float(np.isfinite(b).all()),
    }


def judge(reference: Path, file: Path, samples: Sequence[dict[str, Array]]) -> dict[str, Any]:
    """Figures per output; `plain` without XNNPACK, on the first samples."""
    wanted, found = answers(reference, samples), answers(file, samples)
    outputs = {name: _figures([w[name] for w in wanted], [f[name] for f in found]) for name in wanted[0]}
    few = samples[:2]
    plain = answers(file, few, xnnpack=False)
    alike = {name: _figures([w[name] for w in wanted[:2]], [p[name] for p in plain]) for name in wanted[0]}
    return {"outputs": outputs, "plain": alike}


def main(reference: str, file: str, test: str) -> None:
    with np.load(test) as arrays:
        held = {name: arrays[name] for name in arrays.files}
    samples = [{name: array[i] for name, array in held.items()} for i in range(len(next(iter(held.values()))))]
    print(json.dumps(judge(Path(reference), Path(file), samples)))


if __name__ == "__main__":
    main(*sys.argv[1:])
