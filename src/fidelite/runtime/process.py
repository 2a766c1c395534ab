"""The worker as its owner sees it: started when needed, watched by a clock, its death a `RuntimeCrash`."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fidelite.errors import MissingExtra, RuntimeCrash
from fidelite.runtime.frames import BrokenFrame, read_frame, write_frame
from fidelite.runtime.protocol import Array

_WINDOWS_EXITS = {
    0xC0000005: "an access violation",
    0xC00000FD: "a stack overflow",
    0xC0000094: "an integer division by zero",
    0xC0000374: "a damaged heap",
    0xC0000409: "an abort",
    3: "an abort",
}
_STDERR_LINES = 40
_PIPE_BYTES = 1 << 20
"""Of the pipes, where the system lets one choose: the more, the fewer changes between the processes."""


class Worker:
    """A process that runs LiteRT. It starts at the first request, and anew after it died.

    One worker may serve many sessions, one after the other or at once: give it to `LiteRtSession(worker=...)`
    where many small models are run, which saves starting a process for each. `timeout` is in seconds and
    holds for each request; None waits for ever. `runtime` is a name for messages, `module` what the process runs.
    """

    def __init__(self, runtime: str = "LiteRT", *, timeout: float | None = 600.0,
                 module: str = "fidelite.runtime.worker") -> None:
        self.runtime = runtime
        self.timeout = timeout
        self.module = module
        self.generation = 0
        """Counts the processes started; what a dead one had loaded is gone."""
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
        self._drain: threading.Thread | None = None
        self._lock = threading.Lock()
        self._dropped: collections.deque[tuple[int, int]] = collections.deque()

    def request(
        self,
        header: dict[str, Any],
        arrays: Sequence[Array] = (),
        *,
        doing: str,
        generation: int | None = None,
    ) -> tuple[dict[str, Any], list[Array]]:
        """One question, one answer. `doing` completes "LiteRT died while ...".

        With `generation`, only the process of that number will do. Raises `RuntimeCrash`, `MissingExtra`.
        """
        with self._lock:
            if generation is not None and (self._process is None or generation != self.generation):
                raise self._crash("gone", f"had ended before it came to {doing}.")
            process = self._process or self._start()
            header = header | {"drop": self._pending()}
            answer, results = self._exchange(process, header, arrays, doing)
        if not answer["ok"]:
            if answer["kind"] == "missing":
                module = str(answer["module"]).partition(".")[0] or "ai_edge_litert"
                raise MissingExtra(
                    f"the worker cannot import '{module}': {answer['error']}",
                    remedy=f'"{sys.executable}" -m pip install {module.replace("_", "-")}',
                )
            raise self._crash("refused", f"refused when {doing}: {_clean(answer['error'])}")
        return answer, results

    def release(self, handle: int, generation: int) -> None:
        """Free a model now, if its process still lives."""
        try:
            request = {"do": "unload", "handle": handle}
            self.request(request, doing="closing a model", generation=generation)
        except RuntimeCrash:
            pass  # what it gave has been delivered; the next request starts anew

    def forget(self, handle: int, generation: int) -> None:
        """Free a model with the next request. Waits for nothing, so that `__del__` may call it."""
        self._dropped.append((handle, generation))

    def _pending(self) -> list[int]:
        dropped = [self._dropped.popleft() for _ in range(len(self._dropped))]
        return [handle for handle, generation in dropped if generation == self.generation]

    def _exchange(
        self, process: subprocess.Popen[bytes], header: dict[str, Any], arrays: Sequence[Array], doing: str
    ) -> tuple[dict[str, Any], list[Array]]:
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        clock = threading.Timer(self.timeout, stop) if self.timeout is not None else None
        if clock:
            clock.daemon = True
            clock.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            write_frame(process.stdin, header, arrays)
            frame = read_frame(process.stdout)
        except (OSError, BrokenFrame):
            frame = None
        except BaseException:  # an interrupt in the middle of a frame: the pipe is of no more use
            self._end()
            raise
        finally:
            if clock:
                clock.cancel()
        if frame is None:
            raise self._obituary(process, late.is_set(), doing)
        return frame

    def _start(self) -> subprocess.Popen[bytes]:
        if not sys.executable:
            raise self._crash("start", "needs a process of its own, but this Python does not know its path.")
        package = Path(__file__).resolve().parents[2]
        environment = dict(os.environ) | {"PYTHONIOENCODING": "utf-8:backslashreplace"}
        if package.name not in ("site-packages", "dist-packages"):
            known = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = os.pathsep.join([str(package), *([known] if known else [])])
        hidden = 0x08000000 if sys.platform == "win32" else 0  # CREATE_NO_WINDOW
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", self.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                creationflags=hidden,
                pipesize=_PIPE_BYTES,
            )
        except OSError as error:
            raise self._crash("start", f"needs a process of its own, which cannot be started: {error}") from error
        self._process, self.generation = process, self.generation + 1
        self._errors = collections.deque(maxlen=_STDERR_LINES)
        self._drain = threading.Thread(target=_collect, args=(process, self._errors), daemon=True)
        self._drain.start()
        return process

    def _obituary(self, process: subprocess.Popen[bytes], late: bool, doing: str) -> RuntimeCrash:
        """What there is to say about a process that no longer answers."""
        self._end(grace=5.0)
        said = "\n".join(line for line in self._errors if not line.startswith("INFO:"))
        if late:
            reason, how = f"was stopped after {self.timeout:g} seconds of {doing}.", "timeout"
        else:
            reason, how = f"died {_cause(process.returncode)} while {doing}.", "died"
        if said:
            reason += f" It said: {_clean(said)}"
        return self._crash(how, reason, exit_code=process.returncode, stderr=said)

    def _crash(self, how: str, reason: str, **details: Any) -> RuntimeCrash:
        return RuntimeCrash(f"{self.runtime} {reason}", details={"runtime": self.runtime, "how": how} | details)

    def _end(self, grace: float = 0.0) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if process.stdin is not None:
                process.stdin.close()
        except OSError:
            pass
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._drain is not None:
            self._drain.join(5.0)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def close(self) -> None:
        """End the process. The worker may be used again: it starts anew."""
        with self._lock:
            self._end(grace=5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None and not sys.is_finalizing():
            self._end()


def _collect(process: subprocess.Popen[bytes], lines: collections.deque[str]) -> None:
    """Keep the last lines that the worker writes to standard error."""
    assert process.stderr is not None
    for line in process.stderr:
        text = line.decode("utf-8", "backslashreplace").rstrip()
        if text:
            lines.append(text)


def _cause(code: int) -> str:
    """How a process ended: the signal's name, or the exit code."""
    if code < 0:
        try:
            return f"of {signal.Signals(-code).name}"
        except ValueError:
            return f"of signal {-code}"
    unsigned = code & 0xFFFFFFFF
    if sys.platform == "win32" and unsigned in _WINDOWS_EXITS:
        return f"of {_WINDOWS_EXITS[unsigned]} (exit code {unsigned:#x})"
    return f"with exit code {code}"


def _clean(text: str, limit: int = 600) -> str:
    """The message on one line, its end kept where it is long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else "... " + flat[-limit:]
