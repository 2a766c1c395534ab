"""Samples from whatever the user gave: one at a time, each checked against the model's inputs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fidelite.calibrating.fitting import fitted, stacks
from fidelite.errors import BadSample, FideliteError, Notice, raise_all
from fidelite.options import factory_of
from fidelite.pictures import read_picture
from fidelite.preparation import Prepared, prepare
from fidelite.runtime.protocol import Arrays
from fidelite.using import Known, picture_use

if TYPE_CHECKING:
    from fidelite.runtime import Port

SYNTHETIC = "synthetic"
SYNTHETIC_SAMPLES = 16
FEW = 8
"""Fewer samples than this are warned of: a range is easily missed."""
_PICTURES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"])

Made = Callable[[], Iterable[Arrays]]


@dataclass
class CalibrationData:
    """`samples` may be walked once; `total` is how many there are, where that is known.

    `source` names where they come from; `facts` are for the report; `notices` fill while the samples are walked.
    """

    samples: Iterator[Arrays]
    total: int | None
    source: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    notices: list[Notice] = field(default_factory=list[Notice])


def open_calibration(given: Any, inputs: Sequence[Port], known: Known, made: Made) -> CalibrationData:
    """What `--calibration` or `calibration=` names, as samples for the model's inputs.

    Args:
        given: A folder of pictures, an `.npz` file, `MODULE:FUNCTION`, or "synthetic"; in Python also an array or a
            mapping of arrays (with one more axis in front), a list or generator of samples, or a function that makes
            one. A sample is an array, a list or tuple in the order of the inputs, or a mapping from their names.
        inputs: The model's.
        known: What is known of them, by which pictures are prepared.
        made: Made-up samples, for "synthetic".

    Raises BadSample: F230 to F234 for files (all broken pictures at once), F235 a folder without pictures, F236 a
    function that cannot be loaded, F237 a sample that does not fit, F238 data that fails while it is walked.
    """
    if isinstance(given, str) and given == SYNTHETIC:
        return _synthetic(made)
    if isinstance(given, str | os.PathLike):
        word = os.fspath(given)
        found = factory_of(word) if isinstance(given, str) and not Path(word).exists() else None
        if found is not None:
            return _watched(_from_iterable(_function(*found, word), inputs, word))
        return _watched(_from_path(Path(word), inputs, known))
    if isinstance(given, np.ndarray | Mapping):
        samples = stacks(given, inputs, "the calibration data")
        return _watched(CalibrationData(iter(samples), len(samples), "arrays"))
    return _watched(_from_iterable(given, inputs, getattr(given, "__name__", type(given).__name__)))


def _synthetic(made: Made) -> CalibrationData:
    samples = list(made())
    notice = Notice("W463", "calibrated with made-up inputs: on real ones values may reach further, and be clipped",
                    level="warning", remedy="--calibration FOLDER_OF_PICTURES, or FILE.npz")
    return CalibrationData(iter(samples), len(samples), "made-up inputs (no data was given)", {}, [notice])


def _from_path(path: Path, inputs: Sequence[Port], known: Known) -> CalibrationData:
    if path.is_dir():
        return _from_folder(path, inputs, known)
    if not path.exists():
        raise BadSample(f"there is no calibration data '{path}'", code="F231",
                        remedy="name a folder of pictures, a .npz file, or MODULE:FUNCTION",
                        details={"path": str(path)})
    if path.suffix.lower() in _PICTURES:
        return _from_files([path], f"'{path.name}'", inputs, known)
    from fidelite.check.samples import load_samples

    samples = load_samples(path, inputs)
    return CalibrationData(iter(samples), len(samples), f"'{path.name}'")


def _from_folder(path: Path, inputs: Sequence[Port], known: Known) -> CalibrationData:
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in _PICTURES and f.is_file()
                   and not f.name.startswith("."))
    if not files:
        raise BadSample(f"there are no pictures in '{path}'", code="F235",
                        remedy="put some there (.jpg, .png, .webp, .bmp, .tif), or give arrays: --calibration FILE.npz",
                        details={"path": str(path)})
    return _from_files(files, f"the folder '{path.name or path}'", inputs, known)


def _from_files(files: Sequence[Path], source: str, inputs: Sequence[Port], known: Known) -> CalibrationData:
    """Every file is opened before any work, so that all that are broken are named at once."""
    use = picture_use(inputs, known)
    broken: list[FideliteError] = []
    first: Prepared | None = None
    for file in files:
        try:
            picture = read_picture(file)
            first = first or prepare(picture, use)
        except BadSample as error:
            broken.append(error)
    raise_all(broken)
    assert first is not None
    facts = {"files": [f.name for f in files], "preparation": first.steps}

    def walk() -> Generator[Arrays]:
        for file in files:
            prepared = prepare(read_picture(file), use)
            yield {use.name: prepared.array}

    return CalibrationData(walk(), len(files), source, facts, list(first.notices))


def _function(module: str, name: str, word: str) -> Any:
    """The function that `MODULE:FUNCTION` names; modules of the current folder are found, as `python -m` finds them."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise BadSample(f"'{word}': the module '{module}' cannot be imported: {error}", code="F236",
                        remedy=f"run fidelite where {module.partition('.')[0]}.py lies, or install it") from error
    except AttributeError as error:
        raise BadSample(f"'{word}': the module '{module}' has no '{name}'", code="F236",
                        remedy="check the name behind the colon") from error


