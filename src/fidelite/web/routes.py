"""What the page asks for, and the data that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import fidelite
from fidelite.errors import UsageError
from fidelite.options import PRECISIONS, TARGETS
from fidelite.web.shelf import Entry, Shelf

_DRAWN = 720
"""Pixels of the drawn face, in height and width."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A file, bytes or data (JSON) for the browser. `name` is the file name under which it is saved."""

    content: Any
    status: HTTPStatus = HTTPStatus.OK
    type: str = ""
    name: str = ""
    cached: bool = False


class Routes:
    """Answers requests about a shelf. `first` is the model that the page opens with."""

    def __init__(self, shelf: Shelf, first: str = "") -> None:
        self.shelf, self.first = shelf, first

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
        """Raises UsageError (F294) where there is nothing at that address, and what the work itself raises."""
        parts = path.strip("/").split("/")
        posted = method == "POST"
        match parts:
            case ["state"] if not posted:
                return Answer(self._state())
            case ["example", "picture.png"] if not posted:
                return Answer(_drawing(), type="image/png")
            case ["example"] if posted:
                return Answer(self.shelf.example().to_json())
            case ["models", model] if not posted:
                return Answer(self._model(self.shelf.find(model)))
            case ["models", model, "file"] if not posted:
                entry = self.shelf.find(model)
                return Answer(entry.path, name=_ascii(entry.path.name))
            case ["models", model, "target", target] if not posted:
                return Answer(fidelite.inspect(self.shelf.find(model).path, target=target).to_json()["target"])
            case ["models", model, "convert"] if posted:
                return Answer(self.shelf.convert(model, body).to_json(), HTTPStatus.ACCEPTED)
            case ["jobs", job] if not posted and job in self.shelf.jobs:
                return Answer(self.shelf.jobs[job].to_json())
            case _:
                raise UsageError(f"there is nothing at /api/{path}", code="F294", remedy="reload the page")

    def uploaded(self, path: Path, query: Mapping[str, str]) -> Answer:
        """A file that has just been written: a model, or the weights of one that was dropped before."""
        beside = query.get("beside", "")
        entry = self.shelf.find(beside) if beside else self.shelf.placed(path)
        return Answer(entry.to_json(), HTTPStatus.CREATED)

    def _state(self) -> dict[str, Any]:
        return {"version": fidelite.__version__, "first": self.first, "models": self.shelf.to_json(),
                "precisions": list(PRECISIONS), "targets": list(TARGETS)}

    def _model(self, entry: Entry) -> dict[str, Any]:
        facts = fidelite.inspect(entry.path).to_json()
        usage = fidelite.usage(entry.path) if entry.path.suffix.lower() == ".tflite" else None
        return {**entry.to_json(), "facts": facts, "usage": usage}


def _drawing() -> bytes:
    """The face that `fidelite demo` draws, as a picture to try."""
    from io import BytesIO

    from PIL import Image

    from fidelite.examples.face_parsing.demo import SEED
    from fidelite.examples.face_parsing.drawing import draw_face

    stream = BytesIO()
    Image.fromarray(draw_face(SEED, _DRAWN)[0]).save(stream, "PNG")
    return stream.getvalue()


def _ascii(name: str) -> str:
    return "".join(c if c.isascii() and c not in '"\\' else "_" for c in name)
