"""A model in: read, checked, its weights mapped.

`examine` collects everything there is to say about a model; `load` raises it. Weights are never read here:
tensors refer to the bytes of mapped files, of the `.onnx` file itself where they are inside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fidelite.errors import FideliteError, InvalidModel, LoadError, Notice, raise_all
from fidelite.source import external, formats, inline
from fidelite.source.external import Extent, MissingData
from fidelite.source.tensors import bind, inside_problems, proto_tensors, stated_extents

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from fidelite.source.batch import Dim
    from fidelite.source.pytorch.program import Program

_CHUNK = 1 << 20


@dataclass
class Source:
    """A model that was read, and what is to be said about it.

    `model` is fidelite's own: stages may change it, and the caller's object stays as it was.
    """

    model: ir.Model
    path: Path | None = None
    notices: list[Notice] = field(default_factory=list[Notice])
    """What should be known and does not stand in the way."""
    missing: tuple[MissingData, ...] = ()
    problems: tuple[FideliteError, ...] = ()
    """What stands in the way, missing weights included. Empty after `load`, but for weights that may miss."""
    implied_shapes: dict[str, tuple[Dim, ...]] = field(default_factory=dict)
    """Inputs with a batch that is declared dynamic and fixed inside, and the shape that can work (N342)."""
    file_size: int = 0
    """Bytes of the `.onnx` file; 0 for a model that came from memory."""
    data_files: tuple[Path, ...] = ()
    """Files beside the graph that hold weights."""
    program: Program | None = None
    """The PyTorch network that the model was exported from, where it came that way: the first oracle."""
    exporter: str = ""
    """Which of PyTorch's exporters made the model."""
    _origin: ir.Model | onnx.ModelProto | None = field(default=None, repr=False)

    @property
    def opset(self) -> int:
        """Version of the default domain's operators; 0 where the model uses none of them."""
        imports = self.model.opset_imports
        return imports.get("", imports.get("ai.onnx", 0))

    @cached_property
    def sha256(self) -> str:
        """Of the graph's file followed by its data files, hexadecimal."""
        digest = hashlib.sha256()
        if self.path is None:
            digest.update(_serialized(self._origin if self._origin is not None else self.model))
        for path in (*([self.path] if self.path else []), *self.data_files):
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()

    @property
    def label(self) -> str:
        """The file's name, or what the PyTorch network is called; '' for a model in memory."""
        return self.path.name if self.path is not None else self.program.label if self.program is not None else ""

    def as_it_came(self) -> ir.Model:
        """The model before any stage changed it."""
        import onnx_ir as ir

        origin = self._origin if self._origin is not None else self.model
        return origin if isinstance(origin, ir.Model) else ir.from_proto(origin)

    @property
    def total_size(self) -> int:
        """Bytes of all files."""
        return self.file_size + sum(p.stat().st_size for p in self.data_files)

    def is_inline(self, tensor: ir.TensorProtocol) -> bool:
        """Whether the tensor's bytes lie in the model itself, not in a file of their own."""
        import onnx_ir as ir

        if not isinstance(tensor, ir.ExternalTensor):
            return True
        return self.path is not None and Path(tensor.path) == self.path.absolute()

    def fix_shapes(self, shapes: Mapping[str, Sequence[Dim]] | None = None) -> None:
        """Give inputs the shapes that the user wants, and otherwise those that alone can work.

        Raises:
            UsageError: see `shapes.apply_shapes`.
        """
        from fidelite.source.shapes import apply_shapes

        wanted = dict(shapes or {})
        implied = {name: shape for name, shape in self.implied_shapes.items() if name not in wanted}
        apply_shapes(self.model, implied | wanted)
        if not implied:
            self.notices = [n for n in self.notices if n.code != "N342"]

    def close(self) -> None:
        """Unmap the weights' files. Tensors map them again when they are read."""
        import onnx_ir as ir

        from fidelite.source.sizes import weight_tensors

        for tensor in weight_tensors(self.model):
            if isinstance(tensor, ir.ExternalTensor):
                tensor.release()


def load(
    model: Path | str | ir.Model | onnx.ModelProto,
    *,
    weights: Path | None = None,
    allow_missing_weights: bool = False,
) -> Source:
    """Read a model, or raise everything that is wrong with it at once.

    Args:
        model: An ONNX file, or a model in memory, which is not changed.
        weights: The file that holds the external data, in place of the one that the model names.
        allow_missing_weights: Whether missing or truncated weights are a notice instead of an error.

    Raises:
        LoadError: It cannot be read (codes F300 to F322).
        InvalidModel: Its graph is broken (F330 to F339).
        ContradictoryModel: Its operands contradict each other (F340 to F349).
        NotAModel: The file holds something else (F350 to F359).
        UsageError: `weights` does not fit (F201).
        Several: More than one of these.
    """
    from fidelite.errors import MissingExternalData

    source = examine(model, weights=weights)
    found = list(source.problems)
    if allow_missing_weights:
        absent = [e for e in found if isinstance(e, MissingExternalData) and e.code in ("F310", "F311")]
        found = [e for e in found if e not in absent]
        source.notices += [Notice("W310", e.reason, remedy=e.remedy, level="warning") for e in absent]
        source.problems = tuple(absent)
    raise_all(found)
    return source


def examine(model: Path | str | ir.Model | onnx.ModelProto, *, weights: Path | None = None) -> Source:
    """Read a model and collect what is wrong with it in `problems`.

    Raises only where there is no graph to speak of: the file holds something else, or names and edges of the
    graph are broken (then with everything else that was found).
    """
    if isinstance(model, (str, Path)):
        path = Path(model)
        formats.check_file(path)
        return _examine_proto(_read(path), path, path.parent, weights, None)
    import onnx_ir as ir

    if isinstance(model, ir.Model):
        return _examine_ir(model, weights)
    return _examine_proto(model, None, Path(), weights, model)