def _from_iterable(given: Any, inputs: Sequence[Port], source: str) -> CalibrationData:
    """A function that makes samples (as TensorFlow's `representative_dataset` is), or the samples themselves."""
    total = len(given) if isinstance(given, Sequence) else None

    def walk() -> Generator[Arrays]:
        for number, sample in enumerate(_guarded(given, source)):
            yield fitted(sample, inputs, number)

    return CalibrationData(walk(), total, source)


_FAILURES = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, NameError, OSError,
             RuntimeError, TypeError, ValueError)
"""What a user's own function may raise; it is told as the data's fault, not as fidelite's."""


def _guarded(given: Any, source: str) -> Generator[Any]:
    try:
        made: Any = given() if callable(given) else given
        yield from made
    except FideliteError:
        raise
    except _FAILURES as error:
        text = " ".join(str(error).split()) or "no message"
        raise BadSample(f"the calibration data '{source}' failed: {type(error).__name__}: {text}", code="F238",
                        remedy="a function yields samples: def data(): yield [array]") from error


def _watched(data: CalibrationData) -> CalibrationData:
    """The same data; what is odd about it is noticed while it is walked."""
    inner = data.samples

    def walk() -> Generator[Arrays]:
        count, same, constant = 0, 0, 0
        last: dict[str, np.ndarray] = {}
        for sample in inner:
            arrays = {name: np.asarray(a) for name, a in sample.items()}
            constant += all(a.size > 1 and bool((a == a.flat[0]).all()) for a in arrays.values())
            same += set(last) == set(arrays) and all(np.array_equal(a, last[n]) for n, a in arrays.items())
            last = arrays
            count += 1
            yield arrays
        _judge(data, count, same, constant)

    return CalibrationData(walk(), data.total, data.source, data.facts, data.notices)


def _judge(data: CalibrationData, count: int, same: int, constant: int) -> None:
    if 0 < count < FEW:
        data.notices.append(Notice("W460", f"calibrated with {count} sample{'s' if count > 1 else ''}: ranges may be "
                                   "missed", level="warning",
                                   remedy=f"give {FEW} to 100, as different as what the network will see"))
    if constant:
        data.notices.append(Notice("W461", f"{constant} of {count} samples have one value only", level="warning",
                                   remedy="look at one: fidelite run MODEL --input FILE"))
    if same:
        data.notices.append(Notice("W462", f"{same} of {count} samples are the same as the one before them: they tell "
                                   "nothing new", level="warning", remedy="a generator should yield new arrays"))
