"""Weights in files of their own: found, checked and only then mapped.

A path in a model is a stranger's input. It may be absolute, climb out of the model's folder, or lead out of
it through a link; the file may be missing, cut short, or made for another model. Nothing is opened before all
of this is known, and nothing is copied after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from fidelite.errors import (
    FideliteError,
    LoadError,
    MissingExternalData,
    Notice,
    UnsafeExternalData,
    UsageError,
)
from fidelite.source.text import plural, quoted, size_text, some

_MOST_CANDIDATES = 5
_MOST_PADDING = 65536


@dataclass(frozen=True, slots=True)
class MissingData:
    """Weights that cannot be read, since their file is not there or is too short."""

    location: str
    """The path as the model has it, relative to the model's folder."""
    path: str
    """Where the file is expected."""
    expected_bytes: int
    found_bytes: int | None
    """The file's length; None where there is no file."""
    tensors: tuple[str, ...]
    tensor_bytes: int
    candidates: tuple[str, ...] = ()
    """Files in the model's folder that have the expected length."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the bytes of one tensor should lie."""

    name: str
    location: str
    offset: int
    length: int | None
    needed: int
    """Bytes that shape and element type ask for."""

    @property
    def end(self) -> int:
        return self.offset + (self.needed if self.length is None else self.length)


@dataclass(slots=True)
class External:
    """What became of the external data: where each location lies, and what is wrong."""

    files: dict[str, Path]
    problems: list[FideliteError]
    missing: list[MissingData]
    notices: list[Notice]


def examine_external(
    extents: Sequence[Extent], folder: Path, *, weights: Path | None = None, model: Path | None = None
) -> External:
    """Check where the external tensors lie. `weights` takes the place of the one file that the model names.

    Finds: a missing file (F310, told as `missing`), one that is cut short (F311, too), a length that shape
    and type contradict (F312), tensors that overlap (F313), an entry without a file (F314), a path that is
    absolute (F320), climbs out of the folder (F321) or is a link out of it (F322).
    """
    found = External({}, [], [], [])
    groups: dict[str, list[Extent]] = {}
    for extent in extents:
        groups.setdefault(extent.location, []).append(extent)
    replaced = _replace(groups, weights, folder) if weights is not None else {}
    for location, group in groups.items():
        found.problems += _lengths(location, group)
        found.problems += _overlaps(location, group)
        try:
            path = replaced.get(location) or _safe_path(location, folder, group, model)
        except LoadError as error:
            found.problems.append(error)
            continue
        found.files[location] = path
        _size(found, location, path, group, folder, model)
    return found


def _replace(groups: dict[str, list[Extent]], weights: Path, folder: Path) -> dict[str, Path]:
    """Which location the file given with `--weights` stands for."""
    if not weights.is_file():
        raise UsageError(
            f"there is no file '{weights}' (--weights)",
            code="F201",
            remedy="check the path",
            details={"weights": str(weights)},
        )
    size = weights.stat().st_size
    expected = {location: max(e.end for e in group) for location, group in groups.items()}
    if not groups:
        raise UsageError(
            "--weights is given, but the model has all of its weights inside",
            code="F201",
            remedy="leave --weights out",
            details={"weights": str(weights)},
        )
    fitting = [location for location, length in expected.items() if fits(size, length)]
    if len(fitting) > 1:
        fitting = [location for location in fitting if not (folder / location).is_file()]
    if len(fitting) != 1:
        told = ", ".join(f"'{location}' {length:,} bytes" for location, length in expected.items())
        raise UsageError(
            f"'{weights}' (--weights) has {size:,} bytes and cannot hold this model's weights, which need: "
            f"{told}",
            code="F201",
            remedy="give the .data file that was written together with this very .onnx file",
            details={"weights": str(weights), "bytes": size, "expected": expected},
        )
    return {fitting[0]: weights.absolute()}


