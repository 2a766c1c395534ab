"""The stages in their order. The only file that knows it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fidelite.errors import Notice
from fidelite.files import publish
from fidelite.options import ConvertOptions

if TYPE_CHECKING:
    import onnx
    import onnx_ir

    from fidelite.check import Verification
    from fidelite.optimize import Log
    from fidelite.source.load import Source
    from fidelite.tflite.graph import Model

    AnyModel = Path | str | onnx_ir.Model | onnx.ModelProto

STAGES = ("read", "prepare", "lower", "optimize", "quantize", "write", "verify")
Progress = Callable[[str, float], None]
"""Called with the stage's name and how much of it is done (0 to 1)."""


@dataclass
class Conversion:
    """A converted model: the graph in memory, and what there is to say about how it came to be."""

    model: Model
    source: Source
    options: ConvertOptions
    notices: list[Notice] = field(default_factory=list[Notice])
    verification: Verification | None = None
    log: Log | None = None
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Wall-clock seconds of each stage."""

    @property
    def bytes(self) -> bytes:
        """The `.tflite` file's content. Use `save` for large models."""
        from fidelite.write.flatbuffer import write_model

        stream = BytesIO()
        write_model(self.model, stream)
        return stream.getvalue()

    @property
    def manifest(self) -> dict[str, Any]:
        """What is written into the file about where it comes from and what was proven."""
        from fidelite.manifest import manifest_of

        return manifest_of(self)

    def save(self, path: Path | str) -> Path:
        """Write the file, whole or not at all. Raises OutputError."""
        from fidelite.write.flatbuffer import write_model

        with publish(Path(path)) as temporary, temporary.open("wb") as stream:
            write_model(self.model, stream)
        return Path(path)


def convert(model: AnyModel, options: ConvertOptions, on_progress: Progress | None = None) -> Conversion:
    """Source to proven result. Raises FideliteErrors of the stage that failed."""
    clock = _Clock(on_progress)
    with clock.stage("read"):
        source = _read(model, options)
    with clock.stage("prepare"):
        from fidelite.prepare.graph import prepare

        prepare(source.model)
    with clock.stage("lower"):
        from fidelite.lower.driver import lower_model
        from fidelite.prepare.fold import fold

        lowered = lower_model(source.model, fold=fold, on_node=clock.counter("lower"))
    with clock.stage("optimize"):
        from fidelite.optimize import optimize

        log = optimize(lowered.model, explain=options.explain)
    result = Conversion(lowered.model, source, options, [*source.notices, *lowered.notices], log=log,
                        seconds=clock.seconds)
    return result


def _read(model: AnyModel, options: ConvertOptions) -> Source:
    from fidelite.source.batch import implied_shapes
    from fidelite.source.load import load
    from fidelite.source.shapes import apply_shapes, select_outputs

    source = load(model, weights=options.weights)
    apply_shapes(source.model, {**implied_shapes(source.model), **options.shapes})
    if options.outputs:
        select_outputs(source.model, options.outputs)
    return source


class _Clock:
    """Times stages, and tells the caller how far the work is."""

    def __init__(self, on_progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = on_progress or (lambda stage, done: None)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._tell(name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self._tell(name, 1.0)

    def counter(self, name: str) -> Callable[[int, int], None]:
        return lambda index, total: self._tell(name, index / max(total, 1))


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fidelite-", ignore_cleanup_errors=True)


def options_of(arguments: Mapping[str, Any]) -> ConvertOptions:
    """Options from keyword arguments. Raises UsageError for unknown names and values."""
    from fidelite.arguments import checked_options

    return checked_options(arguments)
