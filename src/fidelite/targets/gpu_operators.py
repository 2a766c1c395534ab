"""What single operators must look like for LiteRT's GPU delegate: a function a rule, and what operators it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

from fidelite.targets import gpu_rules as rules
from fidelite.targets.profile import Level, Rule
from fidelite.tflite.graph import Graph, Operator, Tensor
from fidelite.tflite.ops import VALID

Verdict = tuple[Rule, str, str, Level]
"""Rule, reason, remedy, level."""
Check = Callable[[Operator, Graph], Iterator[Verdict]]
_CLASSIC = "convert with --target gpu, which rewrites it"


def _layout(tensor: Tensor) -> tuple[int, int, int, int]:
    """A value's shape as the delegate holds it: B, H, W, C."""
    s = tensor.static_shape
    return {1: lambda: (s[0], 1, 1, 1), 2: lambda: (s[0], 1, 1, s[1]), 3: lambda: (s[0], 1, s[1], s[2]),
            4: lambda: (s[0], s[1], s[2], s[3])}.get(len(s), lambda: (1, 1, 1, 1))()


def _operands(operator: Operator) -> tuple[list[Tensor], list[Tensor]]:
    """Those computed at run time, and the constants."""
    given = [t for t in operator.inputs if t is not None]
    return [t for t in given if not t.is_constant], [t for t in given if t.is_constant]


def _counts(*allowed: tuple[int, int]) -> Check:
    """(run-time operands, constants) must be one of these; -1: any number."""
    def check(operator: Operator, graph: Graph) -> Iterator[Verdict]:
        runtime, constants = (len(part) for part in _operands(operator))
        if not any(r in (runtime, -1) and c in (constants, -1) for r, c in allowed):
            told = f"{operator.op} has {runtime} run-time and {constants} constant operands"
            yield rules.OPERANDS, told, "", "fallback"

    return check