def _safe_path(location: str, folder: Path, group: Sequence[Extent], model: Path | None) -> Path:
    """The file that `location` means, inside `folder`, or beside the real file where the model itself is a link.

    (Caches link a model and its weights to one folder of blobs.) Both systems' kinds of path are judged on every
    system, so that a model is refused everywhere or nowhere.
    """
    details = {
        "location": location,
        "folder": str(folder),
        "tensors": len(group),
        "first_tensors": _first(group),
    }
    if not location:
        raise LoadError(
            f"{plural(len(group), 'tensor')} ({some(_first(group))}) should lie in a file of its own, and "
            "the model "
            "does not say in which",
            code="F314",
            remedy="export the model again",
            details=details,
        )
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    if posix.is_absolute() or windows.drive or windows.root:
        raise UnsafeExternalData(
            f"the weights' path '{location}' is absolute; the file must lie beside the model",
            code="F320",
            remedy=f"export again, or if you trust that file: --weights {quoted(location)}",
            details=details,
        )
    depth = 0
    for part in windows.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise UnsafeExternalData(
                f"the weights' path '{location}' climbs out of the model's folder",
                code="F321",
                remedy=f"export again, or if you trust that file: --weights {quoted(folder / location)}",
                details=details,
            )
    path = folder / location
    if not path.exists() and "\\" in location:
        path = folder.joinpath(*windows.parts)
    real = path.resolve()
    homes = [folder.resolve(), *([model.resolve().parent] if model is not None else [])]
    if not any(real.is_relative_to(home) for home in homes):
        raise UnsafeExternalData(
            f"the weights' path '{location}' is a link that leads out of the model's folder, to '{real}'",
            code="F322",
            remedy=f"put the file itself beside the model, or if you trust it: --weights {quoted(real)}",
            details=details | {"target": str(real)},
        )
    if real.exists() and not real.is_file():
        raise LoadError(
            f"the weights' path '{location}' is no ordinary file",
            code="F314",
            remedy="put the weights' file beside the model",
            details=details,
        )
    return real


def _lengths(location: str, group: Sequence[Extent]) -> Iterable[FideliteError]:
    wrong = [e for e in group if e.length is not None and e.length != e.needed]
    if wrong:
        first = wrong[0]
        yield MissingExternalData(
            f"{plural(len(wrong), 'tensor')} in '{location}' {'has' if len(wrong) == 1 else 'have'} a "
            "length that the "
            f"shape contradicts: '{first.name}' should have {first.needed:,} bytes, and the model states "
            f"{first.length:,}",
            code="F312",
            remedy="export the model again",
            details={
                "location": location,
                "tensors": [{"name": e.name, "stated": e.length, "needed": e.needed} for e in wrong[:20]],
                "count": len(wrong),
            },
        )


def _overlaps(location: str, group: Sequence[Extent]) -> Iterable[FideliteError]:
    """Tensors whose bytes overlap. Two tensors at the very same place are one, stored once: that is sound."""
    pairs: list[tuple[str, str]] = []
    last: Extent | None = None
    for extent in sorted((e for e in group if e.needed), key=lambda e: (e.offset, e.end)):
        if (
            last is not None
            and extent.offset < last.end
            and (extent.offset, extent.end) != (last.offset, last.end)
        ):
            pairs.append((last.name, extent.name))
        if last is None or extent.end > last.end:
            last = extent
    if pairs:
        yield MissingExternalData(
            f"tensors in '{location}' overlap: '{pairs[0][0]}' and '{pairs[0][1]}' share bytes"
            + (f", and {plural(len(pairs) - 1, 'further pair')}" if len(pairs) > 1 else ""),
            code="F313",
            remedy="export the model again",
            details={"location": location, "pairs": [list(p) for p in pairs[:20]], "count": len(pairs)},
        )


