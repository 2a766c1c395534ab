"""`adb`: where it is, which device, and files there and back."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fidelite.errors import MissingExtra, RuntimeCrash, UsageError

_SECONDS = 600.0


def find_adb(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> Path:
    """`adb` on PATH, below ANDROID_HOME or ANDROID_SDK_ROOT, or where Android Studio puts its SDK on Windows, macOS
    and Linux. Raises MissingExtra (F223)."""
    if found := shutil.which("adb", path=environment.get("PATH")):
        return Path(found)
    home = home or Path.home()
    sdks = [Path(environment[name]) for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT") if environment.get(name)]
    if local := environment.get("LOCALAPPDATA"):
        sdks.append(Path(local) / "Android" / "Sdk")
    sdks += [home / "Library" / "Android" / "sdk", home / "Android" / "Sdk"]
    name = "adb.exe" if sys.platform == "win32" else "adb"
    for sdk in sdks:
        if (sdk / "platform-tools" / name).is_file():
            return sdk / "platform-tools" / name
    raise MissingExtra("adb is neither on PATH nor in an Android SDK at its usual places", code="F223",
                       remedy="install Android's platform-tools (Android Studio has them), or set ANDROID_HOME")


class Device:
    """One device. Raises UsageError (F224) unless there is exactly one, or the one with that serial, that is ready."""

    def __init__(self, serial: str = "", adb: Path | None = None) -> None:
        self._adb = adb or find_adb()
        self.serial = _choose(self._run("devices"), serial)

    def shell(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command there; its exit code and what it wrote are the caller's to judge."""
        return self._call("-s", self.serial, "shell", shlex.join(words))

    def push(self, file: Path, target: str) -> None:
        self._run("-s", self.serial, "push", str(file), target)

    def pull(self, source: str, file: Path) -> None:
        self._run("-s", self.serial, "pull", source, str(file))

    def describe(self) -> str:
        """Maker, model and Android's version, as the device tells them."""
        names = ("ro.product.manufacturer", "ro.product.model", "ro.build.version.release")
        maker, model, version = (self.shell("getprop", name).stdout.strip() for name in names)
        return f"{maker} {model}, Android {version}, {self.serial}".strip()

    def _run(self, *words: str) -> str:
        done = self._call(*words)
        if done.returncode != 0:
            said = " ".join((done.stderr or done.stdout).split())
            raise RuntimeCrash(f"'adb {' '.join(words)}' failed: {said[-400:]}", code="F540",
                               remedy="adb kill-server\nadb devices")
        return done.stdout

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        hidden = 0x08000000 if sys.platform == "win32" else 0  # CREATE_NO_WINDOW
        try:
            return subprocess.run([str(self._adb), *words], capture_output=True, text=True, encoding="utf-8",
                                  errors="replace", check=False, timeout=_SECONDS, creationflags=hidden)
        except subprocess.TimeoutExpired as error:
            raise RuntimeCrash(f"'adb {' '.join(words)[:200]}' did not end within {_SECONDS:g} seconds", code="F540",
                               remedy="adb kill-server\nadb devices") from error
        except OSError as error:
            raise MissingExtra(f"'{self._adb}' cannot be started: {error}", code="F223",
                               remedy="install Android's platform-tools anew") from error


def _choose(listing: str, serial: str) -> str:
    """The device to use, from what `adb devices` prints: a line per device, its serial and its state."""
    rows = [line.split() for line in listing.splitlines()[1:] if line.strip() and not line.startswith("*")]
    states = {row[0]: " ".join(row[1:]) for row in rows}
    told = ", ".join(f"{name} ({state})" for name, state in states.items()) or "none"
    details = {"devices": states}
    if serial and serial not in states:
        raise UsageError(f"there is no device '{serial}'; adb sees: {told}", code="F224", remedy="adb devices",
                         details=details)
    if not states:
        raise UsageError("adb sees no device", code="F224", details=details,
                         remedy="connect one and turn on its USB debugging (developer options), then: adb devices")
    ready = [name for name, state in states.items() if state == "device"]
    if (serial and serial not in ready) or not ready:
        raise UsageError(f"the device is not ready; adb sees: {told}", code="F224", details=details,
                         remedy="unauthorized: confirm on the device that this computer may debug it\n"
                                "offline: reconnect it, then: adb devices")
    if not serial and len(ready) > 1:
        raise UsageError(f"there are several devices: {told}", code="F224", remedy=f"choose one: --serial {ready[0]}",
                         details=details)
    return serial or ready[0]
