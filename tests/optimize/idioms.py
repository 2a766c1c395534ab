"""More of what networks are made of, for `networks`: attention, normalisations, shuffles, groups, integers."""

from __future__ import annotations

import math

from tests.optimize.networks import NetworkMaker


def grouped_conv(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if c % 2 == 0:
        m.add("Conv", [name, m.weight(c, c // 2, 3, 3), m.weight(c)], (n, c, h, w), pads=[1] * 4, group=2)


def dilated_conv(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    m.add("Conv", [name, m.weight(4, c, 3, 3)], (n, 4, h, w), pads=[2] * 4, dilations=[2, 2])


def strided_conv(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if min(h, w) >= 4:
        m.add("Conv", [name, m.weight(6, c, 3, 3), m.weight(6)], (n, 6, (h + 1) // 2, (w + 1) // 2), pads=[1] * 4,
              strides=[2, 2])


def conv_1d(m: NetworkMaker) -> None:
    name, (n, c, length) = m.pick(3)
    m.add("Conv", [name, m.weight(4, c, 3), m.weight(4)], (n, 4, length), pads=[1, 1])


def conv_transpose(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if max(h, w) <= 8:
        m.add("ConvTranspose", [name, m.weight(c, 4, 2, 2), m.weight(4)], (n, 4, h * 2, w * 2), strides=[2, 2])


def conv_batch_norm(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    name, shape = m.add("Conv", [name, m.weight(c, c, 1, 1)], (n, c, h, w))
    name, shape = m.add("BatchNormalization", [name, m.weight(c), m.weight(c), m.weight(c), m.positive(c)], shape)
    m.add("Relu", [name], shape)


def layer_norm(m: NetworkMaker) -> None:
    name, shape = m.pick()
    if len(shape) >= 2 and shape[-1] > 1:
        m.add("LayerNormalization", [name, m.weight(shape[-1]), m.weight(shape[-1])], shape, axis=-1, epsilon=1e-2)


def layer_norm_written_out(m: NetworkMaker) -> None:
    name, shape = m.pick()
    if len(shape) < 2 or shape[1] < 2:
        return
    axis = m.random.choice([1, len(shape) - 1])
    kept = tuple(1 if i == axis else d for i, d in enumerate(shape))
    mean, _ = m.add("ReduceMean", [name, m.integers(axis)], kept, keepdims=1)
    centred, _ = m.add("Sub", [name, mean], shape)
    square, _ = m.add("Mul", [centred, centred], shape)
    variance, _ = m.add("ReduceMean", [square, m.integers(axis)], kept, keepdims=1)
    variance, _ = m.add("Add", [variance, m.number(0.01)], kept)
    root, _ = m.add("Sqrt", [variance], kept)
    m.add("Div", [centred, root], shape)


def instance_norm(m: NetworkMaker) -> None:
    name, shape = m.pick(4)
    if shape[2] * shape[3] > 1:
        m.add("InstanceNormalization", [name, m.weight(shape[1]), m.weight(shape[1])], shape, epsilon=1e-2)


def heads(m: NetworkMaker) -> None:
    """Multi-head attention: 4-D transposes, the key's another one."""
    name, (n, t, d) = m.pick(3)
    count = next((h for h in (2, 3) if d % h == 0), 1)
    parts: list[str] = []
    for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        part, _ = m.add("MatMul", [name, m.weight(d, d)], (n, t, d))
        part, _ = m.reshape(part, (n, t, count, d // count))
        shape = (n, t, count, d // count)
        part, _ = m.add("Transpose", [part], tuple(shape[a] for a in order), perm=order)
        parts.append(part)
    scores, _ = m.add("MatMul", parts[:2], (n, count, t, t))
    scores, _ = m.add("Mul", [scores, m.number(1 / math.sqrt(d))], (n, count, t, t))
    scores, _ = m.add("Softmax", [scores], (n, count, t, t), axis=-1)
    mixed, _ = m.add("MatMul", [scores, parts[2]], (n, count, t, d // count))
    mixed, _ = m.add("Transpose", [mixed], (n, t, count, d // count), perm=[0, 2, 1, 3])
    mixed, _ = m.reshape(mixed, (n, t, d))
    m.add("Add", [mixed, name], (n, t, d))


def heads_in_one(m: NetworkMaker) -> None:
    """As vision transformers have it: q, k and v from one product, told apart by Gather on a 5-D transpose."""
    name, (n, t, d) = m.pick(3)
    count = next((h for h in (2, 3) if d % h == 0), 1)
    each = d // count
    all_three, _ = m.add("MatMul", [name, m.weight(d, 3 * d)], (n, t, 3 * d))
    all_three, _ = m.reshape(all_three, (n, t, 3, count, each))
    all_three, _ = m.add("Transpose", [all_three], (3, n, count, t, each), perm=[2, 0, 3, 1, 4])
    q, k, v = (m.add("Gather", [all_three, m.scalar_index(i)], (n, count, t, each), axis=0)[0] for i in range(3))
    k, _ = m.add("Transpose", [k], (n, count, each, t), perm=[0, 1, 3, 2])
    scores, _ = m.add("MatMul", [q, k], (n, count, t, t))
    scores, _ = m.add("Softmax", [scores], (n, count, t, t), axis=-1)
    mixed, _ = m.add("MatMul", [scores, v], (n, count, t, each))
    mixed, _ = m.add("Transpose", [mixed], (n, t, count, each), perm=[0, 2, 1, 3])
    m.reshape(mixed, (n, t, d))


def gelu(m: NetworkMaker) -> None:
    name, shape = m.pick()
    inner, _ = m.add("Div", [name, m.number(math.sqrt(2))], shape)
    inner, _ = m.add("Erf", [inner], shape)
    inner, _ = m.add("Add", [inner, m.number(1.0)], shape)
    inner, _ = m.add("Mul", [name, inner], shape)
    m.add("Mul", [inner, m.number(0.5)], shape)


def gather(m: NetworkMaker) -> None:
    name, shape = m.pick()
    axes = m.free_axes(shape)
    if not axes or len(shape) < 2:
        return
    axis = m.random.choice(axes)
    chosen = [m.random.randrange(shape[axis]) for _ in range(m.random.choice([1, 2, 3]))]
    if m.random.random() < 0.3:
        m.add("Gather", [name, m.scalar_index(chosen[0])], (*shape[:axis], *shape[axis + 1:]), axis=axis)
    else:
        m.add("Gather", [name, m.integers(*chosen)], (*shape[:axis], len(chosen), *shape[axis + 1:]), axis=axis)


def split_concat(m: NetworkMaker) -> None:
    name, shape = m.pick()
    axes = [a for a in m.free_axes(shape) if shape[a] % 2 == 0]
    if not axes:
        return
    axis = m.random.choice(axes)
    half = (*shape[:axis], shape[axis] // 2, *shape[axis + 1:])
    first, second = m.add_many("Split", [name], [half, half], axis=axis, num_outputs=2)
    other, _ = m.add("Sigmoid", [second], half)
    m.add("Concat", [m.random.choice([other, second]), first], shape, axis=axis)


def pixel_shuffle(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if max(h, w) > 8:
        return
    wide, _ = m.add("Conv", [name, m.weight(8, c, 1, 1), m.weight(8)], (n, 8, h, w))
    if m.random.random() < 0.4:
        m.add("DepthToSpace", [wide], (n, 2, h * 2, w * 2), blocksize=2, mode=m.random.choice(["CRD", "DCR"]))
        return
    crd = m.random.random() < 0.6
    split, order = ((n, 2, 2, 2, h, w), [0, 1, 4, 2, 5, 3]) if crd else ((n, 2, 2, 2, h, w), [0, 3, 4, 1, 5, 2])
    six, _ = m.reshape(wide, split)
    six, _ = m.add("Transpose", [six], tuple(split[a] for a in order), perm=order)
    m.reshape(six, (n, 2, h * 2, w * 2))


def pixel_unshuffle(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if h % 2 or w % 2:
        return
    split, order = (n, c, h // 2, 2, w // 2, 2), [0, 1, 3, 5, 2, 4]
    six, _ = m.reshape(name, split)
    six, _ = m.add("Transpose", [six], tuple(split[a] for a in order), perm=order)
    m.reshape(six, (n, c * 4, h // 2, w // 2))


def windows(m: NetworkMaker) -> None:
    """Windows of a channels-last feature map become the batch, as in Swin."""
    name, (n, c, h, w) = m.pick(4)
    if m.dynamic or h % 2 or w % 2:
        return
    last, _ = m.add("Transpose", [name], (n, h, w, c), perm=[0, 2, 3, 1])
    split = (n, h // 2, 2, w // 2, 2, c)
    six, _ = m.reshape(last, split)
    six, _ = m.add("Transpose", [six], (n, h // 2, w // 2, 2, 2, c), perm=[0, 1, 3, 2, 4, 5])
    m.reshape(six, (n * h * w // 4, 4, c))


def prelu(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    m.add("PRelu", [name, m.weight(*m.random.choice([(c, 1, 1), (1,)]))], (n, c, h, w))


def unit_axes(m: NetworkMaker) -> None:
    name, shape = m.pick()
    if len(shape) < 6:
        axis = m.random.randrange(int(m.dynamic), len(shape) + 1)
        m.add("Unsqueeze", [name, m.integers(axis)], (*shape[:axis], 1, *shape[axis:]))


def drop_units(m: NetworkMaker) -> None:
    name, shape = m.pick()
    axes = [a for a in m.free_axes(shape) if shape[a] == 1]
    if axes and len(shape) > 2:
        axis = m.random.choice(axes)
        m.add("Squeeze", [name, m.integers(axis)], (*shape[:axis], *shape[axis + 1:]))


def tokens(m: NetworkMaker) -> None:
    """A feature map flattened to tokens (n, h*w, c), and sometimes back."""
    name, (n, c, h, w) = m.pick(4)
    flat, _ = m.reshape(name, (n, c, h * w))
    flat, _ = m.add("Transpose", [flat], (n, h * w, c), perm=[0, 2, 1])
    if m.random.random() < 0.5:
        mixed, _ = m.add("MatMul", [flat, m.weight(c, c)], (n, h * w, c))
        back, _ = m.add("Transpose", [mixed], (n, c, h * w), perm=[0, 2, 1])
        m.reshape(back, (n, c, h, w))


def head(m: NetworkMaker) -> None:
    name, (n, c, *_) = m.pick(4)
    pooled, _ = m.add("GlobalAveragePool", [name], (n, c, 1, 1))
    flat, _ = m.add("Flatten", [pooled], (n, c), axis=1)
    m.add("Gemm", [flat, m.weight(5, c), m.weight(5)], (n, 5), transB=1)


def reflect_pad(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    if min(h, w) > 2 and max(h, w) < 12:
        m.add("Pad", [name, m.integers(0, 0, 1, 1, 0, 0, 1, 1)], (n, c, h + 2, w + 2), mode="reflect")


def averaged(m: NetworkMaker) -> None:
    name, (n, c, h, w) = m.pick(4)
    m.add("AveragePool", [name], (n, c, h, w), kernel_shape=[3, 3], pads=[1] * 4)


def reshaped_arithmetic(m: NetworkMaker) -> None:
    """Sums around a RESHAPE whose source is read again: LiteRT computes such sums in place."""
    name, shape = m.pick()
    if len(shape) < 2:
        return
    total, _ = m.add("Add", [name, m.number(0.5)], shape)
    total, _ = m.add("Mul", [total, m.number(0.7)], shape)
    flat = (shape[0], math.prod(shape[1:]))
    view, _ = m.reshape(total, flat)
    other, _ = m.add("Add", [view, m.number(1.5)], flat)
    m.add("Tanh", [other], flat)
    m.add("Sub", [total, m.number(0.25)], shape)


def integers(m: NetworkMaker) -> None:
    name, shape = m.integer_value()
    batch = shape[0]
    name, _ = m.add("Add", [name, m.int32(3)], shape, kind="int")
    other, _ = m.add("Mul", [name, m.int32(2)], shape, kind="int")
    if m.random.random() < 0.5 and len(shape) > 2:
        order = [0, *m.random.sample(range(1, len(shape)), len(shape) - 1)]
        other, shape = m.add("Transpose", [other], tuple(shape[a] for a in order), kind="int", perm=order)
    if m.random.random() < 0.5:
        flat = (batch, math.prod(shape[1:]))
        other, shape = m.reshape(other, flat, kind="int")
        m.add("Sub", [other, m.int32(5)], shape, kind="int")
    real, _ = m.add("Cast", [other], shape, to=1)
    m.add("Mul", [real, m.number(0.01)], shape)


IDIOMS = [grouped_conv, dilated_conv, strided_conv, conv_1d, conv_transpose, conv_batch_norm, layer_norm,
          layer_norm_written_out, instance_norm, heads, heads_in_one, gelu, gather, split_concat, pixel_shuffle,
          pixel_unshuffle, windows, prelu, unit_axes, drop_units, tokens, head, reflect_pad, averaged,
          reshaped_arithmetic, integers]
