"""TensorFlow Lite Micro: the operators, types and ranks that its reference kernels have."""

from __future__ import annotations

from collections.abc import Iterator

from fidelite.options import ConvertOptions
from fidelite.targets.micro_kernels import KERNELS, VERSION
from fidelite.targets.profile import Finding, Profile, Rule, found_at
from fidelite.tflite.graph import Model, Operator, Tensor
from fidelite.tflite.types import SHORT_NAMES

_KERNELS = "tensorflow/lite/micro/kernels of tflite-micro"
_TRIED = f"found by experiment with the package tflite-micro {VERSION} (scripts/probe_micro.py)"

OPERATOR = Rule("operator", "there is a kernel for the operator",
                f"tensorflow/lite/micro/micro_mutable_op_resolver.h of tflite-micro; {_TRIED}")
TYPE = Rule("type", "the kernel takes that element type", f"{_KERNELS}; {_TRIED}", depends_on_precision=True)
WEIGHTS = Rule("weights", "float values have float weights, int8 values int8 or int4 ones, int16 values int8 ones",
               f"{_KERNELS}, batch_matmul.cc: 'Hybrid input is not supported'; {_TRIED}", depends_on_precision=True)
RANK = Rule("rank", "a value has no more axes than the kernel computes right", f"{_KERNELS}; {_TRIED}")
STATIC = Rule("static-shapes", "every shape is known before the model is loaded: the arena is planned once",
              "docs/memory_management.md of tflite-micro")
CONSTANT = Rule("constant-operand", "permutations, paddings, sizes and axes are constants",
                f"{_KERNELS}: 'Non-constant ... tensor is not supported'")
RESCALE = Rule("no-rescale", "RELU6 gives its result in its operand's quantization",
               f"{_KERNELS}/activations.cc; {_TRIED}", depends_on_precision=True)
SIZE = Rule("size", "the weights lie inside the flatbuffer, which ends at 2 GB",
            "found by experiment: with Buffer.offset it computes garbage, without an error")

_DATA = {"SPLIT": 1, "TRANSPOSE_CONV": 2, "EMBEDDING_LOOKUP": 1, "FILL": 1, "SELECT_V2": 1}
_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
_CONSTANTS = {"TRANSPOSE": (1,), "PAD": (1,), "PADV2": (1,), "MIRROR_PAD": (1,), "RESIZE_BILINEAR": (1,),
              "RESIZE_NEAREST_NEIGHBOR": (1,), "EXPAND_DIMS": (1,), "BROADCAST_TO": (1,), "FILL": (0,), "SPLIT": (0,),
              "SPLIT_V": (1, 2), "STRIDED_SLICE": (1, 2, 3), "SPACE_TO_BATCH_ND": (1, 2), "BATCH_TO_SPACE_ND": (1, 2),
              "RESHAPE": (1,), "TRANSPOSE_CONV": (0,)}
_INSTEAD = {"GELU": "take its tanh form, which is within 0.0005 of it: --approximate gelu-tanh"}
_PRECISIONS = "choose --precision float32 or int8"
_MOST_BYTES = (1 << 31) - (1 << 20)
# Seen to work in whole models: they pass on what they are given.
_WHOLE_MODELS = frozenset({"IF", "WHILE"})


def kind_of(tensor: Tensor) -> str:
    """A type as the table writes it: f32, i8q (with quantization parameters), ..."""
    short = SHORT_NAMES.get(tensor.element, tensor.element.name.lower())
    return f"{short}q" if tensor.quantization is not None and tensor.element.is_integer else short


def check(model: Model) -> list[Finding]:
    """Every operator against the table of kernels, and the model against what is asked of the whole."""
    found = [*_dynamic(model), *_too_large(model)]
    for g, graph in enumerate(model.graphs):
        for i, operator in enumerate(graph.operators):
            found += _operator(model, g, i, operator)
    return found


