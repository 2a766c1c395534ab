"""Conformance test of an ONNX -> TFLite converter against the ONNX backend test suite.

For every case of the suite that ships in the `onnx` package this program writes the
model to a temporary folder, converts it, runs the resulting .tflite with LiteRT's
interpreter on the suite's inputs and compares the outputs with the suite's expected
outputs. Conversion and inference run in worker processes, so a crash or a hang of
either costs one case only.

    conformance.py list
    conformance.py run --converter my_adapter.py:convert --out result.json
    conformance.py run --command 'mytool convert {onnx} -o {tflite}' --out result.json
    conformance.py summary result.json [--by-op] [--wrong]
    conformance.py compare old.json new.json
    conformance.py run ... --keep DIR; conformance.py recheck result.json --keep DIR ...

The Python that runs this file needs numpy, onnx and ai-edge-litert. The converter may
live in another Python: name its interpreter with --converter-python. An adapter is a
function `convert(onnx_path: str, tflite_path: str) -> None` that raises on failure.

Two modes say how operands that are parameters in practice are given to the converter:
  as-is    every graph input stays a runtime input, as the suite has it
  folded   inputs that STATIC_OPERANDS names (shapes, axes, scales, weights, ...) are
           frozen into initializers, with the values of the case's first data set

Floats pass within rtol 1e-3 (float16 2e-3, bfloat16 1.6e-2) plus an absolute 1e-5 or, if
more, 1e-6 of the largest expected magnitude; integers and booleans must be equal.
LiteRT's Python API shows 4-bit integers as 8-bit ones, so those count as dtype-change.

Status of a case, best first (a pass may carry several flags; the worst one names it):
  strict         names or order, shapes, dtypes and values all as the suite has them
  dtype-change   passes, but some input or output has another dtype (int64 -> int32, ...)
  shape-change   passes, but some input or output has another shape with the same
                 elements in the same order ([] -> [1], ...)
  layout-change  passes, but some input or output of rank 3..5 is channel-last
  wrong          the converter reported success and the model ran, but the outputs
                 differ (wrong_kind values | shape) or the model's interface cannot be
                 bound (wrong_kind interface): a silent error
  convert-error  the converter reported an error, or wrote no file; `codes` are those of the
                 error, if it has any (an exception with `code`, or with `errors` that have)
  run-error      the converter reported success, but LiteRT rejects or fails the model
  timeout, crash in `stage` convert or run
"""
from __future__ import annotations

import argparse
import collections
import dataclasses
import importlib
import importlib.util
import itertools
import json
import os
import pickle
import queue
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

RTOL = 1e-3      # the ONNX suite's own relative tolerance
ATOL = 1e-5      # the suite's is 1e-7, which float32 sums near zero cannot keep
SCALED_ATOL = 1e-6   # times the largest expected magnitude: float32 sums of large terms
PASSES = ("strict", "dtype-change", "shape-change", "layout-change")
STATUSES = PASSES + ("wrong", "convert-error", "run-error", "timeout", "crash")
# From best to worst for `compare`: an error that nobody is told of is the worst.
SEVERITY = PASSES + ("convert-error", "run-error", "timeout", "crash", "wrong")
MODES = ("as-is", "folded")
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")
RESOLVERS = ("auto", "builtin", "ref")
STARTUP_TIMEOUT = 180.0

# Operands that models in practice hold as constants, by op type: input positions.
# "folded" mode freezes a graph input that feeds any of them.
STATIC_OPERANDS = {
    # shapes, axes, sizes, amounts
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1, 2),
    "ConstantOfShape": (0,), "CumProd": (1,), "CumSum": (1,), "DFT": (1, 2),
    "Dropout": (1, 2), "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,),
    "Loop": (0, 1), "MaxUnpool": (2,), "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4), "OneHot": (1, 2), "Pad": (1, 2, 3),
    "Range": (0, 1, 2), "ReduceL1": (1,), "ReduceL2": (1,), "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,), "ReduceMax": (1,), "ReduceMean": (1,), "ReduceMin": (1,),
    "ReduceProd": (1,), "ReduceSum": (1,), "ReduceSumSquare": (1,), "Reshape": (1,),
    "Resize": (1, 2, 3), "STFT": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,),
    "SplitToSequence": (1,), "Squeeze": (1,), "Tile": (1, 2), "TopK": (1,),
    "Trilu": (1,), "Unsqueeze": (1,), "Upsample": (1,),
    # bounds, scales, zero points
    "Clip": (1, 2), "ConvInteger": (1, 2, 3), "DequantizeLinear": (1, 2),
    "MatMulInteger": (2, 3), "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7), "QuantizeLinear": (1, 2),
    # weights
    "BatchNormalization": (1, 2, 3, 4), "Conv": (1, 2), "ConvTranspose": (1, 2),
    "DeformConv": (1, 3), "GRU": (1, 2, 3), "Gemm": (1, 2), "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "LSTM": (1, 2, 3, 7),
    "LayerNormalization": (1, 2), "PRelu": (1,), "RMSNormalization": (1,),
    "RNN": (1, 2, 3), "RotaryEmbedding": (1, 2),
}


# ----------------------------------------------------------------------------- cases

@dataclasses.dataclass
class Case:
    name: str
    kind: str
    model: object                 # onnx.ModelProto
    data_sets: list               # [(inputs, outputs)], None where not plain tensors
    op: str = ""                  # op type under test, or "(kind)" for whole models
    base: "Case | None" = None    # of an "_expanded" case: the case it expands