def _read(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    proto = onnx.ModelProto()
    try:
        message = inline.skeleton(path, path.name)
        proto.ParseFromString(path.read_bytes() if message is None else message)
    except DecodeError as error:
        raise formats.not_onnx(
            path, "its bytes do not follow the format (cut short, or something else)"
        ) from error
    except OSError as error:
        raise LoadError(f"'{path}' cannot be read: {error.strerror or error}", code="F306") from error
    if not proto.HasField("graph"):
        raise formats.not_onnx(path, "it has no graph")
    return proto


def _examine_proto(
    proto: onnx.ModelProto,
    path: Path | None,
    folder: Path,
    weights: Path | None,
    origin: onnx.ModelProto | None,
) -> Source:
    import onnx_ir as ir

    from fidelite.source.structure import check_structure

    structure = check_structure(proto)
    extents, problems = stated_extents(proto)
    inside = [e for e in extents if path is not None and e.location == path.name]
    problems += inside_problems(inside, path.stat().st_size if path is not None else 0)
    outside = [e for e in extents if not (path is not None and e.location == path.name)]
    found = external.examine_external(outside, folder, weights=weights, model=path)
    problems = [*structure.problems, *problems, *found.problems]
    if structure.problems or any(p.code in ("F314", "F339") for p in problems):
        raise_all(problems + _missing_errors(found.missing, path, None, proto))
    try:
        model = ir.from_proto(proto)
    except (ir.serde.SerdeError, ValueError, TypeError, NotImplementedError) as error:
        problems.append(
            InvalidModel(
                f"the graph cannot be read: {_root_cause(error)}",
                code="F330",
                remedy="export the model again",
            )
        )
        raise_all(problems + _missing_errors(found.missing, path, None, proto))
        raise
    if structure.unsorted:
        model.graph.sort()
        found.notices.append(Notice("N334", "the graph's nodes are out of order; they were sorted"))
    own = {path.name: path.absolute()} if path is not None else {}
    bind(model, folder, found.files | own)
    files = tuple(sorted({p for p in found.files.values() if p.is_file()}))
    return _finish(model, path, found, problems, files, origin)


def _examine_ir(original: ir.Model, weights: Path | None) -> Source:
    import onnx_ir as ir

    from fidelite.source.sizes import weight_tensors
    from fidelite.source.structure import check_ir

    raise_all(check_ir(original))
    model = original.clone()
    try:
        model.graph.sort()
    except ValueError as error:
        raise InvalidModel("the graph has a cycle", code="F334", remedy="break it up") from error
    tensors = [t for t in weight_tensors(model) if isinstance(t, ir.ExternalTensor)]
    folder = Path(tensors[0].base_dir) if tensors else Path()
    extents: list[Extent] = []
    problems: list[FideliteError] = []
    for tensor in tensors:
        if Path(tensor.base_dir) == folder and not Path(tensor.location).is_absolute():
            needed = tensor.nbytes
            extents.append(
                Extent(tensor.name, str(tensor.location), tensor.offset or 0, tensor.length, needed)
            )
    found = external.examine_external(extents, folder, weights=weights)
    if weights is not None:
        bind(model, folder, found.files)
    files = tuple(sorted({p for p in found.files.values() if p.is_file()}))
    return _finish(model, None, found, [*problems, *found.problems], files, original)


def _finish(
    model: ir.Model,
    path: Path | None,
    found: external.External,
    problems: list[FideliteError],
    files: tuple[Path, ...],
    origin: ir.Model | onnx.ModelProto | None,
) -> Source:
    """The checks on the model as a whole, which need its objects."""
    from fidelite.source.batch import implied_shapes
    from fidelite.source.faults import find_faults
    from fidelite.source.operands import check_operands
    from fidelite.source.shapes import open_negative_dimensions

    open_negative_dimensions(model)
    missing = _missing_errors(found.missing, path, model, None)
    contradictions = check_operands(model)
    faults = find_faults(model, contradictions)
    return Source(
        model=model,
        path=path,
        notices=[*found.notices, *faults.notices],
        missing=tuple(found.missing),
        implied_shapes=implied_shapes(model),
        problems=(*problems, *missing, *faults.errors),
        file_size=path.stat().st_size if path is not None else 0,
        data_files=files,
        _origin=origin,
    )


def _missing_errors(
    missing: Sequence[MissingData], path: Path | None, model: ir.Model | None, proto: onnx.ModelProto | None
) -> list[FideliteError]:
    if not missing:
        return []
    from fidelite.source.sizes import expected_sizes, weight_tensors

    if model is not None:
        tensors = list(weight_tensors(model))
        nodes = sum(1 for _ in model.graph)
    else:
        assert proto is not None
        tensors = list(_readable(proto))
        nodes = len(proto.graph.node)
    sizes = expected_sizes(tensors, nodes)
    graph_bytes = path.stat().st_size if path is not None else 0
    total = len(tensors)
    return [
        external.missing_error(m, model=path, total=total, graph_bytes=graph_bytes, sizes=sizes)
        for m in missing
    ]


def _readable(proto: onnx.ModelProto) -> Iterator[ir.TensorProtocol]:
    """The tensors whose messages can be read, of a model that is broken."""
    import onnx_ir as ir

    for tensor in proto_tensors(proto.graph, proto.functions):
        try:
            yield ir.from_proto(tensor)
        except (ir.serde.SerdeError, ValueError):
            continue


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _serialized(model: ir.Model | onnx.ModelProto) -> bytes:
    import onnx_ir as ir

    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    return proto.SerializeToString(deterministic=True)
