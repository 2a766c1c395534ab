"""Run and measure a `.tflite` on a device with LiteRT's `benchmark_model`.

Its flags, as its source has them: `--input_layer` (names; those that differ from the model's only warn),
`--input_layer_shape`, `--input_layer_value_files` (raw bytes per input), `--output_filepath` (the raw bytes of all
outputs one after the other, after the last run).
"""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from fidelite.check.proof import port_of
from fidelite.errors import NeedsStaticShape, RuntimeCrash, UsageError
from fidelite.phone.adb import Device
from fidelite.runtime.protocol import Array, Arrays, Port, check_feeds, dtype_of, pick
from fidelite.source.tflite_file import read_tflite

ROOM = "/data/local/tmp"
TOOL = f"{ROOM}/benchmark_model"
_DOWNLOAD = ("get benchmark_model for Android (LiteRT's documentation, page Performance measurement, has it), then:\n"
             "fidelite benchmark OUT.tflite --adb --adb-benchmark-model FILE")
_COUNTS = re.compile(r"count=(\d+)(.*)")
_TIMES = re.compile(r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+)")
_MEMORY = re.compile(r"Overall peak memory footprint \(MB\) via periodic monitoring: ([\d.e+]+)")


@dataclass(frozen=True, slots=True)
class Figures:
    """What `benchmark_model` measured on a device. Seconds, bytes; None where this build of it does not tell."""

    path: Path
    device: str
    runs: int
    mean: float
    least: float
    most: float
    median: float | None
    p95: float | None
    load: float
    first: float
    peak_memory: int | None

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "device": self.device, "runs": self.runs, "mean_seconds": self.mean,
                "min_seconds": self.least, "max_seconds": self.most, "median_seconds": self.median,
                "p95_seconds": self.p95, "load_seconds": self.load, "first_seconds": self.first,
                "peak_memory_bytes": self.peak_memory}