def _size(
    found: External, location: str, path: Path, group: Sequence[Extent], folder: Path, model: Path | None
) -> None:
    """Whether the file is there and long enough."""
    expected = max(e.end for e in group)
    actual = path.stat().st_size if path.is_file() else None
    if actual is None or actual < expected:
        cut = [e for e in group if actual is None or e.end > actual]
        found.missing.append(
            MissingData(
                location=location,
                path=str(path),
                expected_bytes=expected,
                found_bytes=actual,
                tensors=tuple(e.name for e in cut),
                tensor_bytes=sum(e.needed for e in cut),
                candidates=tuple(candidates(folder, expected, {path, *([model] if model else [])})),
            )
        )
    elif not fits(actual, expected):
        found.notices.append(
            Notice(
                "N312",
                f"'{location}' is {actual - expected:,} bytes longer than this model needs: "
                "it may hold more, or belong to another model",
            )
        )


def fits(size: int, expected: int) -> bool:
    """Whether a file of `size` bytes can be the one of which `expected` are used: writers pad its end."""
    return expected <= size <= expected + _MOST_PADDING


def candidates(folder: Path, length: int, but: set[Path]) -> list[str]:
    """Names of files in `folder` that have `length` bytes, or as many and padding; the closest first."""
    if not folder.is_dir() or not length:
        return []
    try:
        files = sorted(
            p for p in folder.iterdir() if p.is_file() and p not in but and fits(p.stat().st_size, length)
        )
        files.sort(key=lambda p: p.stat().st_size)
    except OSError:
        return []
    return [p.name for p in files[:_MOST_CANDIDATES]]


def _first(group: Sequence[Extent]) -> list[str]:
    return [e.name for e in group[:5]]


def missing_error(
    missing: MissingData, *, model: Path | None, total: int, graph_bytes: int, sizes: dict[str, int]
) -> MissingExternalData:
    """F310 or F311. `total` counts the model's tensors; `sizes` are the whole model's bytes per precision."""
    name = model.name if model is not None else "the model"
    share = f"{len(missing.tensors)} of its {plural(total, 'tensor')} ({missing.tensor_bytes:,} bytes)"
    if missing.found_bytes is None:
        code = "F310"
        reason = f"the weights are not here: {share} should lie in '{missing.location}', which is missing. "
    else:
        code = "F311"
        reason = (
            f"the weights are cut short: '{missing.location}' has {missing.found_bytes:,} of "
            f"{missing.expected_bytes:,} bytes, so {share} cannot be read. "
        )
    whole, int8 = sizes["float32"], sizes["weight-int8"]
    reason += (
        f"The {size_text(graph_bytes)} of {name} are the graph only: the whole model has about "
        f"{size_text(whole)}, "
        f"and about {size_text(int8)} with int8 weights. "
        f"Expected: {missing.expected_bytes:,} bytes at '{missing.path}'"
    )
    if missing.candidates:
        reason += f". {some(missing.candidates)} has the right length"
    return MissingExternalData(
        reason,
        code=code,
        remedy=_missing_remedy(missing, model),
        details={
            "location": missing.location,
            "path": missing.path,
            "expected_bytes": missing.expected_bytes,
            "found_bytes": missing.found_bytes,
            "tensors": len(missing.tensors),
            "tensors_total": total,
            "tensor_bytes": missing.tensor_bytes,
            "tensor_names": list(missing.tensors),
            "graph_bytes": graph_bytes,
            "whole_bytes": whole,
            "int8_bytes": int8,
            "candidates": list(missing.candidates),
        },
    )


def _missing_remedy(missing: MissingData, model: Path | None) -> str:
    given = quoted(model) if model is not None else "model.onnx"
    again = "torch.onnx.export(model, (example,), 'model.onnx', dynamo=True, external_data=False)"
    if missing.candidates and model is not None:
        return f"fidelite convert {given} --weights {quoted(model.parent / missing.candidates[0])}"
    return (
        f"copy {quoted(Path(missing.path).name)} from where the model was exported to "
        f"{quoted(missing.path)}, or: "
        f"fidelite convert {given} --weights FILE, or export again with the weights inside: {again}"
    )