def walk_nodes(graph):
    import onnx
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from walk_nodes(attribute.g)
            elif attribute.type == onnx.AttributeProto.GRAPHS:
                for sub in attribute.graphs:
                    yield from walk_nodes(sub)


def model_nodes(model):
    for node in walk_nodes(model.graph):
        yield node
    for function in model.functions:
        yield from walk_nodes(function)


def runtime_inputs(model):
    frozen = {t.name for t in model.graph.initializer}
    frozen |= {t.values.name for t in model.graph.sparse_initializer}
    return [v for v in model.graph.input if v.name not in frozen]


def _to_array(item):
    import numpy as np
    import onnx
    if isinstance(item, onnx.TensorProto):
        return onnx.numpy_helper.to_array(item)
    if isinstance(item, (list, tuple)) or item is None:
        return None
    return np.asarray(item)


def _plain(data_sets):
    """Data sets as arrays, or None if one holds a sequence or an optional."""
    result = []
    for inputs, outputs in data_sets:
        pair = [[_to_array(x) for x in side] for side in (inputs, outputs)]
        if any(x is None for side in pair for x in side):
            return None
        result.append(tuple(pair))
    return result


def _read_folder(folder, kind):
    import onnx
    model = onnx.load(os.path.join(folder, "model.onnx"))
    data_sets = []
    for sub in sorted(os.listdir(folder)):
        if not sub.startswith("test_data_set_"):
            continue
        sides = []
        for side, infos in (("input", model.graph.input), ("output", model.graph.output)):
            tensors = []
            for i in itertools.count():
                path = os.path.join(folder, sub, f"{side}_{i}.pb")
                if not os.path.exists(path):
                    break
                if not infos[i].type.HasField("tensor_type"):
                    tensors.append(None)
                    continue
                tensor = onnx.TensorProto()
                with open(path, "rb") as file:
                    tensor.ParseFromString(file.read())
                tensors.append(tensor)
            sides.append(tensors)
        data_sets.append(tuple(sides))
    return Case(os.path.basename(folder), kind, model, _plain(data_sets))


def _read_light(data_dir):
    """The full-size nets: no inputs on disk; the suite's runner feeds a ramp."""
    import numpy as np
    import onnx
    folder = os.path.join(data_dir, "light")
    if not os.path.isdir(folder):
        return
    for file_name in sorted(os.listdir(folder)):
        if not file_name.endswith(".onnx"):
            continue
        model = onnx.load(os.path.join(folder, file_name))
        inputs, outputs = [], []
        for info in runtime_inputs(model):
            shape = tuple(d.dim_value if d.HasField("dim_value") else 1
                          for d in info.type.tensor_type.shape.dim)
            size = int(np.prod(shape))
            inputs.append((np.arange(size).reshape(shape) / size).astype(np.float32))
        for i in range(len(model.graph.output)):
            tensor = onnx.TensorProto()
            with open(os.path.join(folder, f"{file_name[:-5]}_output_{i}.pb"), "rb") as file:
                tensor.ParseFromString(file.read())
            outputs.append(onnx.numpy_helper.to_array(tensor))
        yield Case(file_name[:-5], "light", model, [(inputs, outputs)])


def load_suite(data_dir=None):
    """All cases of the installed onnx package, or of an on-disk copy of its data folder.

    onnx up to 1.20 ships the node cases on disk; later ones generate them on import."""
    import numpy as np
    import onnx
    package_dir = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    data_dir = data_dir or package_dir
    cases = []
    for kind in KINDS[:-1]:
        folder = os.path.join(data_dir, kind)
        if os.path.isdir(folder):
            for name in sorted(os.listdir(folder)):
                if os.path.exists(os.path.join(folder, name, "model.onnx")):
                    cases.append(_read_folder(os.path.join(folder, name), kind))
        elif kind == "node":
            import warnings
            from onnx.backend.test.loader import load_model_tests
            np.random.seed(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                generated = load_model_tests(kind="node")
            cases += [Case(t.name, kind, t.model, _plain(t.data_sets)) for t in generated]
    cases += _read_light(data_dir)
    by_name = {c.name: c for c in cases}
    for case in cases:
        match = re.match(r"(.*)_expanded(_ver\d+)?$", case.name)
        case.base = by_name.get(match.group(1)) if match else None
        source = case.base or case
        if case.kind != "node":
            case.op = f"({case.kind})"
        elif len(source.model.graph.node) == 1:
            case.op = source.model.graph.node[0].op_type
        else:
            real = [n.op_type for n in source.model.graph.node if n.op_type != "Constant"]
            case.op = real[-1] if real else "Constant"
    return sorted(cases, key=lambda c: (KINDS.index(c.kind), c.name))


# ------------------------------------------------------------------------ exclusions

def _is_training(case):
    # Of an expanded case its base says what it tests.
    for model in [case.model] + ([case.base.model] if case.base else []):
        for node in model_nodes(model):
            if node.domain == "ai.onnx.preview.training":
                return True
            if any(a.name == "training_mode" and a.i for a in node.attribute):
                return True
            if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
                names = [i.name for i in runtime_inputs(model)]
                mode = [t for t in model.graph.initializer if t.name == node.input[2]]
                if mode:
                    import onnx
                    if onnx.numpy_helper.to_array(mode[0]).any():
                        return True
                elif node.input[2] in names and case.data_sets:
                    if case.data_sets[0][0][names.index(node.input[2])].any():
                        return True
                else:
                    for other in model.graph.node:
                        if node.input[2] in other.output and other.op_type == "Constant":
                            import onnx
                            if onnx.numpy_helper.to_array(other.attribute[0].t).any():
                                return True
    return False


def _is_random(case):
    random_ops = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike",
                  "RandomUniform", "RandomUniformLike"}
    return any(n.op_type in random_ops for n in model_nodes(case.model))