def _dynamic(model: Model) -> Iterator[Finding]:
    for tensor in model.main.inputs:
        if not tensor.is_static:
            yield Finding(STATIC, f"the input '{tensor.name}' has open dimensions", tensor=tensor.name,
                          remedy=f"fix them: --shape {tensor.name}="
                                 + ",".join(str(d) if isinstance(d, int) else "1" for d in tensor.shape))


def _too_large(model: Model) -> Iterator[Finding]:
    constants = {t for graph in model.graphs for t in graph.tensors() if t.constant is not None}
    total = sum(t.constant.size * t.element.bits // 8 for t in constants if t.constant is not None)
    if total > _MOST_BYTES:
        yield Finding(SIZE, f"the weights take {total:,} bytes", remedy="choose a smaller network, or --precision int8")


def _operator(model: Model, g: int, i: int, operator: Operator) -> Iterator[Finding]:
    def tell(rule: Rule, reason: str, remedy: str = "") -> Finding:
        return found_at(rule, model, g, i, reason, remedy=remedy)

    row = KERNELS.get(operator.op)
    if operator.op in _WHOLE_MODELS:
        return
    if row is None:
        yield tell(OPERATOR, f"{operator.op} has no kernel that computes it right",
                   _INSTEAD.get(operator.op, "replace it in the network, or leave that part out: --outputs NAME"))
        return
    types, rank = row
    position = _DATA.get(operator.op, 0)
    data = operator.inputs[position] if position < len(operator.inputs) else None
    if data is None:
        return
    if (finding := _type_finding(operator, data, types.split())) is not None:
        yield tell(*finding)
    if data.rank > rank:
        yield tell(RANK, f"{operator.op} of {data.rank} axes; its kernel is right up to {rank}")
    for place in _CONSTANTS.get(operator.op, ()):
        operand = operator.inputs[place] if place < len(operator.inputs) else None
        if operand is not None and not operand.is_constant:
            yield tell(CONSTANT, f"operand {place} of {operator.op} ('{operand.name}') is computed",
                       "fix the shapes of the inputs: --shape NAME=...")
    if operator.op == "RELU6" and data.quantization != operator.outputs[0].quantization:
        yield tell(RESCALE, "RELU6 would have to rescale")


def _type_finding(operator: Operator, data: Tensor, types: list[str]) -> tuple[Rule, str, str] | None:
    kind = kind_of(data)
    if operator.op == "CAST":
        pair = f"{kind_of(data)}>{kind_of(operator.outputs[0])}".replace("q", "")
        return None if pair in types else (TYPE, f"no cast from {pair.replace('>', ' to ')}", "")
    if operator.op in _WEIGHTS:
        weights = operator.inputs[_WEIGHTS[operator.op]]
        assert weights is not None
        if weights.element is not data.element:
            pair = f"{kind}+{kind_of(weights).removesuffix('q')}"
            return None if pair in types else (
                WEIGHTS, f"{operator.op} of {kind} with {kind_of(weights)} weights", _PRECISIONS)
    if kind in types:
        return None
    # The table's `i16q` of a product is i16q+i8.
    remedy = _PRECISIONS if kind.endswith("q") or kind in ("f16", "f32") else ""
    return TYPE, f"{operator.op} takes {', '.join(types)}, and not {kind}", remedy


_STORED = {"float16": "the weights are float16, and a kernel that widens them is missing",
           "dynamic-int8": "float values meet int8 weights", "weight-int8": "float values meet int8 weights",
           "weight-int4": "float values meet int4 weights"}


def before(options: ConvertOptions) -> list[Finding]:
    """Precisions that mix float values with other weights are refused before any work is done."""
    if options.precision not in _STORED:
        return []
    return [Finding(WEIGHTS, f"--precision {options.precision}: {_STORED[options.precision]}",
                    _PRECISIONS)]


PROFILE = Profile(
    name="micro",
    title="TensorFlow Lite Micro",
    rules=(OPERATOR, TYPE, WEIGHTS, RANK, STATIC, CONSTANT, RESCALE, SIZE),
    check=check,
    before=before,
    run_here="run here where the package tflite-micro is installed: its interpreter has the device's reference "
             "kernels, not those of a chip's maker, and not its memory",
    error="F471",
)
