"""Files are written whole or not at all: to a temporary name beside the target, then renamed."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fidelite.errors import OutputError


@contextmanager
def publish(target: Path) -> Generator[Path]:
    """A temporary path beside `target` that takes its name if the block succeeds, and is removed if it does not.

    Raises OutputError: F211 the target is a folder, F212 its folder does not exist, F213 no permission,
    F214 no space left, F215 any other fault of the system.
    """
    if target.is_dir():
        raise OutputError(f"'{target}' is a folder", code="F211", remedy="give a file name: -o NAME.tflite")
    if not target.parent.exists():
        raise OutputError(f"the folder '{target.parent}' does not exist", code="F212",
                          remedy=f'create it first: mkdir "{target.parent}"')
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise explained(error, target) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise explained(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def explained(error: OSError, target: Path) -> OutputError:
    """What the system says about writing `target`, in the user's terms."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"'{target}' may not be written here ({error.strerror})", code="F213",
                           remedy="choose another place: -o FOLDER/NAME.tflite")
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        return OutputError(f"no space is left for '{target}'", code="F214", remedy="free some, or choose another disk")
    return OutputError(f"'{target}' cannot be written: {error.strerror or error}", code="F215",
                       remedy="choose another place: -o FOLDER/NAME.tflite")


LONG_PATHS_KEY = r"SYSTEM\CurrentControlSet\Control\FileSystem"


def long_paths_enabled() -> bool:
    """Whether paths of 260 characters and more work: true but on Windows where they were not enabled."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, LONG_PATHS_KEY) as handle:
            return bool(winreg.QueryValueEx(handle, "LongPathsEnabled")[0])
    except OSError:
        return False
