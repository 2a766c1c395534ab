"""LiteRT.js in a browser: what its tensors may be, and which operators its WebAssembly runs."""

from __future__ import annotations

from collections.abc import Iterator

from fidelite.targets.profile import Finding, Profile, Rule, found_at
from fidelite.tflite.graph import Model, Tensor

VERSION = "@litertjs/core 2.5.3"

_TYPES = frozenset({"float32", "int32", "uint8"})
# What becomes of the source's element types at the edge. Integers that int32 does not hold are refused in the proof.
_ELEMENTS = {
    **dict.fromkeys(("int64", "uint64", "uint32", "int16", "uint16", "int8", "bool"), "int32"),
    **dict.fromkeys(("float64", "float16", "bfloat16"), "float32"),
}

# Operators that gave the right numbers in the WebAssembly of that version: the ONNX backend suite's cases, converted
# with --target web, in headless Chromium (tests/extras/web/survey.py does it again and prints this table).
_TRIED = """
ABS ADD ARG_MAX ARG_MIN ATAN2 AVERAGE_POOL_2D BATCH_MATMUL BITCAST BITWISE_XOR BROADCAST_TO CAST CEIL CONCATENATION
CONV_2D CONV_3D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL EXP FILL FLOOR FLOOR_MOD
FULLY_CONNECTED GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH IF LEAKY_RELU LESS LESS_EQUAL
LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN
MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PAD PADV2 POW PRELU QUANTIZE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN
REDUCE_PROD RELU RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_SEQUENCE REVERSE_V2 RIGHT_SHIFT
ROUND RSQRT SCATTER_ND SELECT_V2 SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE
STABLEHLO_ADD STABLEHLO_AND STABLEHLO_MAXIMUM STABLEHLO_MINIMUM STABLEHLO_MULTIPLY STABLEHLO_SCATTER STRIDED_SLICE SUB
SUM TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV
"""
_RUN = frozenset(_TRIED.split())

TYPES = Rule("element-types", "inputs and outputs are float32, int32 or uint8",
             f"DATATYPES in dist/index.js of {VERSION}, and by experiment: others are refused when a model is loaded")
SHAPES = Rule("static-shapes", "inputs and outputs have fixed shapes",
              f"by experiment with {VERSION}: buffers are made from the shapes in the file, before the model runs")
EMPTY = Rule("no-empty-tensors", "inputs and outputs have at least one element",
             f"by experiment with {VERSION}: no buffer of 0 bytes can be made")
TRIED = Rule("tried-operators", "operators that were tried in LiteRT.js and gave the right numbers",
             f"by experiment with {VERSION}: the ONNX backend suite's cases in headless Chromium, on WebAssembly")


def check(model: Model) -> list[Finding]:
    """What is wrong at the edge, and which operators nobody has tried."""
    found = [*_edge(model, "input", model.main.inputs), *_edge(model, "output", model.main.outputs)]
    for number, graph in enumerate(model.graphs):
        found += [found_at(TRIED, model, number, index, "was not tried in LiteRT.js", level="note",
                           remedy="run the file in a browser and compare: fidelite serve OUT.tflite")
                  for index, operator in enumerate(graph.operators) if operator.op not in _RUN]
    return found


def _edge(model: Model, kind: str, tensors: list[Tensor]) -> Iterator[Finding]:
    for tensor in tensors:
        element = tensor.element.name.lower()
        if element not in _TYPES:
            yield Finding(TYPES, f"the {kind} '{tensor.name}' is {element}", _type_remedy(kind, element),
                          tensor=tensor.name)
        if any(not isinstance(d, int) for d in tensor.shape):
            shape = [d if isinstance(d, int) else "?" for d in tensor.shape]
            yield Finding(SHAPES, f"the {kind} '{tensor.name}' has open dimensions: {shape}",
                          _shape_remedy(model, kind, tensor), tensor=tensor.name)
        if 0 in tensor.shape:
            yield Finding(EMPTY, f"the {kind} '{tensor.name}' has no elements: {list(tensor.shape)}",
                          f"leave this {kind} out", tensor=tensor.name)


def _type_remedy(kind: str, element: str) -> str:
    if element in _ELEMENTS:
        return "convert the model again: fidelite convert MODEL.onnx --target web"
    return f"leave this {kind} out" if kind == "output" else "change its type before exporting the model"


def _shape_remedy(model: Model, kind: str, tensor: Tensor) -> str:
    open_inputs = [t for t in model.main.inputs if any(not isinstance(d, int) for d in t.shape)]
    if kind == "output" and not open_inputs:
        return "its size depends on values: keep other outputs with --outputs NAME,..."
    return " ".join(f"--shape {t.name}={','.join(str(d) if isinstance(d, int) else '1' for d in t.shape)}"
                    for t in (open_inputs if kind == "output" else [tensor]))


PROFILE = Profile(
    name="web",
    title=f"LiteRT.js in a browser ({VERSION})",
    rules=(TYPES, SHAPES, EMPTY, TRIED),
    check=check,
    run_here="run here in headless Chromium, on WebAssembly; WebGPU was not run",
    elements=_ELEMENTS,
    error="F490",
    notice="N490",
)
