"""The process that TensorFlow runs in: `python -m fidelite.saving.worker`, spoken to as LiteRT's is.

Requests: build (a `.tflite` to a SavedModel), load, run, unload, reconvert (a SavedModel to a `.tflite`, with
TensorFlow's own converter). Nothing else imports TensorFlow.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from fidelite.runtime.protocol import Array
from fidelite.runtime.worker import Answer, main

SIGNATURE = "serving_default"


def serve(hosts: dict[int, Any], header: dict[str, Any], arrays: list[Array]) -> Answer:
    """One request's answer. What TensorFlow refuses is a ValueError with its words."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the proof is of the CPU's numbers
    tf: Any = importlib.import_module("tensorflow")
    tf.get_logger().setLevel("ERROR")
    try:
        return _serve(tf, hosts, header, arrays)
    except tf.errors.OpError as error:
        raise ValueError(str(error.message)) from error


def _serve(tf: Any, hosts: dict[int, Any], header: dict[str, Any], arrays: list[Array]) -> Answer:
    what = header["do"]
    if what == "build":
        return {"ok": True, **_build(tf, Path(header["model"]), Path(header["folder"]))}, []
    if what == "reconvert":
        return {"ok": True, **_reconvert(tf, header["folder"], Path(header["file"]))}, []
    if what == "load":
        handle = 1 + max(hosts, default=0)
        hosts[handle] = _Loaded(tf, header["folder"], header["inputs"])
        return {"ok": True, "handle": handle}, []
    if what == "unload":
        hosts.pop(header["handle"], None)
        return {"ok": True}, []
    return {"ok": True}, hosts[header["handle"]].run(arrays, header["outputs"])


def _build(tf: Any, model: Path, folder: Path) -> dict[str, Any]:
    from fidelite.source.tflite_file import read_tflite
    from fidelite.write.saved_model.build import save

    return {"version": tf.__version__, **save(tf, read_tflite(model), folder)}


class _Loaded:
    """A SavedModel as anybody would load it."""

    def __init__(self, tf: Any, folder: str, inputs: list[str]) -> None:
        self._tf = tf
        self._model = tf.saved_model.load(folder)  # owns the variables
        self._signature = self._model.signatures[SIGNATURE]
        arguments = self._signature.structured_input_signature[1]
        python_names = {spec.name: name for name, spec in arguments.items()}
        self._arguments = [python_names[name] for name in inputs]

    def run(self, arrays: list[Array], outputs: list[str]) -> list[Array]:
        feeds = {name: self._tf.constant(a) for name, a in zip(self._arguments, arrays, strict=True)}
        found = self._signature(**feeds)
        return [found[name].numpy() for name in outputs]


def _reconvert(tf: Any, folder: str, file: Path) -> dict[str, Any]:
    """Through `tf.lite.TFLiteConverter.from_saved_model`, with its defaults. Its refusal is an answer, not an error."""
    if not hasattr(tf, "lite"):
        return {"refused": f"TensorFlow {tf.__version__} has no tf.lite"}
    try:
        file.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE]).convert())
    except _converter_errors(tf) as error:
        return {"refused": str(error).strip() or type(error).__name__}
    return {"refused": ""}


def _converter_errors(tf: Any) -> tuple[type[BaseException], ...]:
    from tensorflow.lite.python import convert_phase  # pyright: ignore

    own: Any = convert_phase
    return (own.ConverterError, tf.errors.OpError, ValueError, RuntimeError, TypeError, NotImplementedError)


if __name__ == "__main__":
    main(serve)
