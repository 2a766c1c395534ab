"""How a model is used, as one description: how a picture becomes its input, and what its answers mean.

`fidelite run` and the page of `fidelite serve` follow the same description; the page gets it as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fidelite.edge import Edge
from fidelite.errors import BadSample, Notice
from fidelite.options import LayoutName, Normalization
from fidelite.pictures import RESIZE_RULE

if TYPE_CHECKING:
    from fidelite.runtime import Port

_BYTES = Normalization()
_UNIT = Normalization(std=(255.0,))
_SIGNED = Normalization(mean=(128.0,))

Kind = Literal["scores", "indices", "classes", "values"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model beyond its ports: the edge in its manifest, and what the user says."""

    edge: Edge | None = None
    layout: Mapping[str, LayoutName] | None = None
    normalize: Mapping[str, Normalization] | None = None
    stated: Normalization | None = None
    """What the file's metadata for MediaPipe say of the picture."""
    labels: Sequence[str] | None = None
    stored: Mapping[str, tuple[float, int]] | None = None
    """Inputs and outputs that are integers on a grid: name -> (scale, zero point), value = scale * (stored - zero)."""


@dataclass(frozen=True, slots=True)
class PictureUse:
    """How a picture (RGB, 0..255) becomes the input: resized, its channels put in place, normalised, cast.

    `height` and `width` are None where the model takes any. `normalization` applies to values of 0..255.
    """

    name: str
    dtype: str
    last: bool
    """Whether channels are the last axis."""
    channels: int
    height: int | None
    width: int | None
    normalization: Normalization
    told: str
    notices: tuple[Notice, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.dtype, "layout": "nhwc" if self.last else "nchw",
                "channels": self.channels, "height": self.height, "width": self.width, "resize": RESIZE_RULE,
                "normalization": self.normalization.to_json(), "told": self.told,
                "notices": [n.to_json() for n in self.notices]}


@dataclass(frozen=True, slots=True)
class AnswerUse:
    """What an output means: "scores" (of classes, per pixel, along `axis`), "indices" (of classes, per pixel),
    "classes" (one score each) or just "values"."""

    name: str
    kind: Kind
    axis: int | None = None
    count: int | None = None


def picture_use(ports: Sequence[Port], known: Known) -> PictureUse:
    """How a picture goes into a model with these inputs. Raises BadSample (F243) where none does."""
    found = [(p, last) for p in ports if (last := _channels_last(p, known)) is not None]
    if len(found) != 1 or len(ports) != 1:
        told = "; ".join(str(p) for p in ports)
        raise BadSample("a picture goes into a model with one input of [1, 3, H, W] or [1, H, W, 3]; "
                        f"this has {told}", code="F243", remedy="give arrays: --input FILE.npz, or --random")
    port, last = found[0]
    notices: list[Notice] = []
    if port.shape[1] in (1, 3) and port.shape[3] in (1, 3) and port.name not in (known.layout or {}):
        notices.append(Notice("N243", f"'{port.name}' may be channels-first or channels-last; taken as "
                              f"{'nhwc' if last else 'nchw'}", remedy=f"--layout {port.name}=nhwc"))
    normalization, told, warning = _normalization(port, known)
    if (grid := (known.stored or {}).get(port.name)) is not None:
        normalization, told, warning = _on_grid(port, known, *grid)
    axes = (1, 2, 3) if last else (2, 3, 1)
    height, width, channels = (d if isinstance(d := port.shape[a], int) else None for a in axes)
    return PictureUse(port.name, port.dtype, last, channels or 3, height, width, normalization, told,
                      tuple(notices) + ((warning,) if warning else ()))


def _channels_last(port: Port, known: Known) -> bool | None:
    if len(port.shape) != 4:
        return None
    if (said := (known.layout or {}).get(port.name, "source")) != "source":
        return said == "nhwc"
    edge = known.edge.inputs.get(port.name) if known.edge is not None else None
    if edge is not None and edge.permutation:
        return edge.permutation == (0, 3, 1, 2)
    first, last = port.shape[1] in (1, 3), port.shape[3] in (1, 3)
    return None if not first and not last else not first


def _normalization(port: Port, known: Known) -> tuple[Normalization, str, Notice | None]:
    """What happens to values of 0..255, in words too, and a warning where that is a guess."""
    if port.dtype == "int8":
        return _SIGNED, "values 0..255 less 128", None
    edge = known.edge.inputs.get(port.name) if known.edge is not None else None
    if edge is not None and edge.normalization is not None:
        return _BYTES, "values 0..255: the model normalises them itself", None
    if not port.dtype.startswith("float"):
        return _BYTES, "values 0..255 as they are", None
    normalize = known.normalize or {}
    given = normalize.get(port.name) or normalize.get("") or known.stated
    if given is not None:
        told = f"normalised: (x * {given.scale:.6g} - {_list(given.mean)}) / {_list(given.std)}"
        return given, told, None
    warning = Notice("W230", "neither the model nor the command says how pictures are normalised: values 0..1 are "
                     "fed, which may be wrong", level="warning",
                     remedy="--normalize imagenet, or --mean, --std and --scale")
    return _UNIT, "scaled to 0..1", warning