class Phone:
    """A device with `benchmark_model` on it, and a folder of its own there that goes when it is closed.

    `tool` is a build of `benchmark_model` for the device to push; by default one lies there already. Raises what
    `Device` does, and UsageError (F225) where there is no tool.
    """

    def __init__(self, serial: str = "", tool: Path | None = None) -> None:
        if tool is not None and not tool.is_file():
            raise UsageError(f"there is no file '{tool}'", code="F225", remedy=_DOWNLOAD)
        self.device = Device(serial)
        self.name = self.device.describe()
        self.folder = f"{ROOM}/fidelite-{uuid.uuid4().hex[:12]}"
        self._tool = TOOL
        if tool is None and self.device.shell("ls", TOOL).returncode != 0:
            raise UsageError(f"there is no {TOOL} on {self.name}", code="F225", remedy=_DOWNLOAD)
        self._make()
        if tool is not None:
            self._tool = f"{self.folder}/benchmark_model"
            self.device.push(tool, self._tool)
            self.device.shell("chmod", "755", self._tool)

    def _make(self) -> None:
        if self.device.shell("mkdir", "-p", self.folder).returncode != 0:
            raise RuntimeCrash(f"{self.folder} cannot be made on {self.name}", code="F540", remedy="adb shell df")

    def run(self, *flags: str) -> str:
        """The tool's output. Raises RuntimeCrash (F540) where it fails."""
        done = self.device.shell(self._tool, *flags)
        text = done.stdout + done.stderr
        if done.returncode != 0:
            raise RuntimeCrash(f"benchmark_model failed on {self.name} (exit code {done.returncode}): "
                               f"{' '.join(text.split())[-600:]}", code="F540",
                               remedy="fidelite verify MODEL OUT.tflite", details={"exit_code": done.returncode})
        return text

    def put(self, file: Path, name: str) -> str:
        target = f"{self.folder}/{name}"
        self.device.push(file, target)
        return target

    def measure(self, model: Path, *, threads: int = 1, runs: int = 20) -> Figures:
        """Latency of `model` on inputs that the tool makes up. Open dimensions are its own affair."""
        graph = self.put(model, "model.tflite")
        text = self.run(f"--graph={graph}", f"--num_threads={threads}", f"--num_runs={runs}", "--warmup_runs=3",
                        "--report_peak_memory_footprint=true")
        return parse(text, model, self.name)

    def close(self) -> None:
        self.device.shell("rm", "-rf", self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def parse(text: str, model: Path, device: str) -> Figures:
    """What `benchmark_model` prints; times in microseconds. Raises RuntimeCrash (F540) where that is something else."""
    counts, times, memory = _COUNTS.findall(text), _TIMES.search(text), _MEMORY.search(text)
    values = dict(re.findall(r"(\w+)=([\d.e+]+)", counts[-1][1])) if counts else {}
    if times is None or not {"avg", "min", "max"} <= set(values):
        raise RuntimeCrash(f"benchmark_model on {device} printed no figures: {' '.join(text.split())[-400:]}",
                           code="F540", remedy=_DOWNLOAD)
    seconds = {name: float(value) * 1e-6 for name, value in values.items()}
    return Figures(model, device, int(counts[-1][0]), seconds["avg"], seconds["min"], seconds["max"],
                   seconds.get("median"), seconds.get("p95"), float(times[1]) * 1e-6, float(times[2]) * 1e-6,
                   int(float(memory[1]) * 1e6) if memory else None)


class PhoneSession:
    """A `.tflite` on a device, one start of `benchmark_model` for each run: state between runs does not show.

    Raises NeedsStaticShape (F450) for open output dimensions, whose sizes the raw bytes do not tell.
    """

    def __init__(self, phone: Phone, model: Path) -> None:
        main = read_tflite(model).main
        if open_ := [t.name for t in main.outputs if not t.is_static]:
            raise NeedsStaticShape(f"the output '{open_[0]}' has open dimensions, and a device gives its bytes alone",
                                   remedy="convert with fixed sizes: --shape NAME=1,3,512,512")
        self._phone, self._graph = phone, phone.put(model, "model.tflite")
        self._inputs, self._outputs = ([port_of(t) for t in ports] for ports in (main.inputs, main.outputs))
        self.runtime = f"LiteRT on {phone.name}"

    @property
    def inputs(self) -> tuple[Port, ...]:
        return tuple(self._inputs)

    @property
    def outputs(self) -> tuple[Port, ...]:
        return tuple(self._outputs)

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """See `Session.run`."""
        check_feeds(self._inputs, feeds, self.runtime)
        names = pick(self._outputs, outputs)
        with tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True) as scratch:
            files: list[str] = []
            for i, port in enumerate(self._inputs):
                local = Path(scratch) / f"in{i}.bin"
                local.write_bytes(np.ascontiguousarray(feeds[port.name]).tobytes())
                files.append(self._phone.put(local, local.name))
            content = self._invoke(files, [feeds[p.name].shape for p in self._inputs], Path(scratch) / "out.bin")
        found = self._split(content)
        return {name: found[name] for name in names}

    def _invoke(self, files: Sequence[str], shapes: Sequence[tuple[int, ...]], local: Path) -> bytes:
        target = f"{self._phone.folder}/out.bin"
        self._phone.device.shell("rm", "-f", target)
        layers = [f"in{i}" for i in range(len(files))]
        flags = [f"--input_layer={','.join(layers)}",
                 f"--input_layer_shape={':'.join(','.join(str(d) for d in s) for s in shapes)}",
                 f"--input_layer_value_files={','.join(f'{n}:{f}' for n, f in zip(layers, files, strict=True))}"]
        self._phone.run(f"--graph={self._graph}", *(flags if files else ()), f"--output_filepath={target}",
                        "--num_runs=1", "--warmup_runs=0", "--warmup_min_secs=0", "--min_secs=0")
        if self._phone.device.shell("ls", target).returncode != 0:
            raise UsageError("this benchmark_model wrote no outputs: it is older than --output_filepath", code="F225",
                             remedy=_DOWNLOAD)
        self._phone.device.pull(target, local)
        return local.read_bytes()

    def _split(self, content: bytes) -> dict[str, Array]:
        found: dict[str, Array] = {}
        begin = 0
        for port in self._outputs:
            dtype, shape = dtype_of(port.dtype), [d for d in port.shape if isinstance(d, int)]
            size = int(np.prod(shape)) * dtype.itemsize
            if begin + size > len(content):
                break
            found[port.name] = np.frombuffer(content, dtype, int(np.prod(shape)), begin).reshape(shape)
            begin += size
        if len(found) != len(self._outputs) or begin != len(content):
            raise RuntimeCrash(f"benchmark_model wrote {len(content)} bytes, and the outputs have another number",
                               code="F540", remedy=_DOWNLOAD)
        return found

    def close(self) -> None:
        """The folder on the device is the phone's to remove."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
