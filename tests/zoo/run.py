"""Runs the zoo and writes what became of each model: results.json here, and docs/models.md.

    make zoo                                        builds the zoo in .zoo/ if need be, then does this
    python -m tests.zoo.run FOLDER --only 'bert*'   these models only; the others stay as they are
    python -m tests.zoo.run --page                  docs/models.md anew from results.json
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.zoo import page

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = Path(__file__).resolve().parent / "results.json"
TIMEOUT = 900.0

Rows = dict[str, dict[str, Any]]


def files(folder: Path) -> list[tuple[str, Path]]:
    """(name of the model/name of the file, the file) for every ONNX file of the zoo."""
    found = [*folder.glob("trained/*/*.onnx"), *folder.glob("arch/*/*.onnx")]
    return sorted((f"{path.parent.name}/{path.name.removeprefix('model.').removesuffix('.onnx')}", path)
                  for path in found if not path.name.endswith(".pre.onnx"))


def judged(model: Path) -> dict[str, Any]:
    """What became of one file; a process that dies or hangs is told as such."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        try:
            done = subprocess.run([sys.executable, "-m", "tests.zoo.one", str(model), str(out)], cwd=ROOT,
                                  capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            return {"status": "hang", "reasons": [f"no answer within {TIMEOUT:.0f} s"]}
        if not out.is_file():
            return {"status": "crash", "reasons": done.stderr.strip().splitlines()[-1:]}
        return json.loads(out.read_text("utf-8"))


def load() -> Rows:
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}


def save(rows: Rows) -> None:
    """Writes what does not change between equal runs: no times."""
    kept = {name: {k: v for k, v in row.items() if k != "seconds"} for name, row in sorted(rows.items())}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page.PAGE.write_text(page.text(kept), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the zoo.")
    parser.add_argument("folder", nargs="?", type=Path, help="what zoo_public.py has built")
    parser.add_argument("--only", default="*", help="names of models, with wildcards, with commas between")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="only write docs/models.md anew")
    options = parser.parse_args()
    rows = load()
    if not options.page:
        if options.folder is None:
            parser.error("name the folder that zoo_public.py has built")
        patterns = options.only.split(",")
        chosen = [(n, p) for n, p in files(options.folder) if any(fnmatch.fnmatch(n, x) for x in patterns)]
        if not chosen:
            parser.error(f"there is no such model in {options.folder}")
        with ThreadPoolExecutor(options.jobs) as pool:
            for (name, _), row in zip(chosen, pool.map(lambda item: judged(item[1]), chosen), strict=True):
                told = " ".join(row.get("reasons", [])) or json.dumps(row.get("asked", {}))
                print(f"{name:44} {row['status']:12} {row.get('seconds', 0):6} s  {told[:300]}", flush=True)
                rows[name] = row
    save(rows)


if __name__ == "__main__":
    main()