def _on_grid(port: Port, known: Known, scale: float, zero_point: int) -> tuple[Normalization, str, Notice | None]:
    """The normalisation of the float32 input that was, and its values' integers: round(y / scale) + zero point."""
    facts, told, warning = _normalization(replace(port, dtype="float32"), known)
    channels = max(len(facts.mean), len(facts.std))
    std = tuple(s * scale for s in facts.std * (channels // len(facts.std)))
    mean = tuple(m - zero_point * s for m, s in zip(facts.mean * (channels // len(facts.mean)), std, strict=True))
    return Normalization(mean, std, facts.scale), f"{told}; stored as value / {scale:.6g} + {zero_point}", warning


def _list(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else f"[{', '.join(f'{v:g}' for v in values)}]"


def answer_use(name: str, dtype: str, shape: Sequence[int], picture: PictureUse | None, size: tuple[int, int] | None,
               known: Known) -> AnswerUse:
    """What an output of that type and shape means where `picture` of the height and width `size` went in."""
    from fidelite.segmentation import class_axis, is_map

    if picture is not None and size is not None:
        if dtype.startswith(("int", "uint", "bool")) and name not in (known.stored or {}):
            dims = shape[1:3] if len(shape) == 3 or (len(shape) == 4 and shape[3] == 1) else ()
            if len(dims) == 2 and shape[0] == 1 and is_map(dims[0], dims[1], size):
                return AnswerUse(name, "indices")
        else:
            edge = known.edge.outputs.get(name) if known.edge is not None else None
            moved = 3 if edge is not None and edge.permutation == (0, 2, 3, 1) else None
            axis = class_axis(shape, size, prefer_last=picture.last, known=moved, labels=len(known.labels or ()))
            if axis is not None:
                return AnswerUse(name, "scores", axis, shape[axis])
    entries = max(shape[1:], default=0)
    total = 1
    for d in shape:
        total *= d
    if shape[:1] == (1,) and total >= 2 and total == entries and dtype.startswith(("float", "bfloat")):
        return AnswerUse(name, "classes", None, total)
    return AnswerUse(name, "values")


def usage(
    model: Path | str,
    *,
    layout: Mapping[str, LayoutName] | None = None,
    normalize: Mapping[str, Normalization] | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """How a `.tflite` file is used, as plain data (JSON types). Arguments as for `fidelite.Runner`.

    `picture` is None where no picture goes in, and `why` then says so. Each output has its `kind` ("scores" per pixel,
    "indices" per pixel, "classes", "values"), and, where classes are told apart, labels and colours by their number.

    Raises LoadError where the file cannot be read or is no `.tflite`.
    """
    from fidelite.runtime import Port
    from fidelite.tflite_facts import tflite_facts

    facts = tflite_facts(Path(model))
    known = known_of(facts, Known(None, layout, normalize, None, labels))
    inputs = [Port(f["name"], f["type"], tuple(f["shape"])) for f in facts["inputs"]]
    picture, why = None, ""
    try:
        picture = picture_use(inputs, known)
    except BadSample as error:
        why = error.reason
    size = (picture.height, picture.width) if picture is not None and picture.height and picture.width else None
    outputs = [_output(f, picture, size, known) for f in facts["outputs"]]
    return {"inputs": facts["inputs"], "picture": None if picture is None else picture.to_json(), "why": why,
            "outputs": outputs}


def known_of(facts: Mapping[str, Any], said: Known) -> Known:
    """What a file's facts (`tflite_facts`) tell beside what the user said, whose word goes first."""
    manifest, task = facts["manifest"] or {}, facts["task"] or {}
    stated = None
    if task.get("mean") and task.get("std") and 0.0 not in task["std"]:
        stated = Normalization(tuple(task["mean"]), tuple(task["std"]))
    grids = {f["name"]: (q["scale"], q["zero_point"]) for side in ("inputs", "outputs") for f in facts[side]
             if (q := f.get("quantization")) is not None and "scale" in q}
    return replace(said, stored=grids, edge=Edge.from_json(manifest["edge"]) if "edge" in manifest else said.edge,
                   labels=said.labels if said.labels is not None else task.get("labels") or None, stated=stated)


def _output(facts: Mapping[str, Any], picture: PictureUse | None, size: tuple[int, int] | None,
            known: Known) -> dict[str, Any]:
    from fidelite.segmentation import GROUNDS, KNOWN_CLASSES, MOST_CLASSES, legend_of

    def legend(count: int, labels: Sequence[str] | None) -> dict[str, Any]:
        names, palette = legend_of(count, labels)
        return {"labels": list(names), "palette": [list(c) for c in palette],
                "background": [i for i, name in enumerate(names) if name.lower() in GROUNDS] or [0]}

    shape = tuple(d or 1 for d in facts["shape"])
    use = answer_use(facts["name"], facts["type"], shape, picture, size, known)
    row: dict[str, Any] = {"name": use.name, "type": facts["type"], "shape": list(facts["shape"]), "kind": use.kind,
                           "axis": use.axis}
    if use.kind == "scores" and use.count is not None:
        row["legend"] = legend(use.count, known.labels)
    elif use.kind == "indices":
        # How many classes there are, the answer tells: names and colours for many, and those that are known.
        labels = known.labels
        most = max(MOST_CLASSES, len(labels or ()))
        row["legend"] = legend(most, None if labels is None else [*labels, *_numbered(len(labels), most)])
        row["legends"] = {} if labels is not None else {str(KNOWN_CLASSES): legend(KNOWN_CLASSES, None)}
    elif use.kind == "classes":
        row["labels"] = list(known.labels or ())
    return row


def _numbered(first: int, end: int) -> list[str]:
    return [f"class {i}" for i in range(first, end)]
