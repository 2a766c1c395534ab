"""Where tensors say that their bytes lie, and where these bytes do lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fidelite.errors import ContradictoryModel, FideliteError, InvalidModel, LoadError
from fidelite.source.external import Extent
from fidelite.source.sizes import all_graphs

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def stated_extents(proto: onnx.ModelProto) -> tuple[list[Extent], list[FideliteError]]:
    """Where the model says that its external tensors lie, and the entries that say nothing sensible."""
    import onnx
    import onnx_ir as ir

    extents: list[Extent] = []
    problems: list[FideliteError] = []
    for tensor in proto_tensors(proto.graph, proto.functions):
        try:
            dtype = ir.DataType(tensor.data_type)
        except ValueError:
            dtype = ir.DataType.UNDEFINED
        count = 1
        for dim in tensor.dims:
            count *= dim
        if dtype == ir.DataType.UNDEFINED or any(d < 0 for d in tensor.dims):
            what = (
                f"the shape {list(tensor.dims)}"
                if dtype != ir.DataType.UNDEFINED
                else (f"the element type {tensor.data_type}, which onnx does not know")
            )
            problems.append(
                InvalidModel(
                    f"the tensor '{tensor.name}' has {what}",
                    code="F339",
                    remedy="export the model again",
                    details={"tensor": tensor.name, "data_type": tensor.data_type, "dims": list(tensor.dims)},
                )
            )
            continue
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entry = {e.key: e.value for e in tensor.external_data}
        offset, length = entry.get("offset", "0"), entry.get("length")
        if dtype == ir.DataType.STRING or not offset.isdecimal() or not (length or "0").isdecimal():
            problems.append(
                LoadError(
                    f"where the tensor '{tensor.name}' lies is not understood: {entry}",
                    code="F314",
                    remedy="export the model again",
                    details={"tensor": tensor.name, "external_data": entry},
                )
            )
            continue
        needed = (count * dtype.bitwidth + 7) // 8
        extents.append(
            Extent(
                tensor.name, entry.get("location", ""), int(offset), int(length) if length else None, needed
            )
        )
    return extents, problems


def inside_problems(extents: Iterable[Extent]) -> list[FideliteError]:
    """F342: a tensor in the model's own file whose bytes are not as many as its shape needs."""
    return [
        ContradictoryModel(
            f"the tensor '{e.name}' holds {e.length:,} bytes where its shape needs {e.needed:,}",
            code="F342",
            remedy="export the model again",
            details={"tensor": e.name, "bytes": e.length, "needed": e.needed},
        )
        for e in extents
        if e.length is not None and e.length != e.needed
    ]


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


def bind(model: ir.Model, folder: Path, files: dict[str, Path]) -> None:
    """Tell each external tensor where its file is.

    Tensors keep their relative path where they can, so that the model can be written again. onnx-ir refuses
    files with more than one hard link, which package caches make: such files are named by their full path, as
    is one given with --weights. A tensor whose file is not known to be safe can be read by nobody.
    """
    import onnx_ir as ir

    def bound(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        if not isinstance(tensor, ir.ExternalTensor):
            return tensor
        location = str(tensor.location)
        own = location not in files
        path = folder / location if own else files[location]
        plain = (folder / location).resolve() == path.resolve() and (
            not path.is_file() or path.stat().st_nlink == 1
        )
        if plain:
            tensor.base_dir = folder if str(folder) != "." else Path.cwd()
            return tensor
        return ir.ExternalTensor(
            str(path.absolute()),
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
