"""Where tensors say that their bytes lie, and where these bytes do lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from fidelite.errors import ContradictoryModel, FideliteError, InvalidModel, LoadError
from fidelite.source.external import Extent
from fidelite.source.sizes import all_graphs

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


_AGAIN = "export the model again"


def stated_extents(proto: onnx.ModelProto) -> tuple[list[Extent], list[FideliteError]]:
    """Where the model says that its external tensors lie, and what is wrong with its tensors' own messages.

    Finds: an entry that is not understood (F314), an unknown element type or a negative dimension (F339), data
    inside the message that are not as many as the shape needs (F342).
    """
    import onnx
    import onnx_ir as ir

    extents: list[Extent] = []
    problems: list[FideliteError] = []
    for tensor in proto_tensors(proto.graph, proto.functions):
        dtype = _dtype(tensor)
        if dtype == ir.DataType.UNDEFINED or any(d < 0 for d in tensor.dims):
            problems.append(_undefined(tensor))
        elif tensor.data_location == onnx.TensorProto.EXTERNAL:
            try:
                extents.append(_extent(tensor, dtype))
            except LoadError as error:
                problems.append(error)
        elif (wrong := _wrong_count(tensor, dtype)) is not None:
            problems.append(_contradicted(tensor.name, *wrong))
    return extents, problems


def _dtype(tensor: onnx.TensorProto) -> ir.DataType:
    import onnx_ir as ir

    try:
        return ir.DataType(tensor.data_type)
    except ValueError:
        return ir.DataType.UNDEFINED


def _undefined(tensor: onnx.TensorProto) -> InvalidModel:
    negative = any(d < 0 for d in tensor.dims)
    type_ = f"the element type {tensor.data_type}, which onnx does not know"
    return InvalidModel(
        f"the tensor '{tensor.name}' has {f'the shape {list(tensor.dims)}' if negative else type_}",
        code="F339",
        remedy=_AGAIN,
        details={"tensor": tensor.name, "data_type": tensor.data_type, "dims": list(tensor.dims)},
    )


def _extent(tensor: onnx.TensorProto, dtype: ir.DataType) -> Extent:
    import onnx_ir as ir

    entry = {e.key: e.value for e in tensor.external_data}
    offset, length = entry.get("offset", "0"), entry.get("length")
    if dtype == ir.DataType.STRING or not offset.isdecimal() or not (length or "0").isdecimal():
        raise LoadError(
            f"where the tensor '{tensor.name}' lies is not understood: {entry}",
            code="F314",
            remedy=_AGAIN,
            details={"tensor": tensor.name, "external_data": entry},
        )
    needed = (prod(tensor.dims) * dtype.bitwidth + 7) // 8
    location = entry.get("location", "")
    return Extent(tensor.name, location, int(offset), int(length) if length else None, needed)


def _wrong_count(tensor: onnx.TensorProto, dtype: ir.DataType) -> tuple[int, int, str] | None:
    """What a tensor holds inside its message, what its shape needs, and of what; None where they agree."""
    import onnx_ir as ir

    count = prod(tensor.dims)
    if dtype == ir.DataType.STRING:
        return (len(tensor.string_data), count, "values") if len(tensor.string_data) != count else None
    if tensor.HasField("raw_data"):
        found, needed = len(tensor.raw_data), (count * dtype.bitwidth + 7) // 8
        return (found, needed, "bytes") if found != needed else None
    if dtype.bitwidth < 8 or dtype.name.startswith("COMPLEX"):  # several numbers share or make one entry
        return None
    held = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    found = sum(map(len, held))
    return (found, count, "values") if found != count else None


def _contradicted(name: str, found: int, needed: int, of_what: str) -> ContradictoryModel:
    return ContradictoryModel(
        f"the tensor '{name}' holds {found:,} {of_what} where its shape needs {needed:,}",
        code="F342",
        remedy=_AGAIN,
        details={"tensor": name, "found": found, "needed": needed, "of": of_what},
    )


def inside_problems(extents: Iterable[Extent], file_size: int) -> list[FideliteError]:
    """F342: a tensor in the model's own file whose bytes are not as many as its shape needs, or not there."""
    problems: list[FideliteError] = []
    for extent in extents:
        length = extent.needed if extent.length is None else extent.length
        present = max(0, min(length, file_size - extent.offset))
        if present != extent.needed:
            problems.append(_contradicted(extent.name, present, extent.needed, "bytes"))
    return problems


def proto_tensors(
    graph: onnx.GraphProto, functions: Sequence[onnx.FunctionProto] = ()
) -> Iterable[onnx.TensorProto]:
    yield from graph.initializer
    for nodes in (graph.node, *(f.node for f in functions)):
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                if attribute.HasField("g"):
                    yield from proto_tensors(attribute.g)
                for subgraph in attribute.graphs:
                    yield from proto_tensors(subgraph)


def bind(model: ir.Model, folder: Path, files: Mapping[str, Path]) -> None:
    """Tell each external tensor where its file is. `files` has the locations that were found to be safe.

    Tensors keep their relative path where onnx-ir will read it, so that the model can be written again. Others are
    named by their full path: onnx-ir refuses links and files with several hard links, which caches of packages
    and models consist of. A tensor whose file is not known to be safe is left to that refusal.
    """
    import onnx_ir as ir

    base = folder.absolute()
    full = {location: str(path) for location, path in files.items() if not _is_plain(base, location, path)}

    def bound(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if not isinstance(tensor, ir.ExternalTensor):
            return tensor
        location = str(tensor.location)
        if location not in full:
            tensor.base_dir = base
            return tensor
        return ir.ExternalTensor(
            full[location],
            tensor.offset,
            tensor.length,
            tensor.dtype,
            shape=tensor.shape,
            name=tensor.name,
            doc_string=tensor.doc_string,
            metadata_props=dict(tensor.metadata_props),
            base_dir="",
        )

    for graph in all_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = bound(value.const_value)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    tensor = attribute.as_tensor()
                    if (moved := bound(tensor)) is not tensor:
                        node.attributes[name] = ir.AttrTensor(name, moved)


def _is_plain(base: Path, location: str, path: Path) -> bool:
    """Whether `location` in the folder `base` is the very file `path`, without links."""
    real = (base / location).resolve()
    if real != path.resolve() or not real.is_relative_to(base.resolve()):
        return False
    return not path.is_file() or path.stat().st_nlink == 1
