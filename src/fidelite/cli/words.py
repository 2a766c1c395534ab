"""Words of the command line to values. What cannot be read is a usage error that shows how it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

from fidelite.options import LAYOUTS, LayoutName, Normalization

Shapes = dict[str, tuple[int, ...]]
OpenShapes = dict[str, tuple[int | str, ...]]
_OPEN = re.compile(r"[A-Za-wyz_]|x(?!\d)")
_DIM = re.compile(r"\d+|[A-Za-z_]\w*(:\d+)?")


def shapes(words: Sequence[str]) -> Shapes:
    """`input=1,3,512,512`, any number of times."""
    found: Shapes = {}
    for word in words:
        name, dims = _named(word, "--shape", "NAME=1,3,512,512")
        try:
            found[name] = tuple(int(d) for d in dims.replace("x", ",").split(","))
        except ValueError:
            raise _unreadable(word, "--shape", "NAME=1,3,512,512, whole numbers separated by commas") from None
    return found


def open_shapes(words: Sequence[str]) -> OpenShapes:
    """`input=N,3,H:512,W:512`: as `shapes`, and a name leaves a dimension open; a number behind it is the example."""
    found: OpenShapes = {}
    for word in words:
        name, dims = _named(word, "--shape", "NAME=1,3,512,512")
        if _OPEN.search(dims) is None:
            found |= shapes([word])
            continue
        parts = dims.split(",")
        if not all(_DIM.fullmatch(part) for part in parts):
            raise _unreadable(word, "--shape", "NAME=1,3,512,512, or NAME=N,3,H:512,W:512 with open dimensions")
        found[name] = tuple(int(part) if part.isdecimal() else part for part in parts)
    return found


def pairs(words: Sequence[str], option: str, example: str) -> dict[str, str]:
    """`NAME=VALUE`, any number of times."""
    return dict(_named(word, option, example) for word in words)


def names(words: Sequence[str]) -> tuple[str, ...]:
    """`a,b`, any number of times."""
    return tuple(name for word in words for name in word.split(",") if name)


def layouts(words: Sequence[str]) -> dict[str, LayoutName]:
    """`input=nhwc`, any number of times."""
    found: dict[str, LayoutName] = {}
    for word in words:
        name, layout = _named(word, "--layout", "NAME=nhwc")
        known: dict[str, LayoutName] = {"source": "source", "nhwc": "nhwc", "nchw": "nchw"}
        if layout.lower() not in known:
            raise _unreadable(word, "--layout", f"NAME={'|'.join(LAYOUTS)}")
        found[name] = known[layout.lower()]
    return found


def normalizations(
    presets: Sequence[str], means: Sequence[str], stds: Sequence[str], scales: Sequence[str]
) -> dict[str, Normalization]:
    """Normalisation per input; '' stands for the only picture input. Each word may begin with `NAME=`."""
    found: dict[str, Normalization] = {}
    for word in presets:
        name, preset = _maybe_named(word)
        if preset.lower() != "imagenet":
            raise _unreadable(word, "--normalize", "imagenet, or NAME=imagenet; others with --mean, --std and --scale")
        found[name] = Normalization.imagenet()
    words = {"--mean": means, "--std": stds, "--scale": scales}
    parts = {option: _figures(given, option) for option, given in words.items()}
    touched = {name for part in parts.values() for name in part}
    if len(touched | set(found)) > 1 and "" in touched | set(found):
        raise click.UsageError("normalisation without NAME= is for the only picture: name the input always, or never")
    for name in sorted(touched):
        if name in found:
            raise click.UsageError("--normalize says mean, std and scale already: leave the others out")
        scale = parts["--scale"].get(name, (1.0,))
        if len(scale) != 1:
            raise _unreadable(",".join(map(str, scale)), "--scale", "one number, such as 1/255")
        found[name] = Normalization(parts["--mean"].get(name, (0.0,)), parts["--std"].get(name, (1.0,)), scale[0])
    return found


def _figures(words: Sequence[str], option: str) -> Mapping[str, tuple[float, ...]]:
    found: dict[str, tuple[float, ...]] = {}
    for word in words:
        name, numbers = _maybe_named(word)
        try:
            found[name] = tuple(_fraction(n) for n in numbers.split(","))
        except (ValueError, ZeroDivisionError):
            raise _unreadable(word, option, "numbers separated by commas, such as 0.485,0.456,0.406 or 1/255") from None
    return found


def _fraction(word: str) -> float:
    above, slash, below = word.partition("/")
    return float(above) / float(below) if slash else float(above)


def _maybe_named(word: str) -> tuple[str, str]:
    name, _, value = word.rpartition("=")
    return name, value


def _named(word: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = word.rpartition("=")
    if not equals or not name or not value:
        raise _unreadable(word, option, example)
    return name, value


def _unreadable(word: str, option: str, example: str) -> click.BadParameter:
    return click.BadParameter(f"'{word}' cannot be read; it is written as {example}", param_hint=option)