def _value_infos(case):
    return list(case.model.graph.input) + list(case.model.graph.output)


def _is_not_tensor(case):
    return any(not v.type.HasField("tensor_type") for v in _value_infos(case))


def _is_string(case):
    import onnx
    return any(v.type.tensor_type.elem_type == onnx.TensorProto.STRING
               for v in _value_infos(case))


EXCLUSIONS = [
    ("training", "optimizers, gradients, training_mode: no inference on a device", _is_training),
    ("random", "output is random, so no expected value holds", _is_random),
    ("not-a-tensor", "sequence, optional, map input or output: TFLite has no such type",
     _is_not_tensor),
    ("string", "string input or output: text processing", _is_string),
]


def exclusion_of(case):
    for rule, _, predicate in EXCLUSIONS:
        if predicate(case):
            return rule
    return None


# --------------------------------------------------------------------------- folding

def static_inputs(case):
    """Names of the graph inputs that folded mode freezes."""
    names = {v.name for v in runtime_inputs(case.model)}
    found = set()
    for model in [case.model] + ([case.base.model] if case.base else []):
        for node in model_nodes(model):
            for position in STATIC_OPERANDS.get(node.op_type, ()):
                if position < len(node.input) and node.input[position] in names:
                    found.add(node.input[position])
    return [v.name for v in runtime_inputs(case.model) if v.name in found]


def fold(case, names):
    """The case with the named inputs frozen to the values of its first data set."""
    import onnx
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    order = [v.name for v in runtime_inputs(model)]
    keep = [i for i, name in enumerate(order) if name not in names]
    for i, name in enumerate(order):
        if name in names:
            model.graph.initializer.append(
                onnx.numpy_helper.from_array(case.data_sets[0][0][i], name))
    kept = [v for v in model.graph.input if v.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)   # before 4, initializers must be inputs
    data_sets = [([inputs[i] for i in keep if i < len(inputs)], outputs)
                 for inputs, outputs in case.data_sets[:1]]
    return dataclasses.replace(case, model=model, data_sets=data_sets)


# --------------------------------------------------------------------- run + compare

class Interface(Exception):
    """The converted model's inputs or outputs cannot be matched with the case's."""


def _normal_name(name):
    name = re.sub(r"^serving_default_", "", name)
    name = re.sub(r":\d+$", "", name)
    return re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_").lower()


def _match_names(wanted, details, what):
    """For each wanted name the index of its detail, or None where the model lacks it."""
    have = [_normal_name(d["public_name"]) for d in details]
    want = [_normal_name(n) for n in wanted]
    unique = len(set(have)) == len(have) and len(set(want)) == len(want)
    if unique and set(have) <= set(want) and (what == "input" or len(have) == len(want)):
        return [have.index(n) if n in have else None for n in want], "name"
    if len(have) == len(want):
        return list(range(len(want))), "position"
    raise Interface(f"{len(have)} {what}s where the ONNX model has {len(want)}")


def _last(shape_or_rank):
    rank = shape_or_rank if isinstance(shape_or_rank, int) else len(shape_or_rank)
    return (0, *range(2, rank), 1)


def _fits(shape, signature):
    return len(shape) == len(signature) and all(
        s in (-1, d) for d, s in zip(shape, signature))


def _is_tiny_float(dtype):
    return dtype.name.startswith(("float8", "float4"))


def _bits_equal(got, want):
    import numpy as np
    return np.array_equal(got.view(np.uint8), want.view(np.uint8))


def _cast(array, dtype):
    import numpy as np
    dtype = np.dtype(dtype)
    if array.dtype == dtype:
        return array
    if _is_tiny_float(array.dtype) and dtype.name in ("int8", "uint8"):
        return array.view(dtype)
    if np.issubdtype(dtype, np.integer) and array.dtype.kind in "iub":
        info = np.iinfo(dtype)
        if array.size and (int(array.min()) < info.min or int(array.max()) > info.max):
            if np.issubdtype(array.dtype, np.integer):
                # INT64_MAX and the like are "to the end" in slices: saturate
                return np.clip(array.astype(object), info.min, info.max).astype(dtype)
    return array.astype(dtype)


def _kind(dtype):
    import numpy as np
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return "bool"
    if np.issubdtype(dtype, np.integer) or dtype.name in ("int4", "uint4", "int2", "uint2"):
        return "int"
    if np.issubdtype(dtype, np.complexfloating):
        return "complex"
    return "float"


