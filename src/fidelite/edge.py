"""What happens at a model's edge, as one piece of data: layout, normalisation, argmax, element type.

The same description is applied to the graph (`lower.edge`), to the source's feeds and answers when the two are
compared (`to_source`, `from_source`), and to pictures (`fidelite run`); it is kept in the file's manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fidelite.errors import FideliteError, TargetError, UsageError, raise_all
from fidelite.options import LAYOUTS, ConvertOptions, Normalization

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray]

Dims = Sequence[Any]


@dataclass(frozen=True, slots=True)
class ElementEdge:
    """The element types on both sides where they differ, by numpy's names ("int32"); a cast lies between them."""

    file: str
    source: str

    def to_json(self) -> dict[str, Any]:
        return {"file": self.file, "source": self.source}

    @staticmethod
    def from_json(data: Mapping[str, Any] | None) -> ElementEdge | None:
        return None if data is None else ElementEdge(data["file"], data["source"])


@dataclass(frozen=True, slots=True)
class InputEdge:
    """One input. `permutation` leads from the file's axes to the source's (empty: they are alike); `channel_axis` is
    the source's axis of the channels, which `normalization` speaks of; `element` is None where the types are alike."""

    permutation: tuple[int, ...] = ()
    normalization: Normalization | None = None
    channel_axis: int | None = None
    element: ElementEdge | None = None


