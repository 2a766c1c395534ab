"""The work folder: environments, commands run in them, and what a command used."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_WORK = ROOT / "benchmarks" / ".work"
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Unavailable(Exception):
    """Something that could not be installed, converted or measured. The message is the reason, fit to publish."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command and its descendants used: seconds, bytes."""

    cpu: float
    wall: float
    largest_process: int
    tree: int | None

    @property
    def peak(self) -> int:
        """The most memory that was resident at once, as far as the system tells."""
        return max(self.largest_process, self.tree or 0)

    def to_json(self) -> dict[str, float | int | None]:
        return {"cpu": self.cpu, "wall": self.wall, "largest_process": self.largest_process, "tree": self.tree,
                "peak": self.peak}


def median_usage(usages: Sequence[Usage]) -> dict[str, float]:
    return {"cpu": statistics.median(u.cpu for u in usages), "wall": statistics.median(u.wall for u in usages),
            "peak": statistics.median(u.peak for u in usages)}


def publishable(text: str) -> str:
    """Text of a tool without colours, addresses and paths of this machine."""
    text = _COLOUR.sub("", text).replace(str(ROOT), ".").replace(str(Path.home()), "~")
    text = re.sub(r"https?://\S+", "(address)", text)
    return re.sub(r"(?<![\w.~])/(?:[\w.+-]+/)+", "", text)


def last_words(log: Path, limit: int = 300) -> str:
    """The line of a log that says what went wrong, as well as can be told."""
    lines = [publishable(line).strip() for line in re.split(r"[\r\n]+", log.read_text("utf-8", "replace"))]
    lines = [line for line in lines if line]
    telling = [line for line in lines if re.match(r"(ERROR|error|\[F\d+\]|[\w.]*(Error|Exception))\b", line)]
    return (telling or lines or ["it said nothing"])[-1][:limit]


def environment_of(extra: Mapping[str, str] | None = None, first_on_path: Path | None = None) -> dict[str, str]:
    """This process's environment without what would leak packages or threads into a measured one."""
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    if first_on_path is not None:
        variables["PATH"] = f"{first_on_path}{os.pathsep}{variables.get('PATH', '')}"
    return variables | dict(extra or {})


def measured(command: Sequence[str | Path], scratch: Path, *, name: str, env: Mapping[str, str] | None = None,
             cwd: Path = ROOT, timeout: float = 900.0) -> Usage:
    """Run a command and say what it used. Raises Unavailable where it fails, or where the system cannot tell."""
    if not hasattr(os, "wait4"):
        raise Unavailable("this system does not tell what a process used (no wait4)")
    scratch.mkdir(parents=True, exist_ok=True)
    result, log = scratch / f"{name}.usage.json", scratch / f"{name}.log"
    result.unlink(missing_ok=True)
    launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("spawn.py"))]
    subprocess.run([*launcher, str(result), str(timeout), str(log), *map(str, command)], cwd=cwd,
                   env=dict(env or environment_of()), check=True)
    found = json.loads(result.read_text("utf-8"))
    if found["exit"] != 0:
        raise Unavailable(f"exit code {found['exit']}: {last_words(log)}")
    return Usage(found["cpu"], found["wall"], found["largest_process"], found["tree"])


def logged(command: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None,
           cwd: Path = ROOT, timeout: float = 3600.0) -> None:
    """Run a command with its output in a file. Raises Unavailable where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        try:
            done = subprocess.run(list(map(str, command)), cwd=cwd, env=dict(env or environment_of()),
                                  stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                                  timeout=timeout, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(publishable(str(error))) from error
    if done.returncode != 0:
        raise Unavailable(f"exit code {done.returncode}: {last_words(log)}")


def _runs(python: str, version: str) -> bool:
    code = f"import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_python(version: str) -> str | None:
    """An interpreter of that version (`3.12`): this one, one on the PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [sys.executable, shutil.which(f"python{version}"),
                  *map(str, sorted(pyenv.glob(f"{version}*/bin/python"), reverse=True))]
    return next((python for python in candidates if python and _runs(python, version)), None)


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that holds just what it is asked to."""

    folder: Path
    requirements: tuple[str, ...]
    pythons: tuple[str, ...]
    """Versions it may have, the preferred one first."""
    constraints: Path | None = None

    @property
    def scripts(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        return self.scripts / ("python.exe" if os.name == "nt" else "python")

    def make(self) -> None:
        """Make it, unless it is there already with the same content. Raises Unavailable."""
        stamp = self.folder / "made.json"
        fixed = "" if self.constraints is None else self.constraints.read_text("utf-8")
        wanted = json.dumps([self.requirements, fixed])
        if stamp.is_file() and stamp.read_text("utf-8") == wanted:
            return
        python = next((found for version in self.pythons if (found := find_python(version))), None)
        if python is None:
            raise Unavailable(f"it needs Python {' or '.join(self.pythons)}, and none was found")
        log = self.folder.with_suffix(".log")
        logged([python, "-m", "venv", "--clear", self.folder], log)
        self.pip_install(*self.requirements)
        stamp.write_text(wanted, "utf-8")

    def pip_install(self, *what: str) -> None:
        """Install into it. Raises Unavailable."""
        constraints = () if self.constraints is None else ("-c", self.constraints)
        logged([self.python, "-m", "pip", "install", "--disable-pip-version-check", *constraints, *what],
               self.folder.with_suffix(".log"))


def this_version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"
