"""One step of RNN, GRU and LSTM, as ONNX defines them, on states that keep a unit axis for the time.

A state of None is all zeros: what would be multiplied by it falls away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Protocol

import numpy as np

from fidelite.errors import UnsupportedAttribute
from fidelite.lower.functions import plus, softplus, times
from fidelite.tflite.builder import Builder
from fidelite.tflite.constant import Apply
from fidelite.tflite.graph import Tensor

Activation = Callable[[Builder, Tensor], Tensor]
States = tuple["Tensor | None", ...]


# -- activations

def _affine(b: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return plus(b, times(b, x, alpha), beta)


def _thresholded_relu(b: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return b.select(b.compare("GREATER", x, b.scalar(alpha, x)), x, b.scalar(0.0, x))


def _scaled_tanh(b: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return times(b, b.unary("TANH", times(b, x, beta)), alpha)


def _hard_sigmoid(b: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    line = _affine(b, x, alpha, beta)
    return b.minimum(b.scalar(1.0, x), b.maximum(b.scalar(0.0, x), line))


def _elu(b: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    if alpha == 1.0:
        return b.unary("ELU", x)
    return b.add(b.relu(x), times(b, b.unary("ELU", b.minimum(b.scalar(0.0, x), x)), alpha))


def _softsign(b: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return b.div(x, plus(b, b.unary("ABS", x), 1.0))


@dataclass(frozen=True, slots=True)
class _Kind:
    build: Callable[[Builder, Tensor, float, float], Tensor]
    alpha: float | None = None
    """Its default; None: the function has none, and takes none from the node's list; NaN: it must be given."""
    beta: float | None = None


# Defaults are those of the operators of the same names. Where there is no such operator, or ONNX Runtime takes
# another default (`rnn_helpers.cc`), the parameter must be given.
_KINDS: Mapping[str, _Kind] = {
    "affine": _Kind(_affine, nan, nan),
    "relu": _Kind(lambda b, x, _, __: b.relu(x)),
    "leakyrelu": _Kind(lambda b, x, alpha, _: b.leaky_relu(x, alpha), 0.01),
    "thresholdedrelu": _Kind(_thresholded_relu, nan),
    "tanh": _Kind(lambda b, x, _, __: b.unary("TANH", x)),
    "scaledtanh": _Kind(_scaled_tanh, nan, nan),
    "sigmoid": _Kind(lambda b, x, _, __: b.logistic(x)),
    "hardsigmoid": _Kind(_hard_sigmoid, 0.2, 0.5),
    "elu": _Kind(_elu, 1.0),
    "softsign": _Kind(_softsign),
    "softplus": _Kind(lambda b, x, _, __: softplus(b, x)),
}


