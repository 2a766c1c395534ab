"""Options for integer precisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fidelite.cli import words
from fidelite.options import IMPROVEMENTS, IO_TYPES, RANGES

F = TypeVar("F", bound=Callable[..., Any])


def options(function: F) -> F:
    """What integers are learnt from, and what keeps them accurate."""
    found = [
        click.option("--calibration", metavar="FOLDER|FILE.npz|MODULE:FUNCTION|synthetic",
                     help="int8, int16x8: samples that tell how far values reach. Pictures go in as `fidelite run` "
                          "puts them in; a function yields [array], as TensorFlow's representative_dataset does."),
        click.option("--ranges", type=click.Choice(RANGES), default=RANGES[0], show_default=True,
                     help="How ranges are chosen: least squared error, all values, all but the rarest, or entropy."),
        click.option("--improve", multiple=True, metavar="all|none|NAME,...",
                     help=f"What is done to keep a quantized model accurate: {', '.join(IMPROVEMENTS)}. All, by "
                          "default."),
        click.option("--io", type=click.Choice(IO_TYPES), default=IO_TYPES[0], show_default=True,
                     help="int8: element type of inputs and outputs; the report has their scales."),
    ]
    for option in reversed(found):
        function = option(function)
    return function


def arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Options as `fidelite.convert` takes them."""
    chosen = words.names(given["improve"])
    return {"calibration": given["calibration"], "ranges": given["ranges"], "io": given["io"],
            **({"improve": chosen} if chosen else {})}