def _constant_axes(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    axes = operator.inputs[1]
    if axes is None or not axes.is_constant:
        yield rules.AXES, f"{operator.op} computes its axes", "", "fallback"


def _broadcast(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    """ADD and MUL of two values of different ranks. Newer phones know more forms; these are those that all know."""
    a, b = operator.inputs
    assert a is not None
    assert b is not None
    if a.rank <= 1 or b.rank <= 1 or a.rank == b.rank:
        return
    longer, shorter = (a.static_shape, b.static_shape) if a.rank > b.rank else (b.static_shape, a.static_shape)
    known = len(longer) == 4 and (
        (len(shorter) == 3 and longer[0] == 1)
        or (len(shorter) == 2 and longer[0] == 1 and shorter == (1, 1))
        or (len(shorter) == 2 and (longer[0], longer[3]) == shorter))
    if not known and not (a.is_constant or b.is_constant):
        yield (rules.BROADCAST, f"{operator.op} broadcasts {list(shorter)} to {list(longer)}", "", "fallback")


def _constant_operand(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    """A constant of an elementwise operator must be readable, and lie where the value lies."""
    runtime, constants = _operands(operator)
    if len(runtime) != 1 or len(constants) != 1:
        return
    shape, value = constants[0].static_shape, runtime[0]
    if prod(shape) == 1 or value.rank == 0:
        return
    if len(shape) == 4 and shape[0] != 1:
        if all(d == 1 for d in shape[:-1]):
            return
        yield (rules.CONSTANT_BATCH, f"{operator.op} has a constant of shape {list(shape)}",
               "split the batch in the network", "refused")
        return
    if all(d == 1 for d in shape[:-1]):
        seen = (1, 1, 1, shape[-1])  # read as linear: along the channels
    else:
        seen = {2: lambda: (1, 1, *shape), 3: lambda: (1, *shape), 4: lambda: shape}.get(len(shape), lambda: ())()
    wanted = (1,) * (value.rank - len(shape)) + shape
    lies = {1: lambda: (wanted[0], 1, 1, 1), 2: lambda: (wanted[0], 1, 1, wanted[1]),
            3: lambda: (wanted[0], 1, wanted[1], wanted[2]), 4: lambda: wanted}.get(value.rank, lambda: ())()
    if seen and lies and seen != lies:
        told = (f"{operator.op} combines a value of shape {list(value.static_shape)} with a constant of shape "
                f"{list(shape)}, which the delegate lays along {list(seen)}")
        yield rules.CONSTANT_LAYOUT, told, _CLASSIC, "refused"


def _same_operands(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    if len(operator.inputs) == 2 and operator.inputs[0] is operator.inputs[1]:
        yield rules.SAME_OPERANDS, f"{operator.op} reads '{operator.outputs[0].name}'s operand twice", "", "refused"


def _comparison(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    result = operator.outputs[0]
    reader = next(iter(result.users)) if len(result.users) == 1 else None
    if graph.is_output(result) or reader is None or reader.op not in ("CAST", "SELECT", "SELECT_V2") or (
            not reader.outputs[0].element.is_float):
        yield rules.BOOLEAN, f"{operator.op}'s result is not read by one CAST or SELECT to float", "", "fallback"


def _cast(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    x, y = operator.inputs[0], operator.outputs[0]
    assert x is not None
    source, result = x.element.name, y.element.name
    floats = ("FLOAT32", "FLOAT16")
    if source == "BOOL" and result in floats:
        if x.producer is None or len(x.users) != 1 or len(y.users) != 1:
            yield rules.OPTION, "a CAST from bool stands between one comparison and one reader", "", "fallback"
    elif not ((source in floats and result == "BOOL")
              or (source in ("FLOAT32", "INT32") and result in ("FLOAT32", "INT32"))):
        yield rules.OPTION, f"no CAST from {source.lower()} to {result.lower()}", "", "fallback"


def _depthwise(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    x, weights = operator.inputs[0], operator.inputs[1]
    assert x is not None
    assert weights is not None
    if x.rank != 4 or weights.rank != 4:
        yield rules.OPTION, "DEPTHWISE_CONV_2D of other than four axes", "", "fallback"


def _convolution(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    x, weights = operator.inputs[0], operator.inputs[1]
    assert x is not None
    assert weights is not None
    if not weights.is_constant and x.shape[-1] != weights.shape[-1]:
        yield rules.GROUPED, "CONV_2D in groups with computed weights", "", "refused"


def _transposed(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    weights, x = operator.inputs[1], operator.inputs[2]
    assert weights is not None
    assert x is not None
    if operator.options.get("fusedActivationFunction", 0):
        yield rules.TRANSPOSED_ACTIVATION, "TRANSPOSE_CONV has a fused activation", _CLASSIC, "refused"
    for axis, name in ((1, "strideH"), (2, "strideW")):
        size, stride, kernel = x.static_shape[axis], int(operator.options.get(name, 1)), weights.static_shape[axis]
        wanted = (size - 1) * stride + kernel if operator.options.get("padding") == VALID else size * stride
        if operator.outputs[0].static_shape[axis] != wanted:
            told = (f"TRANSPOSE_CONV gives {operator.outputs[0].static_shape[axis]} where stride and kernel give "
                    f"{wanted}")
            remedy = "export it without output_padding, or with an upsampling and a convolution"
            yield rules.TRANSPOSED_SIZE, told, remedy, "refused"
            return


def _dense(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    x, weights = operator.inputs[0], operator.inputs[1]
    assert x is not None
    assert weights is not None
    if x.is_constant:
        yield rules.OPERANDS, "FULLY_CONNECTED of a constant", "", "fallback"
    elif operator.options.get("weightsFormat", 0):
        yield rules.OPTION, "FULLY_CONNECTED with shuffled weights", "", "fallback"
    elif operator.options.get("keepNumDims") and x.rank != operator.outputs[0].rank:
        yield rules.OPTION, "FULLY_CONNECTED keeps the axes, and its result has others", "", "fallback"
    elif weights.is_constant and _layout(x)[3] != weights.static_shape[-1]:
        yield (rules.CHANNELS, f"FULLY_CONNECTED of {list(x.static_shape)} with weights of {weights.static_shape[-1]}",
               "flatten it before: a RESHAPE to [batch, features]", "refused")


def _matmul(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    a, b = operator.inputs[0], operator.inputs[1]
    assert a is not None
    assert b is not None
    if operator.options.get("adjX") or operator.options.get("adjY"):
        yield rules.ADJOINT, "BATCH_MATMUL transposes a factor", _CLASSIC, "refused"
    if a.is_constant or (b.is_constant and b.rank != 2):
        what = "first factor" if a.is_constant else "factor of three axes or more"
        yield (rules.MATMUL_CONSTANT, f"BATCH_MATMUL has a constant {what}",
               "write the product as x @ constant in the network", "refused")


def _prelu(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    x, alpha = operator.inputs[0], operator.inputs[1]
    assert x is not None
    assert alpha is not None
    linear = all(d == 1 for d in alpha.static_shape[:-1]) and alpha.rank and alpha.static_shape[-1] == _layout(x)[3]
    whole = alpha.rank in (3, 4) and _layout(alpha)[1:] == _layout(x)[1:]
    if not alpha.is_constant or not (linear or whole):
        yield rules.ALPHA, f"PRELU's alpha is of shape {list(alpha.static_shape)}", "", "refused"


def _pad(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    paddings = operator.inputs[1]
    assert paddings is not None
    rows = paddings.static_shape[0] if paddings.rank == 2 else 0
    if operator.op == "MIRROR_PAD" and operator.options.get("mode"):
        yield rules.PADDING, "MIRROR_PAD is symmetric", "", "fallback"
    elif rows not in (3, 4) or not paddings.is_constant:
        yield rules.PADDING, f"{operator.op} of a value with {rows} axes", _CLASSIC, "fallback"
    elif rows == 3:
        yield rules.PAD_RANK, f"{operator.op} of a value with 3 axes", _CLASSIC, "refused"


def _slices(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    x = operator.inputs[0]
    assert x is not None
    if x.rank not in (3, 4):
        yield rules.SLICE_RANK, f"{operator.op} of a value with {x.rank} axes", _CLASSIC, "fallback"
    elif operator.op == "STRIDED_SLICE":
        masks = [name for name in ("ellipsisMask", "newAxisMask", "shrinkAxisMask") if operator.options.get(name)]
        steps = operator.inputs[3]
        if masks:
            yield rules.OPTION, f"STRIDED_SLICE with {masks[0]}", "", "fallback"
        elif steps is not None and steps.constant is not None and (steps.constant.numpy() <= 0).any():
            yield rules.REVERSE, "STRIDED_SLICE goes backwards", "", "refused"


def _blocks(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    if int(operator.options.get("blockSize", 1)) <= 1:
        yield rules.OPTION, f"{operator.op} with a block of 1", "", "fallback"


def _softmax(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    if operator.options.get("beta", 1.0) != 1.0:
        yield rules.OPTION, "SOFTMAX with another beta than 1", "", "fallback"
    if operator.outputs[0].rank == 1:
        yield rules.CHANNEL_AXIS, "SOFTMAX of a value with one axis", "give it a batch axis in the network", "refused"


def _gather(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    indices = operator.inputs[1]
    assert indices is not None
    if indices.rank != 1 or indices.element.name != "INT32":
        yield (rules.OPTION, f"GATHER by {indices.element.name.lower()} indices of {indices.rank} axes", "", "fallback")


def _reduction(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    x, axes = operator.inputs[0], operator.inputs[1]
    if x is None or axes is None or axes.constant is None or operator.options.get("keepDims"):
        return
    reduced = {int(a) % x.rank for a in axes.constant.numpy().reshape(-1)}
    kept = tuple(1 if i in reduced else d for i, d in enumerate(x.static_shape))
    if operator.op == "MEAN" and operator.outputs[0].rank and _layout(operator.outputs[0]) != _layout(
            Tensor("", x.element, kept)):
        yield rules.LAST_AXIS, f"MEAN of {list(x.static_shape)} drops its axes", _CLASSIC, "refused"


def _select(operator: Operator, graph: Graph) -> Iterator[Verdict]:
    condition, *values = operator.inputs
    shape = operator.outputs[0].static_shape
    assert condition is not None
    offset = len(shape) - condition.rank
    if offset < 0 or any(d not in (1, shape[offset + i]) for i, d in enumerate(condition.static_shape)):
        yield rules.SELECT, f"{operator.op} by a condition of shape {list(condition.static_shape)}", "", "fallback"
    for value in values:
        assert value is not None
        small = value.rank == 0 or value.static_shape == shape or value.static_shape == (1,)
        if not small or (not value.is_constant and value.rank == 2):
            yield rules.SELECT, f"{operator.op} of a value of shape {list(value.static_shape)}", "", "fallback"
            return


_ONE = _counts((1, 0))
_TWO = _counts((2, 0), (1, 1))
_ELEMENTWISE = "DIV FLOOR_DIV FLOOR_MOD MAXIMUM MINIMUM POW SQUARED_DIFFERENCE SUB"
_UNARY = "ABS COS ELU EXP FLOOR GELU LOG LOGISTIC NEG RSQRT SIGN SIN SQRT SQUARE TANH HARD_SWISH"
_REDUCTIONS = "MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD"
_ONE_VALUE = "RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR TILE TRANSPOSE"
CHECKS: dict[str, tuple[Check, ...]] = {
    **dict.fromkeys(_UNARY.split(), (_ONE,)),
    **dict.fromkeys(_ELEMENTWISE.split(), (_TWO, _constant_operand, _same_operands)),
    **dict.fromkeys(rules.COMPARISONS, (_TWO, _constant_operand, _same_operands, _comparison)),
    "LOGICAL_AND": (_TWO, _constant_operand, _same_operands),
    "ADD": (_counts((2, 0), (1, 1)), _broadcast, _constant_operand),
    "MUL": (_counts((2, 0), (1, 1)), _broadcast, _constant_operand),
    "ADD_N": (_counts((2, 0)),),
    "AVERAGE_POOL_2D": (_ONE,),
    "MAX_POOL_2D": (_ONE,),
    "BATCH_MATMUL": (_matmul,),
    "CAST": (_counts((1, 0)), _cast),
    "CONV_2D": (_counts((1, -1), (2, -1)), _convolution),
    "DEPTHWISE_CONV_2D": (_counts((1, -1), (2, -1)), _depthwise),
    "TRANSPOSE_CONV": (_counts((1, -1), (2, -1)), _transposed),
    "FULLY_CONNECTED": (_counts((1, -1), (2, -1)), _dense),
    "DEPTH_TO_SPACE": (_ONE, _blocks),
    "SPACE_TO_DEPTH": (_ONE, _blocks),
    "GATHER": (_TWO, _gather),
    **dict.fromkeys(_REDUCTIONS.split(), (_counts((1, 1)), _constant_axes, _reduction)),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), (_counts((1, -1)), _pad)),
    "PRELU": (_prelu,),
    **dict.fromkeys(_ONE_VALUE.split(), (_counts((1, -1)),)),
    "SELECT": (_select,),
    "SELECT_V2": (_select,),
    "SLICE": (_counts((1, -1)), _slices),
    "STRIDED_SLICE": (_counts((1, -1)), _slices),
    "SOFTMAX": (_softmax,),
}
