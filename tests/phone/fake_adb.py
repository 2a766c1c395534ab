"""Stands in for `adb` and for a device with `benchmark_model`: a folder is the device's /data/local/tmp, and LiteRT
runs for real on what was pushed, with benchmark_model's flags. FAKE_DEVICE names the folder, FAKE_DEVICES what
`devices` lists, FAKE_FAULT what goes wrong."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOM = "/data/local/tmp"
FOLDER = Path(os.environ["FAKE_DEVICE"])


def here(path: str) -> Path:
    assert path.startswith(ROOM), path
    return FOLDER / path[len(ROOM):].lstrip("/")


def shell(words: list[str]) -> int:
    name, *rest = words
    if name == "getprop":
        print({"ro.product.manufacturer": "Stand-in", "ro.product.model": "Folder"}.get(rest[0], "14"))
    elif name == "ls":
        return 0 if here(rest[0]).exists() else 1
    elif name == "mkdir":
        here(rest[-1]).mkdir(parents=True, exist_ok=True)
    elif name == "rm":
        target = here(rest[-1])
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    elif name == "chmod":
        assert here(rest[-1]).is_file()
    elif name.endswith("benchmark_model"):
        if not here(name).is_file():
            print(f"sh: {name}: not found", file=sys.stderr)
            return 127
        return benchmark(dict(word.lstrip("-").split("=", 1) for word in rest))
    else:
        raise AssertionError(words)
    return 0


def benchmark(flags: dict[str, str]) -> int:
    from ai_edge_litert.interpreter import Interpreter

    known = {"graph", "num_threads", "num_runs", "warmup_runs", "warmup_min_secs", "min_secs", "input_layer",
             "input_layer_shape", "input_layer_value_files", "output_filepath", "report_peak_memory_footprint"}
    assert set(flags) <= known, set(flags) - known
    model: Any = Interpreter(model_path=str(here(flags["graph"])))
    inputs = model.get_input_details()
    layers = flags.get("input_layer", "").split(",")
    if "input_layer" in flags:
        for details, shape in zip(inputs, flags["input_layer_shape"].split(":"), strict=True):
            model.resize_tensor_input(details["index"], [int(d) for d in shape.split(",") if d])
    model.allocate_tensors()
    files = dict(pair.split(":") for pair in flags.get("input_layer_value_files", "").split(",") if pair)
    assert set(files) == (set(layers) if files else set())
    for name, details in zip(layers, model.get_input_details(), strict=False):
        if name in files:
            raw = np.frombuffer(here(files[name]).read_bytes(), details["dtype"])
            model.set_tensor(details["index"], raw.reshape(details["shape"]))
    model.invoke()
    if os.environ.get("FAKE_FAULT") == "dies":
        print("ERROR: Failed to apply the default TensorFlow Lite delegate", file=sys.stderr)
        return 1
    if "output_filepath" in flags and os.environ.get("FAKE_FAULT") != "old":
        content = b"".join(np.ascontiguousarray(model.get_tensor(o["index"])).tobytes()
                           for o in model.get_output_details())
        if os.environ.get("FAKE_FAULT") == "wrong":
            content = np.full(len(content) // 4, 1.5, np.float32).tobytes()
        here(flags["output_filepath"]).write_bytes(content[:-4] if os.environ.get("FAKE_FAULT") == "cut" else content)
    print("INFO: STARTING!\nINFO: Loaded model")
    print("INFO: count=3 first=5000 curr=4000 min=3900 max=5000 avg=4300 std=400")
    print(f"INFO: count={flags['num_runs']} first=2100 curr=2000 min=1900 max=3.1e+03 avg=2.05e+03 std=90 p5=1910 "
          "median=2010 p95=2900\n")
    print("INFO: Inference timings in us: Init: 12000, First inference: 5000, Warmup (avg): 4300, "
          "Inference (avg): 2.05e+03")
    print("INFO: Overall peak memory footprint (MB) via periodic monitoring: 33.5")
    return 0


def main(words: list[str]) -> int:
    if words == ["devices"]:
        print("List of devices attached\n" + os.environ.get("FAKE_DEVICES", "one\tdevice").replace(";", "\n") + "\n")
        return 0
    assert words[0] == "-s"
    serial, verb, *rest = words[1:]
    assert serial
    if verb == "push":
        if not here(rest[1]).parent.is_dir():
            print("adb: error: failed to copy: remote couldn't create file: No such file or directory", file=sys.stderr)
            return 1
        shutil.copyfile(rest[0], here(rest[1]))
        print("1 file pushed")
    elif verb == "pull":
        shutil.copyfile(here(rest[0]), rest[1])
    else:
        assert verb == "shell"
        return shell(shlex.split(" ".join(rest)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