def _close(got, want, rtol, atol):
    """(equal within tolerance, largest absolute error or None)."""
    import numpy as np
    kind = _kind(want.dtype)
    if kind in ("bool", "int"):
        if _kind(got.dtype) in ("bool", "int"):
            a, b = got.astype(np.int64), want.astype(np.int64)
        else:
            a, b = got.astype(np.float64), want.astype(np.float64)
        equal = np.array_equal(a, b)
        if equal or not a.size:
            return equal, 0.0
        return False, float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64))))
    if want.dtype.name == "float16":
        rtol = max(rtol, 2e-3)
    elif want.dtype.name == "bfloat16":
        rtol = max(rtol, 1.6e-2)
    elif _is_tiny_float(want.dtype):
        rtol = 0.0
    if _is_tiny_float(want.dtype) and got.dtype.name in ("int8", "uint8"):
        return _bits_equal(got, want), None   # LiteRT gives such tensors as raw bytes
    wide = np.complex128 if kind == "complex" else np.float64
    a, b = got.astype(wide), want.astype(wide)
    with np.errstate(all="ignore"):
        finite = np.abs(b[np.isfinite(b)])
        atol = max(atol, SCALED_ATOL * float(finite.max())) if finite.size else atol
        equal = bool(np.all(np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)))
        error = np.abs(a - b)
        error = error[np.isfinite(error)]
    return equal, float(error.max()) if error.size else (0.0 if equal else None)


def _judge(got, want, rtol, atol):
    """(flags or None if wrong, wrong_kind, message, largest error)."""
    import numpy as np
    flags = set()
    if got.dtype != want.dtype:
        flags.add("dtype-change")
    note = f"{want.dtype}{list(want.shape)} -> {got.dtype}{list(got.shape)}"
    errors = []   # of each reading of the output that its shape allows
    if got.shape == want.shape:
        equal, error = _close(got, want, rtol, atol)
        if equal:
            return flags, None, note if flags else "", error
        errors.append(error)
    if want.ndim in (3, 4, 5) and got.shape == tuple(want.shape[p] for p in _last(want.ndim)):
        equal, error = _close(got.transpose(np.argsort(_last(want.ndim))), want, rtol, atol)
        if equal:
            return flags | {"layout-change"}, None, note, error
        errors.append(error)
    if got.shape != want.shape and got.size == want.size:
        equal, error = _close(got.reshape(-1), want.reshape(-1), rtol, atol)
        if equal:
            return flags | {"shape-change"}, None, note, error
    if not errors:
        return None, "shape", f"shape {note}", None
    known = [e for e in errors if e is not None]
    error = min(known) if known else None
    where = "" if _same_specials(got, want) else ", in NaN or infinity too"
    return None, "values", f"values differ, max abs error {error}{where} ({note})", error


def _same_specials(got, want):
    import numpy as np
    if _kind(got.dtype) != "float" or _kind(want.dtype) != "float" or got.shape != want.shape:
        return True
    a, b = got.astype(np.float64), want.astype(np.float64)
    return np.array_equal(np.isfinite(a), np.isfinite(b))


class _Session:
    def __init__(self, path, resolver):
        from ai_edge_litert import interpreter as tfl
        kind = getattr(tfl.OpResolverType, {
            "auto": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
            "ref": "BUILTIN_REF"}[resolver])
        self.runtime = tfl.Interpreter(
            model_path=path, num_threads=1, experimental_op_resolver_type=kind)
        self.inputs = self.runtime.get_input_details()
        self.outputs = self.runtime.get_output_details()
        self._public_names()

    def _public_names(self):
        """Names as the one signature gives them, else the tensors' own."""
        tables = [{}, {}]
        try:
            signatures = list(self.runtime.get_signature_list())
            if len(signatures) == 1:
                runner = self.runtime.get_signature_runner(signatures[0])
                tables = [{d["index"]: n for n, d in getter().items()}
                          for getter in (runner.get_input_details, runner.get_output_details)]
        except Exception:
            tables = [{}, {}]
        for details, table in zip((self.inputs, self.outputs), tables):
            for detail in details:
                detail["public_name"] = table.get(detail["index"], detail["name"])

    def run(self, arrays):
        """arrays: one per model input, in the model's order."""
        for detail, array in zip(self.inputs, arrays):
            if tuple(detail["shape"]) != array.shape:
                self.runtime.resize_tensor_input(detail["index"], array.shape)
                detail["shape"] = list(array.shape)
        self.runtime.allocate_tensors()
        for detail, array in zip(self.inputs, arrays):
            self.runtime.set_tensor(detail["index"], array)
        self.runtime.invoke()
        return [self.runtime.get_tensor(d["index"]).copy() for d in self.outputs]


def _bind(array, detail, last):
    """The array as this model input wants it, and the flags that cost."""
    flags = set()
    signature = [int(s) for s in detail.get("shape_signature", detail["shape"])]
    if len(signature) != len(detail["shape"]):
        signature = [int(s) for s in detail["shape"]]
    if last:
        array = array.transpose(_last(array.ndim))
        flags.add("layout-change")
    if array.dtype != detail["dtype"]:
        flags.add("dtype-change")
        array = _cast(array, detail["dtype"])
    if not _fits(array.shape, signature):
        if array.size != 1 and array.size != int(abs(_product(signature))):
            raise Interface(f"input {detail['public_name']} is {signature}, "
                            f"the case's array is {list(array.shape)}")
        flags.add("shape-change")
        array = array.reshape([abs(s) for s in signature] if array.size == 1 else signature)
    return array.copy(order="C"), flags


def _product(values):
    result = 1
    for value in values:
        result *= int(value)
    return result


