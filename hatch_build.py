"""Puts LiteRT.js into the wheel. Without npm the build stops: `fidelite serve` would have nothing to run with."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FetchWeb(BuildHookInterface[Any]):
    """Runs scripts/fetch_web.py for a wheel; an editable install leaves the checkout as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "wheel" and version != "editable":
            runpy.run_path(str(Path(self.root) / "scripts" / "fetch_web.py"))["fetch"]()