def activations(names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> list[Activation]:
    """The functions by their names; those that have an alpha or a beta take the next one of the lists."""
    alpha, beta = iter(alphas), iter(betas)
    found: list[Activation] = []
    for name in names:
        kind = _KINDS.get(name.lower())
        if kind is None:
            raise UnsupportedAttribute(f"the activation '{name}' is not in the standard",
                                       remedy=f"one of {', '.join(sorted(_KINDS))}")
        first = 0.0 if kind.alpha is None else next(alpha, kind.alpha)
        second = 0.0 if kind.beta is None else next(beta, kind.beta)
        if isnan(first) or isnan(second):
            raise UnsupportedAttribute(f"the activation '{name}' has no agreed default for its alpha and beta",
                                       remedy="give them: activation_alpha, activation_beta")
        found.append(lambda b, x, build=kind.build, p=first, q=second: build(b, x, p, q))
    return found


# -- parts of weights

def cut(b: Builder, x: Tensor, axis: int, begin: int, size: int) -> Tensor:
    """`size` entries of `x` from `begin` along `axis`; of a constant when it is written."""
    if x.shape[axis] == size:
        return x
    if x.constant is not None:
        index = tuple(slice(begin, begin + size) if i == axis else slice(None) for i in range(x.rank))
        shape = tuple(size if i == axis else d for i, d in enumerate(x.constant.shape))
        return b.constant(x.constant.then(Apply(("cut", axis, begin, size), lambda a: a[index], shape=shape)))
    return b.slice(x, [begin if i == axis else 0 for i in range(x.rank)],
                   [size if i == axis else d for i, d in enumerate(x.shape)])


def total(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x + y, now if both are known."""
    if x.constant is not None and y.constant is not None:
        return b.constant(np.asarray(x.constant.numpy() + y.constant.numpy(), np.float32))
    return b.add(x, y)


def joined(b: Builder, parts: Sequence[Tensor]) -> Tensor:
    """The concatenation of vectors."""
    if all(p.constant is not None for p in parts):
        return b.constant(np.concatenate([p.constant.numpy() for p in parts if p.constant is not None]))
    return b.concat(parts, 0)


def linear(b: Builder, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., I] times the transpose of weights [O, I], plus bias [O]."""
    fused = bias if bias is not None and bias.is_constant and weights.is_constant else None
    result = b.fully_connected(x, weights, fused) if weights.is_constant else b.batch_matmul(x, weights, adj_y=True)
    return result if bias is None or fused is not None else b.add(result, bias)


# -- cells

@dataclass(frozen=True, slots=True)
class Weights:
    """Of one direction, in float32: W [G*H, I], R [G*H, H], biases [G*H] of both, peepholes [3*H]."""

    w: Tensor
    r: Tensor
    wb: Tensor | None
    rb: Tensor | None
    p: Tensor | None

    @property
    def step_bytes(self) -> int:
        """What each step reads of them."""
        return 0 if self.r.constant is None else self.r.constant.nbytes


@dataclass(frozen=True, slots=True)
class Settings:
    """What attributes say of one direction."""

    hidden: int
    functions: Sequence[Activation]
    clip: float | None = None
    input_forget: bool = False
    linear_before_reset: bool = False

    def clipped(self, b: Builder, x: Tensor) -> Tensor:
        if self.clip is None:
            return x
        return b.minimum(b.scalar(self.clip, x), b.maximum(b.scalar(-self.clip, x), x))

    def apply(self, which: int, b: Builder, x: Tensor) -> Tensor:
        return self.functions[which](b, self.clipped(b, x))


class Cell(Protocol):
    """`project` all inputs at once, then `step` through them: gates of one input and the states before it."""

    def project(self, b: Builder, x: Tensor) -> Tensor: ...

    def step(self, b: Builder, gates: Tensor, states: States) -> tuple[Tensor, ...]: ...


def _biases(b: Builder, weights: Weights) -> Tensor | None:
    return None if weights.wb is None or weights.rb is None else total(b, weights.wb, weights.rb)


def _with_state(b: Builder, gates: Tensor, state: Tensor | None, weights: Tensor) -> Tensor:
    return gates if state is None else b.add(gates, linear(b, state, weights, None))


@dataclass(frozen=True, slots=True)
class RnnCell:
    """H' = f(X W^T + H R^T + Wb + Rb)."""

    weights: Weights
    settings: Settings

    def project(self, b: Builder, x: Tensor) -> Tensor:
        return linear(b, x, self.weights.w, _biases(b, self.weights))

    def step(self, b: Builder, gates: Tensor, states: States) -> tuple[Tensor, ...]:
        return (self.settings.apply(0, b, _with_state(b, gates, states[0], self.weights.r)),)


@dataclass(frozen=True, slots=True)
class LstmCell:
    """Gates i, o, f, c of G = X W^T + H R^T + Wb + Rb:

    i = f(Gi + Pi C)    f = f(Gf + Pf C), or 1 - i    C' = f C + i g(Gc)    o = f(Go + Po C')    H' = o h(C')
    """

    weights: Weights
    settings: Settings

    def project(self, b: Builder, x: Tensor) -> Tensor:
        return linear(b, x, self.weights.w, _biases(b, self.weights))

    def step(self, b: Builder, gates: Tensor, states: States) -> tuple[Tensor, ...]:
        state, memory = states
        size, apply = self.settings.hidden, self.settings.apply
        gi, go, gf, gc = b.split(_with_state(b, gates, state, self.weights.r), [size] * 4, -1)
        i = apply(0, b, self._peeped(b, gi, memory, 0))
        new = b.mul(i, apply(1, b, gc))
        if memory is not None:
            if self.settings.input_forget:
                forget = b.sub(b.scalar(1.0, i), i)
            else:
                forget = apply(0, b, self._peeped(b, gf, memory, 2))
            new = b.add(b.mul(forget, memory), new)
        o = apply(0, b, self._peeped(b, go, new, 1))
        return b.mul(o, self.settings.functions[2](b, new)), new

    def _peeped(self, b: Builder, gate: Tensor, memory: Tensor | None, which: int) -> Tensor:
        if self.weights.p is None or memory is None:
            return gate
        size = self.settings.hidden
        return b.add(gate, b.mul(memory, cut(b, self.weights.p, 0, which * size, size)))


@dataclass(frozen=True, slots=True)
class GruCell:
    """Gates z, r, h:

    z = f(X Wz^T + H Rz^T + Wbz + Rbz)    r = f(X Wr^T + H Rr^T + Wbr + Rbr)
    n = g(X Wh^T + (r H) Rh^T + Rbh + Wbh), or, with linear_before_reset, g(X Wh^T + r (H Rh^T + Rbh) + Wbh)
    H' = (1 - z) n + z H = n + z (H - n)
    """

    weights: Weights
    settings: Settings

    def _parts(self, b: Builder, x: Tensor | None, first: int, count: int) -> Tensor | None:
        size = self.settings.hidden
        return None if x is None else cut(b, x, 0, first * size, count * size)

    def project(self, b: Builder, x: Tensor) -> Tensor:
        bias = _biases(b, self.weights)
        if bias is not None and self.settings.linear_before_reset and self.weights.wb is not None:
            two, third = self._parts(b, bias, 0, 2), self._parts(b, self.weights.wb, 2, 1)
            assert two is not None
            assert third is not None
            bias = joined(b, [two, third])
        return linear(b, x, self.weights.w, bias)

    def step(self, b: Builder, gates: Tensor, states: States) -> tuple[Tensor, ...]:
        state, size, apply = states[0], self.settings.hidden, self.settings.apply
        gz, gr, gn = b.split(gates, [size] * 3, -1)
        hidden_bias = self._parts(b, self.weights.rb, 2, 1) if self.settings.linear_before_reset else None
        if state is None:
            if hidden_bias is not None:
                gn = b.add(gn, b.mul(apply(0, b, gr), hidden_bias))
            z, n = apply(0, b, gz), apply(1, b, gn)
            return (b.sub(n, b.mul(z, n)),)
        if self.settings.linear_before_reset:
            z, n = self._linear_before_reset(b, (gz, gr, gn), state, hidden_bias)
        else:
            two, third = self._parts(b, self.weights.r, 0, 2), self._parts(b, self.weights.r, 2, 1)
            assert two is not None
            assert third is not None
            hz, hr = b.split(linear(b, state, two, None), [size] * 2, -1)
            z, r = apply(0, b, b.add(gz, hz)), apply(0, b, b.add(gr, hr))
            n = apply(1, b, b.add(gn, linear(b, b.mul(r, state), third, None)))
        return (b.add(n, b.mul(z, b.sub(state, n))),)

    def _linear_before_reset(self, b: Builder, gates: Sequence[Tensor], state: Tensor,
                             hidden_bias: Tensor | None) -> tuple[Tensor, Tensor]:
        size, apply = self.settings.hidden, self.settings.apply
        hz, hr, hn = b.split(linear(b, state, self.weights.r, None), [size] * 3, -1)
        if hidden_bias is not None:
            hn = b.add(hn, hidden_bias)
        z, r = apply(0, b, b.add(gates[0], hz)), apply(0, b, b.add(gates[1], hr))
        return z, apply(1, b, b.add(gates[2], b.mul(r, hn)))


def own_weights(weights: Weights, capture: Callable[[Tensor], Tensor]) -> Weights:
    """The same weights in another graph, as `capture` gives them."""

    def own(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else capture(tensor)

    return Weights(capture(weights.w), capture(weights.r), own(weights.wb), own(weights.rb), own(weights.p))


MakeCell = Callable[[Weights, Settings], Cell]
