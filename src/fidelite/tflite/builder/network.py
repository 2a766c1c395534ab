"""Builder methods for the operators that networks are made of: convolutions, products, pools, resizes, softmax.

Convolutions, pools and resizes take and give channels-last tensors (N H W C), as LiteRT does; lowerings put the
transposes around them, and one pass decides where they stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fidelite.tflite.builder.movement import MovementBuilder
from fidelite.tflite.dims import Dim
from fidelite.tflite.graph import Tensor
from fidelite.tflite.ops import SAME, VALID
from fidelite.tflite.types import ElementType


def window_size(size: Dim, kernel: int, stride: int, dilation: int, padding: int) -> Dim:
    """Output size of a window along one axis: SAME ceil(size / stride), VALID floor((size - reach) / stride) + 1,
    where reach = (kernel - 1) * dilation + 1 (TensorFlow's definition of the two paddings)."""
    if padding == SAME:
        return (size + (stride - 1)) // stride
    return (size - ((kernel - 1) * dilation + 1)) // stride + 1


class NetworkBuilder(MovementBuilder):
    """Channels-last network operators, in float32 (other floats are cast to it and back)."""

    def float32(self, x: Tensor) -> Tensor:
        """`x` in float32, in which the network kernels compute; float64's narrowing is noted."""
        if x.element is ElementType.FLOAT64:
            self.narrowed.add("float64")
        return self.cast(x, ElementType.FLOAT32)

    def conv_2d(self, x: Tensor, weights: Tensor, bias: Tensor | None, *, strides: Sequence[int] = (1, 1),
                dilations: Sequence[int] = (1, 1), padding: int = VALID) -> Tensor:
        """x [N,H,W,I*groups], weights [O,KH,KW,I] -> [N,H',W',O]. Groups follow from the channel counts."""
        bias = bias or self._zero_bias(weights.shape[0])
        out = self._window(x, weights.shape[1:3], strides, dilations, padding, weights.shape[0])
        return self.one("CONV_2D", [x, weights, bias], x.element, out, padding=padding, strideH=strides[0],
                        strideW=strides[1], dilationHFactor=dilations[0], dilationWFactor=dilations[1],
                        fusedActivationFunction=0)

    def depthwise_conv_2d(self, x: Tensor, weights: Tensor, bias: Tensor | None, *, multiplier: int,
                          strides: Sequence[int] = (1, 1), dilations: Sequence[int] = (1, 1),
                          padding: int = VALID) -> Tensor:
        """x [N,H,W,C], weights [1,KH,KW,C*multiplier] -> [N,H',W',C*multiplier]."""
        bias = bias or self._zero_bias(weights.shape[3])
        out = self._window(x, weights.shape[1:3], strides, dilations, padding, weights.shape[3])
        return self.one("DEPTHWISE_CONV_2D", [x, weights, bias], x.element, out, padding=padding,
                        strideH=strides[0], strideW=strides[1], dilationHFactor=dilations[0],
                        dilationWFactor=dilations[1], depthMultiplier=multiplier, fusedActivationFunction=0)

    def transpose_conv(self, x: Tensor, weights: Tensor, bias: Tensor | None, shape: Sequence[Dim], *,
                       strides: Sequence[int], padding: int = VALID) -> Tensor:
        """x [N,H,W,I], weights [O,KH,KW,I] -> `shape` [N,H',W',O]; no groups, no dilation."""
        operands = [self.shape_operand(shape), weights, x] + ([bias] if bias is not None else [])
        self.check_rank("TRANSPOSE_CONV", x.rank)
        return self.emit("TRANSPOSE_CONV", operands, [(x.element, tuple(shape))],
                         {"padding": padding, "strideH": strides[0], "strideW": strides[1],
                          "fusedActivationFunction": 0})[0]

    def conv_3d(self, x: Tensor, weights: Tensor, bias: Tensor | None, *, strides: Sequence[int] = (1, 1, 1),
                dilations: Sequence[int] = (1, 1, 1), padding: int = VALID) -> Tensor:
        """x [N,D,H,W,I], weights [KD,KH,KW,I,O] -> [N,D',H',W',O]."""
        out = self._window(x, weights.shape[:3], strides, dilations, padding, weights.shape[4])
        operands = [x, weights] + ([bias] if bias is not None else [])
        return self.one("CONV_3D", operands, x.element, out, padding=padding, strideD=strides[0],
                        strideH=strides[1], strideW=strides[2], dilationDFactor=dilations[0],
                        dilationHFactor=dilations[1], dilationWFactor=dilations[2], fusedActivationFunction=0)

    def _zero_bias(self, channels: Dim) -> Tensor:
        return self.constant(np.zeros(self.static_dim(channels, "a convolution's output channels"), np.float32))

    def _window(self, x: Tensor, kernel: Sequence[Dim], strides: Sequence[int], dilations: Sequence[int],
                padding: int, channels: Dim) -> tuple[Dim, ...]:
        sizes = [window_size(x.shape[i + 1], self.static_dim(k, "a kernel's size"), strides[i], dilations[i], padding)
                 for i, k in enumerate(kernel)]
        return (x.shape[0], *sizes, channels)

    def pool_2d(self, op: str, x: Tensor, *, kernel: Sequence[int], strides: Sequence[int],
                padding: int = VALID) -> Tensor:
        """AVERAGE_POOL_2D (padding is not counted), MAX_POOL_2D or L2_POOL_2D over [N,H,W,C]."""
        wide = self.compute_type(op, x.element)
        out = self._window(x, kernel, strides, (1, 1), padding, x.shape[3])
        result = self.one(op, [self.cast(x, wide)], wide, out, padding=padding, strideH=strides[0],
                          strideW=strides[1], filterHeight=kernel[0], filterWidth=kernel[1],
                          fusedActivationFunction=0)
        return self.cast(result, x.element)

    def resize_2d(self, op: str, x: Tensor, height: Dim, width: Dim, *, align_corners: bool = False,
                  half_pixel_centers: bool = False) -> Tensor:
        """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR of [N,H,W,C] to `height` x `width`."""
        wide = self.compute_type(op, x.element)
        out = (x.shape[0], height, width, x.shape[3])
        operands = [self.cast(x, wide), self.shape_operand([height, width])]
        result = self.one(op, operands, wide, out, alignCorners=align_corners, halfPixelCenters=half_pixel_centers)
        return self.cast(result, x.element)

    def fully_connected(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        """x [..., I] times weights [O, I] transposed, plus bias [O] -> [..., O]. Keeps leading dimensions."""
        shape = (*x.shape[:-1], weights.shape[0])
        keep = x.rank != 2
        return self.one("FULLY_CONNECTED", [x, weights, bias], x.element, shape, keepNumDims=keep,
                        weightsFormat=0, fusedActivationFunction=0, asymmetricQuantizeInputs=False)

    def batch_matmul(self, a: Tensor, b: Tensor, *, adj_x: bool = False, adj_y: bool = False) -> Tensor:
        """[..., M, K] times [..., K, N], leading dimensions broadcast; `adj` swaps an operand's last two axes."""
        rows, inner = (a.shape[-1], a.shape[-2]) if adj_x else (a.shape[-2], a.shape[-1])
        inner_b, columns = (b.shape[-1], b.shape[-2]) if adj_y else (b.shape[-2], b.shape[-1])
        self._agree([inner, inner_b])
        shape = (*self.broadcast(a.shape[:-2], b.shape[:-2]), rows, columns) if a.rank > 2 or b.rank > 2 \
            else (rows, columns)
        self.check_rank("BATCH_MATMUL", len(shape))
        return self.one("BATCH_MATMUL", [a, b], a.element, shape, adjX=adj_x, adjY=adj_y,
                        asymmetricQuantizeInputs=False)

    def softmax(self, x: Tensor, beta: float = 1.0) -> Tensor:
        """Softmax over the last axis."""
        return self.unary("SOFTMAX", x, beta=beta)

    def log_softmax(self, x: Tensor) -> Tensor:
        return self.unary("LOG_SOFTMAX", x)

    def along_last_axis(self, x: Tensor, axis: int, build: object) -> Tensor:
        """`build(y)` on `x` with `axis` moved to the end, and moved back."""
        axis %= x.rank
        order = [a for a in range(x.rank) if a != axis] + [axis]
        back = [order.index(a) for a in range(x.rank)]
        return self.transpose(build(self.transpose(x, order)), back)  # type: ignore[operator]

    def channels_last(self, x: Tensor) -> Tensor:
        """N C spatial... -> N spatial... C (axes move, they never swap)."""
        return self.transpose(x, (0, *range(2, x.rank), 1))

    def channels_first(self, x: Tensor) -> Tensor:
        """N spatial... C -> N C spatial..."""
        return self.transpose(x, (0, x.rank - 1, *range(1, x.rank - 1)))

    def space_to_depth(self, x: Tensor, block: int) -> Tensor:
        wide = self.compute_type("SPACE_TO_DEPTH", x.element)
        n, h, w, c = x.shape
        result = self.one("SPACE_TO_DEPTH", [self.cast(x, wide)], wide, (n, h // block, w // block, c * block * block),
                          blockSize=block)
        return self.cast(result, x.element)

    def depth_to_space(self, x: Tensor, block: int) -> Tensor:
        """Block-major depth (TensorFlow's and ONNX's DCR order)."""
        wide = self.compute_type("DEPTH_TO_SPACE", x.element)
        n, h, w, c = x.shape
        result = self.one("DEPTH_TO_SPACE", [self.cast(x, wide)], wide, (n, h * block, w * block, c // (block * block)),
                          blockSize=block)
        return self.cast(result, x.element)