@dataclass(frozen=True, slots=True)
class OutputEdge:
    """One output. `argmax_axis` (of the source's axes) is replaced by the index of its largest entry; `permutation`
    leads from the source's axes (without that one) to the file's; `element` is None where the types are alike;
    `columns` puts the entries of the file's last axis in another order (empty: as they are); `activation`, "softmax"
    or "sigmoid", is computed along that axis."""

    permutation: tuple[int, ...] = ()
    argmax_axis: int | None = None
    element: ElementEdge | None = None
    columns: tuple[int, ...] = ()
    activation: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    inputs: Mapping[str, InputEdge] = field(default_factory=dict[str, InputEdge])
    outputs: Mapping[str, OutputEdge] = field(default_factory=dict[str, OutputEdge])

    @property
    def is_plain(self) -> bool:
        """Whether the file's edge is the source's own."""
        return not self.inputs and not self.outputs

    def to_source(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """What the source must be fed where the result is fed `feeds`."""
        return {name: self._input(name, array) for name, array in feeds.items()}

    def _input(self, name: str, array: np.ndarray) -> np.ndarray:
        import numpy as np

        edge = self.inputs.get(name)
        if edge is None:
            return array
        if edge.permutation:
            array = array.transpose(edge.permutation)
        if edge.element is not None:
            array = _cast(array, edge.element.source)
        if edge.normalization is not None:
            facts, shape = edge.normalization, [1] * array.ndim
            shape[edge.channel_axis or 0] = -1
            mean = np.reshape(np.asarray(facts.mean, np.float64), shape if len(facts.mean) > 1 else [1] * array.ndim)
            std = np.reshape(np.asarray(facts.std, np.float64), shape if len(facts.std) > 1 else [1] * array.ndim)
            array = ((array.astype(np.float64) * facts.scale - mean) / std).astype(array.dtype)
        return np.asarray(array, order="C")

    def from_source(self, answers: Arrays) -> dict[str, np.ndarray]:
        """What the result must answer where the source answers `answers`.

        Raises TargetError (F491) where the file's element type cannot hold an answer.
        """
        return {name: self._output(name, array) for name, array in answers.items()}

    def _output(self, name: str, array: np.ndarray) -> np.ndarray:
        import numpy as np

        edge = self.outputs.get(name)
        if edge is None:
            return array
        if edge.argmax_axis is not None:
            array = np.argmax(array, axis=edge.argmax_axis).astype(np.int32)
        if edge.element is not None:
            _check_range(name, array, edge.element)
            array = _cast(array, edge.element.file)
        array = array.transpose(edge.permutation) if edge.permutation else array
        array = array[..., list(edge.columns)] if edge.columns else array
        return _activated(array, edge.activation) if edge.activation else array

    def to_json(self) -> dict[str, Any]:
        """For the manifest: per input its layout, normalisation and type, per output its layout, argmax and type."""
        return {
            "inputs": {n: {"permutation": list(e.permutation),
                           "normalization": e.normalization.to_json() if e.normalization else None,
                           "channel_axis": e.channel_axis,
                           "element": e.element.to_json() if e.element else None} for n, e in self.inputs.items()},
            "outputs": {n: {"permutation": list(e.permutation), "argmax_axis": e.argmax_axis,
                            "element": e.element.to_json() if e.element else None, "columns": list(e.columns),
                            "activation": e.activation}
                        for n, e in self.outputs.items()},
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Edge:
        inputs = {n: InputEdge(tuple(e["permutation"]),
                               Normalization.from_json(e["normalization"]) if e["normalization"] else None,
                               e["channel_axis"], ElementEdge.from_json(e.get("element")))
                  for n, e in data.get("inputs", {}).items()}
        outputs = {n: OutputEdge(tuple(e["permutation"]), e["argmax_axis"], ElementEdge.from_json(e.get("element")),
                                 tuple(e.get("columns", ())), e.get("activation", ""))
                   for n, e in data.get("outputs", {}).items()}
        return Edge(inputs, outputs)

    def retyped(self, inputs: Mapping[str, str], outputs: Mapping[str, str], takes: Mapping[str, str]) -> Edge:
        """This edge with the element types that a target takes.

        `inputs` and `outputs` are the source's element types by name; `takes` says what becomes of a type. Types
        that it does not name stay, as do outputs that argmax has turned into indices.
        """
        def change(source: str) -> ElementEdge | None:
            file = takes.get(source, source)
            return None if file == source else ElementEdge(file, source)

        found_in, found_out = dict(self.inputs), dict(self.outputs)
        for name, source in inputs.items():
            if (element := change(source)) is not None:
                found_in[name] = replace(found_in.get(name, InputEdge()), element=element)
        for name, source in outputs.items():
            edge = found_out.get(name, OutputEdge())
            if (element := change(source)) is not None and edge.argmax_axis is None:
                found_out[name] = replace(edge, element=element)
        return Edge(found_in, found_out)


    def carrying(self, inputs: Mapping[str, tuple[str, str]], outputs: Mapping[str, tuple[str, str]]) -> Edge:
        """This edge with inputs and outputs whose types LiteRT has not: name -> (the source's element type, the one
        that carries its values)."""
        def change(known: ElementEdge | None, types: tuple[str, str]) -> ElementEdge:
            return ElementEdge(types[1] if known is None else known.file, types[0])

        found_in, found_out = dict(self.inputs), dict(self.outputs)
        for name, types in inputs.items():
            taken = found_in.get(name, InputEdge())
            found_in[name] = replace(taken, element=change(taken.element, types))
        for name, types in outputs.items():
            given = found_out.get(name, OutputEdge())
            if given.argmax_axis is None:
                found_out[name] = replace(given, element=change(given.element, types))
        return Edge(found_in, found_out)

    def representable(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """`feeds` for the result, rounded to values that the source's own element types have."""
        types = {name: edge.element.source for name, edge in self.inputs.items() if edge.element is not None}
        return {name: _cast(array, types[name]).astype(array.dtype) if name in types else array
                for name, array in feeds.items()}


def _cast(array: np.ndarray, element: str) -> np.ndarray:
    import ml_dtypes
    import numpy as np

    return array.astype(np.dtype(getattr(ml_dtypes, element, element)))


def _activated(array: np.ndarray, activation: str) -> np.ndarray:
    import numpy as np

    values = array.astype(np.float64)
    if activation == "sigmoid":
        return (0.5 + 0.5 * np.tanh(0.5 * values)).astype(array.dtype)  # 1 / (1 + exp(-x)) without overflow
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(array.dtype)


def _check_range(name: str, array: np.ndarray, element: ElementEdge) -> None:
    """Whole numbers wrap in a narrower type: the file's answers would be wrong without a word."""
    import numpy as np

    if not array.size or array.dtype.kind not in "iu" or not element.file.startswith(("int", "uint")):
        return
    holds = np.iinfo(element.file)
    low, high = int(array.min()), int(array.max())
    if low < holds.min or high > holds.max:
        raise TargetError(f"the output '{name}' holds {low if low < holds.min else high}, which {element.file}, the "
                          "type that the target takes, cannot hold", code="F491",
                          remedy="keep other outputs: --outputs NAME,...; or convert without --target")


def plan_edge(options: ConvertOptions, inputs: Mapping[str, Dims], outputs: Mapping[str, Dims]) -> Edge:
    """The edge that `options` ask for, of a model with these inputs and outputs (name -> shape).

    Raises UsageError: F207 a name that does not exist, F208 a layout that does not fit, F209 a normalisation that
    does not fit.
    """
    errors: list[FideliteError] = []
    found_in: dict[str, InputEdge] = {}
    found_out: dict[str, OutputEdge] = {}
    known = {**dict.fromkeys(inputs, "input"), **dict.fromkeys(outputs, "output")}
    normalize = {name if name else _only_picture(inputs): n for name, n in options.normalize.items()}
    for name in (*options.layout, *normalize, *options.argmax):
        if name not in known or (name in normalize and name not in inputs) or (
                name in options.argmax and name not in outputs):
            errors.append(_unknown(name, outputs if name in options.argmax else inputs if name in normalize else known))
    raise_all(errors)
    for name, shape in inputs.items():
        layout, normalization = options.layout.get(name, "source"), normalize.get(name)
        if layout != "source" or normalization is not None:
            found_in[name] = _input_edge(name, shape, layout, normalization)
    for name, shape in outputs.items():
        layout, argmax = options.layout.get(name, "source"), name in options.argmax
        if layout != "source" or argmax:
            found_out[name] = _output_edge(name, shape, layout, argmax)
    return Edge({n: e for n, e in found_in.items() if e != InputEdge()},
                {n: e for n, e in found_out.items() if e != OutputEdge()})


def _only_picture(inputs: Mapping[str, Dims]) -> str:
    pictures = [name for name, shape in inputs.items() if len(shape) in (3, 4, 5)]
    if len(pictures) != 1:
        raise UsageError(f"the model has {len(pictures)} inputs that may be pictures: say which is to be normalised",
                         code="F209", remedy=f"--normalize NAME=imagenet, with NAME one of: {', '.join(inputs)}")
    return pictures[0]


def _unknown(name: str, known: Mapping[str, Any]) -> UsageError:
    import difflib

    near = difflib.get_close_matches(name, list(known), 3, 0.4) or list(known)[:8]
    return UsageError(f"there is no '{name}' among the model's inputs and outputs", code="F207",
                      remedy=f"did you mean: {', '.join(near)}?")


def _checked_layout(name: str, layout: str, rank: int) -> None:
    if layout not in LAYOUTS:
        raise UsageError(f"'{layout}' is no layout", code="F208", remedy=f"one of: {', '.join(LAYOUTS)}")
    if layout != "source" and not 3 <= rank <= 5:
        raise UsageError(f"'{name}' has {rank} dimensions: {layout} speaks of 3 to 5", code="F208",
                         remedy=f"leave --layout {name} out")


def _input_edge(name: str, shape: Dims, layout: str, normalization: Normalization | None) -> InputEdge:
    rank = len(shape)
    _checked_layout(name, layout, rank)
    permutation = (0, rank - 1, *range(1, rank - 1)) if layout == "nhwc" else ()
    if normalization is None:
        return InputEdge(permutation)
    entries = {len(normalization.mean), len(normalization.std)} - {1}
    if len(entries) > 1 or 0.0 in normalization.std:
        raise UsageError(f"mean {normalization.mean} and std {normalization.std} do not fit together", code="F209",
                         remedy="give as many of each as there are channels, and no std of 0")
    if not entries:
        return InputEdge(permutation, normalization, 1 if rank > 1 else 0)
    channels = entries.pop()
    axes = [a for a in (1, rank - 1) if rank >= 3 and shape[a] == channels]
    if not axes:
        raise UsageError(f"'{name}' with the shape {list(shape)} has no axis of {channels} channels", code="F209",
                         remedy="give one mean and one std per channel")
    return InputEdge(permutation, normalization, axes[0])


def _output_edge(name: str, shape: Dims, layout: str, argmax: bool) -> OutputEdge:
    rank = len(shape)
    if argmax:
        if rank < 2:
            raise UsageError(f"'{name}' has {rank} dimensions: there are no classes to choose from", code="F208",
                             remedy=f"leave --argmax {name} out")
        return OutputEdge((), 1)
    _checked_layout(name, layout, rank)
    return OutputEdge((0, *range(2, rank), 1) if layout == "nhwc" else ())
