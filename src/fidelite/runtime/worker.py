"""The process that LiteRT runs in: `python -m fidelite.runtime.worker`, spoken to over its standard streams.

LiteRT aborts and segfaults on bad graphs; here it takes nothing with it. The worker answers requests in order
and ends when its input closes. Whatever a runtime prints goes to standard error, never between the frames.

Requests: load, run, tensors, observe, observed, details, delegated, arena, measure, unload. An answer has "ok"; where
that is false, "kind" is "refused" (the runtime said no, in "error") or "missing" (it is not installed).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

from fidelite.errors import FideliteError
from fidelite.runtime.frames import read_frame, write_frame
from fidelite.runtime.protocol import Array

Answer = tuple[dict[str, Any], list[Array]]
Serve = Callable[[dict[int, Any], dict[str, Any], list[Array]], Answer]
"""From the models at hand, a request and its arrays to an answer."""


class Host(Protocol):
    """A loaded model inside the worker."""

    def describe(self) -> dict[str, Any]: ...

    def feed(self, names: list[str], arrays: list[Array]) -> Callable[[], object]:
        """Set the inputs; the function returned runs the model once."""
        ...

    def fetch(self, names: list[str]) -> list[Array]: ...


def main(serve: Serve | None = None) -> None:
    """Answer requests until the pipe closes, with `serve` or as this module does."""
    source, sink = _streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the owner, who closes the pipe
    warnings.simplefilter("ignore")
    hosts: dict[int, Any] = {}
    while (frame := read_frame(source)) is not None:
        header, arrays = frame
        for handle in header["drop"]:
            hosts.pop(handle, None)
        try:
            answer, results = (serve or _serve)(hosts, header, arrays)
        except ImportError as error:
            answer = {"ok": False, "kind": "missing", "error": str(error), "module": error.name or ""}
            results: list[Array] = []
        except _REFUSALS as error:
            text = error.reason if isinstance(error, FideliteError) else str(error)
            answer, results = {"ok": False, "kind": "refused", "error": text or type(error).__name__}, []
        write_frame(sink, answer, results)


_REFUSALS = (FideliteError, RuntimeError, ValueError, TypeError, KeyError, IndexError, OSError, MemoryError)


def _streams() -> tuple[IO[bytes], IO[bytes]]:
    """The pipe's two ends on descriptors of their own; 0 and 1 then lead to nothing and to standard error."""
    if sys.platform == "win32":
        import msvcrt

        for number in (0, 1):
            msvcrt.setmode(number, os.O_BINARY)
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    sys.stdout = sys.stderr
    return os.fdopen(source, "rb"), os.fdopen(sink, "wb")


def _serve(hosts: dict[int, Any], header: dict[str, Any], arrays: list[Array]) -> Answer:
    what = header["do"]
    if what == "load":
        handle = 1 + max(hosts, default=0)
        importlib.import_module(_LIBRARIES[header["kind"]])
        resting = memory()[0]
        start = time.perf_counter()
        host = _load(header)
        seconds = time.perf_counter() - start
        hosts[handle] = host
        return {"ok": True, "handle": handle, "seconds": seconds, "resting": resting, **host.describe()}, []
    if what == "unload":
        hosts.pop(header["handle"], None)
        return {"ok": True}, []
    host = hosts[header["handle"]]
    if what == "run":
        host.feed(header["inputs"], arrays)()
        return {"ok": True}, host.fetch(header["outputs"])
    if what == "measure":
        return _measure(host, header, arrays), []
    if what == "observe":
        host.feed(header["inputs"], arrays)()
    return host.answer(what, header)


_LIBRARIES = {"litert": "ai_edge_litert.interpreter", "onnx": "onnxruntime", "micro": "tflite_micro"}


def _load(header: dict[str, Any]) -> Host:
    if header["kind"] == "onnx":
        from fidelite.runtime.hosts import OnnxHost

        return OnnxHost(header["path"], header["threads"])
    if header["kind"] == "micro":
        from fidelite.runtime.micro_host import MicroHost

        return MicroHost(header["path"], header["arena"])
    from fidelite.runtime.hosts import LiteRtHost

    return LiteRtHost(header["path"], header["threads"], header["xnnpack"], header["preserve"])


def _measure(host: Host, header: dict[str, Any], arrays: list[Array]) -> dict[str, Any]:
    """Seconds of each run, with the inputs set before the clock starts."""
    names: list[str] = header["inputs"]
    seconds: list[float] = []
    for _ in range(1 + header["warmup"] + header["runs"]):
        invoke = host.feed(names, arrays)
        start = time.perf_counter()
        invoke()
        seconds.append(time.perf_counter() - start)
    return {"ok": True, "first": seconds[0], "seconds": seconds[1 + header["warmup"] :], "peak": memory()[1]}


def memory() -> tuple[int | None, int | None]:
    """Bytes that this process holds in memory now, and held at most; None where the system does not tell.

    On Linux from /proc (getrusage would report the parent's peak, which outlives fork and exec), on macOS the
    peak from getrusage, on Windows both from GetProcessMemoryInfo.
    """
    if sys.platform == "win32":
        return _windows_memory()
    try:
        text = Path("/proc/self/status").read_text("ascii", "replace")
        rows = dict(line.split(":", 1) for line in text.splitlines())
        return int(rows["VmRSS"].split()[0]) * 1024, int(rows["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        if sys.platform != "darwin":
            return None, None
        import resource

        return None, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _windows_memory() -> tuple[int | None, int | None]:
    import ctypes

    class Counters(ctypes.Structure):
        _fields_ = [
            ("size", ctypes.c_uint32),
            ("faults", ctypes.c_uint32),
            ("peak", ctypes.c_size_t),
            ("now", ctypes.c_size_t),
            ("rest", ctypes.c_size_t * 6),
        ]

    counters = Counters()
    counters.size = ctypes.sizeof(Counters)
    kernel: Any = ctypes.windll.kernel32  # pyright: ignore
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    call = kernel.K32GetProcessMemoryInfo
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    if not call(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size):
        return None, None
    return int(counters.now), int(counters.peak)


if __name__ == "__main__":
    main()
