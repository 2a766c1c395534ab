"""Keyword arguments and command-line words to checked options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fidelite.errors import BadSample, UsageError
from fidelite.options import (
    ACTIVATIONS,
    APPROXIMATIONS,
    BOXES,
    CALIBRATED,
    EXPORTERS,
    IMPROVEMENTS,
    IO_TYPES,
    PICTURES,
    PRECISIONS,
    RANGES,
    TASKS,
    ConvertOptions,
    ExportOptions,
)
from fidelite.targets import profile_of
from fidelite.tasks.labels import read_labels


def checked_options(arguments: Mapping[str, Any]) -> ConvertOptions:
    """ConvertOptions from keyword arguments. Raises UsageError for unknown names and values."""
    of_export = {f.name for f in fields(ExportOptions)}
    known = {f.name for f in fields(ConvertOptions)} - {"export"} | of_export
    if unknown := sorted(set(arguments) - known):
        raise UsageError(f"there is no option '{unknown[0]}'", code="F205",
                         remedy=f"options: {', '.join(sorted(known))}")
    values = {name: value for name, value in arguments.items() if name not in of_export}
    values["export"] = _export_options({name: value for name, value in arguments.items() if name in of_export})
    if (precision := values.get("precision", "float32")) not in PRECISIONS:
        raise UsageError(f"'{precision}' is no precision", code="F205", remedy=f"one of: {', '.join(PRECISIONS)}")
    _task(values)
    _quantization(values, precision)
    profile_of(values.get("target", "cpu"))
    for name in ("outputs", "argmax", "approximate"):
        if name in values:
            values[name] = (values[name],) if isinstance(values[name], str) else tuple(values[name])
    if unknown := [name for name in values.get("approximate", ()) if name not in APPROXIMATIONS]:
        raise UsageError(f"'{unknown[0]}' is no approximation", code="F281",
                         remedy=f"choose of: {', '.join(APPROXIMATIONS)}")
    if "shapes" in values:
        values["shapes"] = {name: tuple(shape) for name, shape in dict(values["shapes"]).items()}
    for name in ("weights", "samples"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    return ConvertOptions(**values)


def _quantization(values: dict[str, Any], precision: str) -> None:
    """Integers need calibration; what belongs to calibration needs integers."""
    for name, known in (("ranges", RANGES), ("io", IO_TYPES)):
        if values.get(name, known[0]) not in known:
            raise UsageError(f"'{values[name]}' is not known for --{name}", code="F205",
                             remedy=f"one of: {', '.join(known)}")
    if "improve" in values:
        words = values["improve"]
        words = (words,) if isinstance(words, str) else tuple(words)
        words = IMPROVEMENTS if words == ("all",) else () if words == ("none",) else words
        if unknown := [w for w in words if w not in IMPROVEMENTS]:
            raise UsageError(f"there is no improvement '{unknown[0]}'", code="F205",
                             remedy=f"all, none, or some of: {', '.join(IMPROVEMENTS)}")
        values["improve"] = words
    if precision in CALIBRATED and values.get("calibration") is None:
        raise BadSample(
            f"--precision {precision} computes in integers, whose ranges must be learnt from samples", code="F239",
            remedy="--calibration FOLDER_OF_PICTURES (or FILE.npz, or MODULE:FUNCTION that yields samples);\n"
                   "without any data: --calibration synthetic, or --precision dynamic-int8")
    if precision not in CALIBRATED and values.get("io", "float32") != "float32":
        raise UsageError(f"--io {values['io']} needs integers inside, and the precision is {precision}", code="F205",
                         remedy="--precision int8 --calibration FOLDER, or leave --io out")


def _task(values: dict[str, Any]) -> None:
    """A task implies its target; what belongs to a task needs one."""
    task, target = values.get("task") or "", values.get("target", "cpu")
    if task and task not in TASKS:
        raise UsageError(f"'{task}' is no task of MediaPipe that fidelite knows", code="F270",
                         remedy=f"one of: {', '.join(TASKS)}")
    if task and target not in ("cpu", "mediapipe"):
        raise UsageError(f"a task is for MediaPipe, and the target is {target}", code="F270",
                         remedy="leave --target out, or --task")
    for name, known, code in (("activation", ACTIVATIONS, "F274"), ("boxes", BOXES, "F275"),
                              ("picture", PICTURES, "F277")):
        if (word := values.get(name)) and word not in known:
            raise UsageError(f"--{name} '{word}' is not known", code=code, remedy=f"one of: {', '.join(known)}")
    for name in ("labels", "activation", "boxes", "picture"):
        if values.get(name) and not task:
            raise UsageError(f"--{name} belongs to a task of MediaPipe, and none is named", code="F270",
                             remedy=f"--task {TASKS[0]} (or: {', '.join(TASKS[1:])})")
        if not values.get(name):
            values.pop(name, None)
    if not task:
        values.pop("task", None)
        return
    values["target"] = "mediapipe"
    if "labels" in values:
        values["labels"] = read_labels(values["labels"])


def _export_options(values: dict[str, Any]) -> ExportOptions:
    if values.get("exporter") not in (None, *EXPORTERS):
        raise UsageError(f"'{values['exporter']}' is no exporter", code="F205",
                         remedy=f"one of: {', '.join(EXPORTERS)}")
    for name in ("input_names", "output_names"):
        if name in values:
            values[name] = (values[name],) if isinstance(values[name], str) else tuple(values[name])
    if values.get("checkpoint") is not None:
        values["checkpoint"] = Path(values["checkpoint"])
    return ExportOptions(**values)