def evaluate(tflite, spec):
    """Runs a converted model on a case's data; returns the outcome as a dict."""
    started = time.perf_counter()
    outcome = {"status": "strict", "flags": [], "message": ""}
    try:
        session = _Session(tflite, spec["resolver"])
        flags, notes, worst = set(), [], 0.0
        for inputs, outputs in spec["data_sets"]:
            into, how_in = _match_names(spec["inputs"], session.inputs, "input")
            outof, how_out = _match_names(spec["outputs"], session.outputs, "output")
            pairs = [(inputs[i], session.inputs[j]) for i, j in enumerate(into) if j is not None]
            order = {j: k for k, j in enumerate(x for x in into if x is not None)}
            verdict = None
            for choice in _layout_choices(pairs):
                try:
                    bound = [_bind(a, d, last) for (a, d), last in zip(pairs, choice)]
                except Interface as error:
                    verdict = verdict or (None, "interface", str(error), None)
                    continue
                got = session.run([bound[order[j]][0] for j in range(len(session.inputs))])
                used = set().union(*[f for _, f in bound]) if bound else set()
                results = [_judge(got[j], want, spec["rtol"], spec["atol"])
                           for want, j in zip(outputs, outof)]
                bad = [r for r in results if r[0] is None]
                if not bad:
                    used |= set().union(*[r[0] for r in results]) if results else set()
                    note = "; ".join(dict.fromkeys(r[2] for r in results if r[2]))
                    error = max((r[3] or 0.0 for r in results), default=0.0)
                    verdict = (used, None, note, error)
                    break
                if verdict is None or verdict[1] == "interface":
                    verdict = bad[0]
            if verdict[0] is None:
                outcome.update(status="wrong", wrong_kind=verdict[1], message=verdict[2],
                               max_abs_error=verdict[3])
                break
            flags |= verdict[0]
            notes += [verdict[2]] if verdict[2] else []
            worst = max(worst, verdict[3])
            outcome.update(matched=f"inputs by {how_in}, outputs by {how_out}")
        else:
            outcome["flags"] = [f for f in PASSES if f in flags]
            outcome["status"] = outcome["flags"][-1] if flags else "strict"
            outcome["message"] = "; ".join(dict.fromkeys(notes))
            outcome["max_abs_error"] = worst
    except Interface as error:
        outcome.update(status="wrong", wrong_kind="interface", message=str(error))
    except Exception as error:  # whatever LiteRT raises is the model's failure
        outcome.update(status="run-error", message=f"{type(error).__name__}: {error}")
    outcome["run_seconds"] = round(time.perf_counter() - started, 4)
    return outcome


def _layout_choices(pairs):
    """Which inputs to feed channel-last: first the fewest that the shapes allow."""
    free, base = [], []
    for i, (array, detail) in enumerate(pairs):
        signature = [int(s) for s in detail.get("shape_signature", detail["shape"])]
        plain = _fits(array.shape, signature)
        last = array.ndim in (3, 4, 5) and _fits(
            [array.shape[p] for p in _last(array.ndim)], signature)
        base.append(last and not plain)
        if last and plain:
            free.append(i)
    yield list(base)
    subsets = itertools.chain.from_iterable(
        itertools.combinations(free, n) for n in range(len(free), 0, -1))
    for subset in itertools.islice(subsets, 8):
        choice = list(base)
        for i in subset:
            choice[i] = True
        yield choice


# --------------------------------------------------------------------------- workers

def _load_function(spec):
    source, _, name = spec.rpartition(":")
    if source.endswith(".py"):
        path = os.path.abspath(source)
        sys.path.insert(0, os.path.dirname(path))
        module_spec = importlib.util.spec_from_file_location(
            os.path.splitext(os.path.basename(path))[0], path)
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(source)
    return getattr(module, name)


def _codes(error):
    """The stable codes of an exception and of those that it stands for."""
    several = getattr(error, "errors", None)
    several = several if isinstance(several, (list, tuple)) and several else (error,)
    found = {getattr(single, "code", None) for single in several}
    return sorted(code for code in found if isinstance(code, str))


class _PeakMemory:
    """Peak resident memory of this process since reset(), where Linux tells it."""

    def reset(self):
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass

    def mib(self):
        try:
            with open("/proc/self/status") as file:
                return round(int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024, 1)
        except (OSError, AttributeError):
            return None


