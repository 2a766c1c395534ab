"""Runs one command and says what it used: python -I -S spawn.py RESULT.json TIMEOUT LOG COMMAND...

A program of its own that imports next to nothing, because Linux counts the memory of the process that starts a
command as the command's own (its peak survives `exec`). CPU time and the largest process come from `wait4`, which
covers the command and all its descendants that were waited for. Where there is /proc, the resident memory of the
whole tree is also summed every 20 ms; pages that two processes share then count twice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

INTERVAL = 0.02


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (OSError, ValueError):
        pass  # it ended meanwhile
    return found


def _resident(pid: int, page: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
    except (OSError, ValueError, IndexError):
        return 0


def tree_resident(pid: int, page: int) -> int:
    """Resident bytes of a process and its descendants."""
    waiting, seen = [pid], 0
    while waiting:
        one = waiting.pop()
        seen += _resident(one, page)
        waiting += _children(one)
    return seen


class _Sampler(threading.Thread):
    """The largest sum of the tree's resident memory; None where the system has no /proc."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.done, self.peak = pid, threading.Event(), 0
        self.works = Path("/proc/self/statm").exists()

    def run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE") if self.works else 0
        while self.works and not self.done.wait(INTERVAL):
            self.peak = max(self.peak, tree_resident(self.pid, page))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the command's own process group, which bears its number."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main() -> None:
    result, timeout, log, *command = sys.argv[1:]
    with open(log, "wb") as stream:  # noqa: PTH123
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        sampler = _Sampler(process.pid)
        sampler.start()
        timer = threading.Timer(float(timeout), _stop, [process])
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        timer.cancel()
        sampler.done.set()
        sampler.join()
    scale = 1 if sys.platform == "darwin" else 1024
    Path(result).write_text(json.dumps({
        "exit": os.waitstatus_to_exitcode(status),
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "largest_process": usage.ru_maxrss * scale,
        "tree": sampler.peak if sampler.works else None,
    }), "utf-8")


if __name__ == "__main__":
    main()
