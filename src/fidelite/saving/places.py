"""Where a SavedModel may be written, and what it needs; said before the work begins."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fidelite.errors import MissingExtra, OutputError
from fidelite.files import explained, long_paths_enabled

LONGEST = 259
"""Characters of a path that Windows takes while long paths are not enabled."""
TENSORFLOW_LONGEST = 163
"""Characters of the longest file name in TensorFlow's wheel (2.21), below site-packages."""
# TensorFlow's own temporary name while it writes the variables: the longest in a SavedModel.
_INNERMOST = "variables/variables_temp/part-00000-of-00001.data-00000-of-00001"
_PARTS = frozenset({"saved_model.pb", "fingerprint.pb", "keras_metadata.pb", "assets", "assets.extra", "variables"})
_ENABLE = ('reg add "HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem" /v LongPathsEnabled /t REG_DWORD /d 1 /f'
           "   (as administrator, then open a new console)")


def missing_tensorflow(reason: str = "") -> MissingExtra:
    """What to say where TensorFlow is not there; on Windows with what its long file names need."""
    install = f'"{sys.executable}" -m pip install tensorflow'
    packages = sysconfig.get_paths()["purelib"]
    tight = len(packages) + 1 + TENSORFLOW_LONGEST > LONGEST
    if sys.platform == "win32" and tight and not long_paths_enabled():
        install = f"{_ENABLE}\n{install}"
    return MissingExtra(f"a SavedModel is made and proven with TensorFlow: {reason or 'it is not installed'}",
                        code="F226", remedy=install)


def check_place(folder: Path, *, limited: bool | None = None) -> None:
    """Raise what would stop a SavedModel in `folder`: MissingExtra F226 TensorFlow is not installed, OutputError F212
    the folder around it is not there, F227 something else is at its place, F228 paths would grow too long for Windows.

    `limited` says whether paths end at 259 characters; by default as this system has it.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise missing_tensorflow()
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"the folder '{folder.parent}' does not exist", code="F212",
                          remedy=f'create it first: mkdir "{folder.parent}"')
    if folder.is_symlink() or (folder.exists() and not _replaceable(folder)):
        raise OutputError(f"'{folder}' holds something else than a SavedModel, which is not overwritten", code="F227",
                          remedy=f'give a folder of its own: --saved-model "{folder / "saved_model"}"')
    if limited is None:
        limited = sys.platform == "win32" and not long_paths_enabled()
    longest = len(str(_temporary_name(folder) / _INNERMOST))
    if limited and longest > LONGEST:
        raise OutputError(
            f"a SavedModel in '{folder}' needs paths of {longest} characters, and Windows takes {LONGEST} here",
            code="F228", remedy=f"choose a shorter folder: --saved-model C:\\sm\nor enable long paths: {_ENABLE}")


def _replaceable(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or ("saved_model.pb" in names and names <= _PARTS)


def _temporary_name(folder: Path) -> Path:
    """As `tempfile` makes them: eight characters."""
    return folder.absolute().parent / f".{folder.name[:20]}.12345678.part"


@contextmanager
def publish_folder(folder: Path) -> Generator[Path]:
    """A temporary folder beside `folder` that takes its name if the block succeeds, and is removed if it does not.

    Raises OutputError (F213 to F215, as for files).
    """
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name[:20]}.", suffix=".part",
                                          dir=folder.absolute().parent))
    except OSError as error:
        raise explained(error, folder) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        _put(temporary, folder)
    except OSError as error:
        raise explained(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, folder: Path) -> None:
    """Rename; what was there before goes only once the new one has its place."""
    if not folder.exists():
        temporary.rename(folder)
        return
    earlier = temporary.with_suffix(".old")
    folder.rename(earlier)
    try:
        temporary.rename(folder)
    except OSError:
        earlier.rename(folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