def worker_main(role, argument):
    """Answers one JSON request a line on a private copy of stdout."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)   # what a converter prints goes to the log, not into the protocol

    def say(message):
        channel.write(json.dumps(message) + "\n")

    try:
        convert = _load_function(argument) if role == "convert" else None
        if role == "run":
            import ai_edge_litert.interpreter  # noqa: F401
            import ml_dtypes  # noqa: F401
    except BaseException as error:  # an adapter may fail in any way on import
        say({"fatal": f"{type(error).__name__}: {error}"})
        return
    say({"ready": True})
    memory = _PeakMemory()
    for line in sys.stdin:
        request = json.loads(line)
        memory.reset()
        if role == "convert":
            started = time.perf_counter()
            reply = {"ok": True}
            try:
                convert(request["onnx"], request["tflite"])
            except BaseException as error:  # sys.exit() included
                reply = {"ok": False, "message": f"{type(error).__name__}: {error}",
                         "codes": _codes(error)}
            reply["seconds"] = round(time.perf_counter() - started, 4)
        else:
            with open(request["spec"], "rb") as file:
                spec = pickle.load(file)
            spec["resolver"] = request.get("resolver") or spec["resolver"]
            reply = evaluate(request["tflite"], spec)
        reply["peak_mib"] = memory.mib()
        say(reply)


class Worker:
    """A child process that answers requests; started on demand, replaced when it dies."""

    def __init__(self, argv):
        self.argv = argv
        self.process = None
        self.log = tempfile.TemporaryFile()
        self.buffer = b""

    def _read(self, deadline):
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            if not select.select([self.process.stdout], [], [], left)[0]:
                continue
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return "crash"
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def _start(self):
        self.buffer = b""
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            start_new_session=True)
        reply = self._read(time.monotonic() + STARTUP_TIMEOUT)
        if not isinstance(reply, dict) or "ready" not in reply:
            reason = reply.get("fatal") if isinstance(reply, dict) else reply
            tail = self._log_tail()
            self.stop()
            raise RuntimeError(f"worker did not start: {reason} {tail}")

    def _log_tail(self):
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - 600))
        text = self.log.read().decode("utf-8", "replace")
        return " | ".join(text.strip().splitlines()[-3:])

    def ask(self, request, timeout):
        if self.process is None or self.process.poll() is not None:
            self._start()
        self.log.seek(0)
        self.log.truncate()
        try:
            self.process.stdin.write((json.dumps(request) + "\n").encode())
            self.process.stdin.flush()
            reply = self._read(time.monotonic() + timeout)
        except BrokenPipeError:
            reply = "crash"
        if isinstance(reply, dict):
            return reply
        tail = self._log_tail()
        code = self.stop()
        if reply == "timeout":
            return {"status": "timeout", "message": f"no answer in {timeout:g} s"}
        how = f"signal {-code}" if code and code < 0 else f"exit {code}"
        return {"status": "crash", "message": f"{how}; {tail}"}

    def stop(self):
        """Ends the worker and whatever it started; returns its exit code."""
        process, self.process = self.process, None
        if process is None:
            return None
        try:
            process.stdin.close()   # a healthy worker exits at the end of its input
        except BrokenPipeError:
            pass
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)   # its own group: start_new_session
        except ProcessLookupError:
            pass
        process.stdout.close()
        return process.wait()


class CommandConverter:
    """Runs a command template for each case."""

    def __init__(self, template):
        self.template = shlex.split(template)

    def ask(self, request, timeout):
        argv = [part.format(**request) for part in self.template]
        started = time.perf_counter()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {"status": "timeout", "message": f"no answer in {timeout:g} s"}
        tail = " | ".join(output.decode("utf-8", "replace").strip().splitlines()[-3:])[-600:]
        if process.returncode < 0:
            return {"status": "crash", "message": f"signal {-process.returncode}; {tail}"}
        return {"ok": process.returncode == 0, "message": tail,
                "seconds": round(time.perf_counter() - started, 4), "peak_mib": None}

    def stop(self):
        pass


# ----------------------------------------------------------------------------- driver

class Lane:
    """One converter and one runner, used by one thread."""

    def __init__(self, options):
        this = os.path.abspath(__file__)
        self.options = options
        if options.command:
            self.converter = CommandConverter(options.command)
        else:
            python = options.converter_python or sys.executable
            self.converter = Worker([python, this, "worker", "convert", options.converter])
        self.runner = Worker([sys.executable, this, "worker", "run", ""])

    def case(self, case, mode):
        import onnx
        row = {}
        folder = tempfile.mkdtemp(prefix="conformance-")
        try:
            source = os.path.join(folder, "model.onnx")
            target = os.path.join(folder, "model.tflite")
            onnx.save(case.model, source)
            started = time.perf_counter()
            reply = self.converter.ask({"onnx": source, "tflite": target},
                                       self.options.timeout)
            row["convert_seconds"] = reply.get(
                "seconds", round(time.perf_counter() - started, 4))
            row["convert_peak_mib"] = reply.get("peak_mib")
            if "status" in reply:
                row.update(reply, stage="convert")
            elif not reply["ok"]:
                row.update(status="convert-error", message=reply["message"], stage="convert",
                           codes=reply.get("codes", []))
            elif not os.path.exists(target):
                row.update(status="convert-error", message="no file written", stage="convert")
            else:
                row["tflite_bytes"] = os.path.getsize(target)
                spec = os.path.join(folder, "spec.pickle")
                with open(spec, "wb") as file:
                    pickle.dump({
                        "inputs": [v.name for v in runtime_inputs(case.model)]
                        [:len(case.data_sets[0][0])],
                        "outputs": [v.name for v in case.model.graph.output],
                        "data_sets": case.data_sets, "rtol": self.options.rtol,
                        "atol": self.options.atol, "resolver": self.options.resolver,
                    }, file)
                reply = self.runner.ask({"tflite": target, "spec": spec},
                                        self.options.timeout)
                reply.pop("peak_mib", None)
                row.update(reply, stage="run")
        finally:
            if self.options.keep:
                kept = os.path.join(self.options.keep, mode, case.name)
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder, kept)
            shutil.rmtree(folder, ignore_errors=True)
        row["message"] = re.sub(re.escape(folder), "<tmp>", row.get("message", ""))[:500]
        return row

    def stop(self):
        self.converter.stop()
        self.runner.stop()


def describe(case, mode, folded):
    ops = list(dict.fromkeys(n.op_type for n in model_nodes(case.model)))
    return {
        "name": case.name, "mode": mode, "kind": case.kind, "op": case.op, "ops": ops,
        "expanded": case.base is not None,
        "opset": {o.domain or "ai.onnx": o.version for o in case.model.opset_import},
        "folded": folded,
    }


def select_cases(options):
    cases = load_suite(options.suite)
    excluded, kept = {}, []
    for case in cases:
        rule = exclusion_of(case)
        if rule:
            excluded.setdefault(rule, []).append(case.name)
        else:
            kept.append(case)
    if options.filter:
        kept = [c for c in kept if re.search(options.filter, c.name)]
    if options.kind:
        kept = [c for c in kept if c.kind in options.kind]
    chosen = {c.name for c in sorted(kept, key=lambda c: c.name)[::options.every]}
    return [c for c in kept if c.name in chosen], excluded


def run(options):
    import onnx
    from importlib import metadata
    cases, excluded = select_cases(options)
    modes = MODES if options.mode == "both" else (options.mode,)
    jobs, copies = [], []
    for case in cases:
        names = static_inputs(case)
        if "as-is" in modes:
            jobs.append((case, describe(case, "as-is", [])))
        if "folded" in modes:
            if names or "as-is" not in modes:
                jobs.append((fold(case, names) if names else case,
                             describe(case, "folded", names)))
            else:
                copies.append(case)
    print(f"{len(cases)} cases, {sum(map(len, excluded.values()))} excluded; "
          f"{len(jobs)} conversions", file=sys.stderr, flush=True)
    todo, rows, lock = queue.Queue(), [], threading.Lock()
    for job in jobs:
        todo.put(job)
    started, failure = time.time(), []

    def save():
        done = {r["name"]: r for r in rows if r["mode"] == "as-is"}
        extra = [dict(done[c.name], mode="folded", same_as="as-is")
                 for c in copies if c.name in done]
        report = {
            "label": options.label, "onnx": onnx.__version__,
            "litert": metadata.version("ai-edge-litert"), "python": sys.version.split()[0],
            "rtol": options.rtol, "atol": options.atol, "timeout": options.timeout,
            "whole": not (options.filter or options.kind or options.every > 1
                          or options.suite or options.mode != "both"),
            "resolver": options.resolver, "wall_seconds": round(time.time() - started, 1),
            "exclusions": [{"rule": rule, "reason": reason,
                            "cases": sorted(excluded.get(rule, []))}
                           for rule, reason, _ in EXCLUSIONS],
            "rows": sorted(rows + extra, key=lambda r: (r["mode"], r["kind"], r["name"])),
        }
        with open(options.out + ".part", "w") as file:
            json.dump(report, file, indent=1)
        os.replace(options.out + ".part", options.out)
        return report

    def work():
        lane = Lane(options)
        try:
            while not failure:
                try:
                    case, row = todo.get_nowait()
                except queue.Empty:
                    return
                row.update(lane.case(case, row["mode"]))
                with lock:
                    rows.append(row)
                    if len(rows) % 100 == 0:
                        print(f"{len(rows)}/{len(jobs)} {time.time() - started:.0f} s",
                              file=sys.stderr, flush=True)
                        save()
        except Exception as error:
            failure.append(error)
            raise
        finally:
            lane.stop()

    threads = [threading.Thread(target=work) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = save()
    if failure:
        sys.exit(f"stopped: {failure[0]}")
    print_summary(report, by_op=False, wrong=False)


def recheck(options):
    """Runs and compares again the models that `run --keep` left; converts nothing."""
    with open(options.result) as file:
        report = json.load(file)
    runner = Worker([sys.executable, os.path.abspath(__file__), "worker", "run", ""])
    done = {}
    for row in sorted(report["rows"], key=lambda r: "same_as" in r):
        key = (row.get("same_as", row["mode"]), row["name"])
        folder = os.path.join(options.keep, *key)
        if row.get("stage") != "run" or not os.path.isdir(folder):
            continue
        if key not in done:
            done[key] = runner.ask({"tflite": os.path.join(folder, "model.tflite"),
                                    "spec": os.path.join(folder, "spec.pickle"),
                                    "resolver": options.resolver}, report["timeout"])
        for stale in ("flags", "message", "wrong_kind", "max_abs_error", "matched"):
            row.pop(stale, None)
        row.update({"message": "", **done[key]})
        row.pop("peak_mib", None)
    runner.stop()
    report["resolver"] = options.resolver or report["resolver"]
    with open(options.out, "w") as file:
        json.dump(report, file, indent=1)
    print_summary(report, by_op=False, wrong=False)


# ---------------------------------------------------------------------------- reports

def _quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(round(q * (len(values) - 1))))] if values else 0.0


def print_summary(report, by_op, wrong):
    print(f"{report['label']}: onnx {report['onnx']}, LiteRT {report['litert']}, "
          f"rtol {report['rtol']:g}, atol {report['atol']:g}, ints exact")
    rows = report["rows"]
    modes = [m for m in MODES if any(r["mode"] == m for r in rows)]
    print(f"{'status':<16}" + "".join(f"{m:>10}" for m in modes))
    for status in STATUSES:
        print(f"{status:<16}" + "".join(
            f"{sum(r['mode'] == m and r['status'] == status for r in rows):>10}"
            for m in modes))
    for label, chosen in (("any pass", PASSES), ("all", STATUSES)):
        print(f"{label:<16}" + "".join(
            f"{sum(r['mode'] == m and r['status'] in chosen for r in rows):>10}"
            for m in modes))
    for mode in modes:
        kinds = collections.Counter(r["wrong_kind"] for r in rows
                                    if r["mode"] == mode and r["status"] == "wrong")
        times = [r["convert_seconds"] for r in rows
                 if r["mode"] == mode and "same_as" not in r]
        peaks = [r["convert_peak_mib"] for r in rows
                 if r["mode"] == mode and r.get("convert_peak_mib")]
        custom = sum("unresolved custom op" in r["message"] for r in rows
                     if r["mode"] == mode and r["status"] == "run-error")
        print(f"{mode}: wrong by kind {dict(kinds)}; run-error for a custom op {custom}")
        print(f"{mode}: conversion seconds median "
              f"{_quantile(times, .5):.3f}, p95 {_quantile(times, .95):.3f}, max "
              f"{max(times, default=0):.1f}; worker peak MiB median "
              f"{_quantile(peaks, .5):.0f}, max {max(peaks, default=0):.0f}")
    for entry in report["exclusions"]:
        print(f"excluded by {entry['rule']}: {len(entry['cases'])} ({entry['reason']})")
    if by_op:
        for mode in modes:
            print(f"\n{mode}\n{'op':<28}{'all':>5}" + "".join(f"{s[:9]:>10}" for s in STATUSES))
            table = collections.defaultdict(collections.Counter)
            for row in rows:
                if row["mode"] == mode:
                    table[row["op"]][row["status"]] += 1
            for op in sorted(table):
                print(f"{op:<28}{sum(table[op].values()):>5}" + "".join(
                    f"{table[op][s] or '':>10}" for s in STATUSES))
    if wrong:
        for row in rows:
            if row["status"] == "wrong":
                print(f"{row['mode']:<8}{row['wrong_kind']:<10}{row['name']}: {row['message']}")


def compare(old, new):
    before = {(r["mode"], r["name"]): r for r in old["rows"]}
    worse = 0
    for row in new["rows"]:
        past = before.get((row["mode"], row["name"]))
        if past and past["status"] != row["status"]:
            regressed = SEVERITY.index(row["status"]) > SEVERITY.index(past["status"])
            worse += regressed
            print(f"{'WORSE' if regressed else 'better':<7}{row['mode']:<8}{row['name']}: "
                  f"{past['status']} -> {row['status']} {row['message'][:120]}")
    return worse


def main():
    if sys.argv[1:2] == ["worker"]:
        return worker_main(sys.argv[2], sys.argv[3])
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="action", required=True)
    suite = argparse.ArgumentParser(add_help=False)
    suite.add_argument("--suite", help="a copy of onnx/backend/test/data (default: the "
                                       "installed onnx package's cases)")
    suite.add_argument("--filter", help="regular expression on case names")
    suite.add_argument("--kind", action="append", choices=KINDS)
    suite.add_argument("--every", type=int, default=1, metavar="N",
                       help="only each N-th case, by sorted name")
    commands.add_parser("list", parents=[suite], help="cases, exclusions, folded inputs")
    sub = commands.add_parser("run", parents=[suite], help="convert, run, compare")
    how = sub.add_mutually_exclusive_group(required=True)
    how.add_argument("--converter", help="adapter.py:function or module:function")
    how.add_argument("--command", help="template with {onnx} and {tflite}")
    sub.add_argument("--converter-python", help="interpreter for --converter")
    sub.add_argument("--label", default="converter")
    sub.add_argument("--out", required=True)
    sub.add_argument("--mode", choices=MODES + ("both",), default="both")
    sub.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    sub.add_argument("--timeout", type=float, default=60.0, help="seconds, each stage")
    sub.add_argument("--rtol", type=float, default=RTOL)
    sub.add_argument("--atol", type=float, default=ATOL)
    sub.add_argument("--resolver", choices=RESOLVERS, default="auto", help=(
        "auto: with LiteRT's default delegates; builtin: without; ref: reference kernels"))
    sub.add_argument("--keep", help="folder that gets every case's .onnx, .tflite and data")
    sub = commands.add_parser("recheck", help="run and compare kept models again")
    sub.add_argument("result")
    sub.add_argument("--keep", required=True, help="the folder that `run --keep` filled")
    sub.add_argument("--resolver", choices=RESOLVERS, help="default: the run's own")
    sub.add_argument("--out", required=True)
    sub = commands.add_parser("summary", help="tables of a result file")
    sub.add_argument("result")
    sub.add_argument("--by-op", action="store_true")
    sub.add_argument("--wrong", action="store_true")
    sub = commands.add_parser("compare", help="what changed; exit 1 if anything got worse")
    sub.add_argument("old")
    sub.add_argument("new")
    options = parser.parse_args()
    if options.action == "list":
        cases, excluded = select_cases(options)
        for case in cases:
            print(case.kind, case.name, case.op, ",".join(static_inputs(case)))
        for rule, reason, _ in EXCLUSIONS:
            names = excluded.get(rule, [])
            print(f"excluded by {rule}: {len(names)} ({reason}): {' '.join(sorted(names))}")
        print(f"{len(cases)} cases")
    elif options.action == "run":
        run(options)
    elif options.action == "recheck":
        recheck(options)
    elif options.action == "summary":
        with open(options.result) as file:
            print_summary(json.load(file), options.by_op, options.wrong)
    elif options.action == "compare":
        with open(options.old) as old, open(options.new) as new:
            return 1 if compare(json.load(old), json.load(new)) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
