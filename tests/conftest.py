"""What all tests share: folders, and how hard Hypothesis tries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
IN_CI = bool(os.environ.get("CI"))

# A model is built, converted and run per example: slow for Hypothesis, and no reason to stop.
_HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "quick", max_examples=15, deadline=None, derandomize=IN_CI, suppress_health_check=_HEALTH
)
settings.register_profile(
    "thorough", max_examples=200, deadline=None, print_blob=True, suppress_health_check=_HEALTH
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of large test inputs that lies beside the repository, or a skip where there is none."""
    folder = Path(os.environ.get("FIDELITE_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no folder {folder.name}/ beside the repository (or FIDELITE_SHARED names none)")
    return folder


@pytest.fixture
def awkward_folder(tmp_path: Path) -> Path:
    """A folder whose name has spaces, a quote and letters beyond ASCII and cp1252."""
    folder = tmp_path / "two words, it's \u00fc\u6a21\u578b"
    folder.mkdir()
    return folder


@pytest.fixture
def deep_folder(tmp_path: Path) -> Path:
    """A folder whose path alone is longer than 260 characters (Windows' old limit)."""
    folder = tmp_path
    while len(str(folder)) <= 260:
        folder /= "a folder name of forty characters, as is"
    folder.mkdir(parents=True)
    return folder
