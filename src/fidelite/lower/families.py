"""Which family (a module beside this one) lowers which operators, so that only those that a model needs are imported.

Operators of other domains are written as domain::Operator. A test compares this table with what the modules register.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

FAMILIES: Mapping[str, str] = {
    "activation": (
        "Celu Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Shrink Sigmoid Softplus "
        "Softsign Swish Tanh ThresholdedRelu"),
    "arithmetic": (
        "Abs Add Ceil Clip Div Exp Floor Log Max Mean Min Mod Mul Neg Pow Reciprocal Round Sign Sqrt Sub "
        "Sum"),
    "bitwise": "BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor",
    "cast": "BitCast Cast CastLike",
    "columns": "Col2Im",
    "contrib_activation": (
        "com.microsoft::BiasGelu com.microsoft::FastGelu com.microsoft::Gelu com.microsoft::QuickGelu"),
    "contrib_attention": (
        "com.microsoft::Attention com.microsoft::GroupQueryAttention com.microsoft::MultiHeadAttention"),
    "contrib_normalization": (
        "SimplifiedLayerNormalization com.microsoft::EmbedLayerNormalization com.microsoft::SkipLayerNormalization "
        "com.microsoft::SkipSimplifiedLayerNormalization"),
    "contrib_products": (
        "com.microsoft::CDist com.microsoft::ConvTransposeWithDynamicPads com.microsoft::FusedConv "
        "com.microsoft::FusedGemm com.microsoft::FusedMatMul com.microsoft::Inverse com.microsoft::NhwcMaxPool "
        "com.microsoft::TransposeMatMul"),
    "contrib_quantized": (
        "com.microsoft::DynamicQuantizeMatMul com.microsoft::MatMulIntegerToFloat com.microsoft::MatMulNBits "
        "com.microsoft::QGemm com.microsoft::QLinearAdd com.microsoft::QLinearAveragePool "
        "com.microsoft::QLinearConcat com.microsoft::QLinearGlobalAveragePool com.microsoft::QLinearLeakyRelu "
        "com.microsoft::QLinearMul com.microsoft::QLinearSigmoid "
        "com.microsoft::QLinearSoftmax com.microsoft::QLinearWhere"),
    "contrib_rotary": "com.microsoft::RotaryEmbedding",
    "contrib_views": (
        "com.microsoft::CropAndResize com.microsoft::ExpandDims com.microsoft::GatherND com.microsoft::GridSample "
        "com.microsoft::Pad com.microsoft::Range com.microsoft::Trilu com.microsoft::UnfoldTensor "
        "com.microsoft::Unique"),
    "control": "If Loop Scan",
    "convolution": "Conv",
    "deformable": "DeformConv",
    "depth_space": "DepthToSpace SpaceToDepth",
    "detection": "NonMaxSuppression",
    "determinant": "Det",
    "einsum": "Einsum",
    "filling": "Constant ConstantOfShape EyeLike Range",
    "fused": "fidelite::Gelu",
    "gathering": "Compress Gather GatherElements GatherND NonZero OneHot",
    "joining": "Concat Slice Split",
    "logic": "And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Where Xor",
    "matmul": "Gemm MatMul",
    "ml_features": (
        "ai.onnx.ml::ArrayFeatureExtractor ai.onnx.ml::Binarizer ai.onnx.ml::FeatureVectorizer ai.onnx.ml::Imputer "
        "ai.onnx.ml::LabelEncoder ai.onnx.ml::Normalizer ai.onnx.ml::OneHotEncoder ai.onnx.ml::Scaler"),
    "ml_linear": "ai.onnx.ml::LinearClassifier ai.onnx.ml::LinearRegressor ai.onnx.ml::SVMRegressor",
    "ml_trees": "ai.onnx.ml::TreeEnsemble ai.onnx.ml::TreeEnsembleClassifier ai.onnx.ml::TreeEnsembleRegressor",
    "ngrams": "TfIdfVectorizer",
    "normalization": (
        "BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization "
        "LpNormalization MeanVarianceNormalization RMSNormalization"),
    "ordering": "ReverseSequence Trilu",
    "padding": "Pad",
    "pooling": "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool MaxUnpool",
    "quantized": (
        "DequantizeLinear QuantizeLinear com.microsoft::DequantizeLinear com.microsoft::QuantizeLinear"),
    "quantized_products": "ConvInteger MatMulInteger QLinearConv QLinearMatMul",
    "ranking": "ArgMax ArgMin CumProd CumSum TopK",
    "recurrent": "GRU LSTM RNN",
    "reduction": (
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
        "ReduceSum ReduceSumSquare"),
    "regions": "MaxRoiPool RoiAlign",
    "resize": "Resize Upsample",
    "sampling": "AffineGrid GridSample",
    "scattering": "Scatter ScatterElements ScatterND TensorScatter",
    "sequence_ops": (
        "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct "
        "SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence"),
    "softmax": "Hardmax LogSoftmax Softmax",
    "spectral": "DFT STFT",
    "transposed": "ConvTranspose",
    "trigonometry": "Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan",
    "unique": "Unique",
    "views": "Dropout Expand Flatten Identity Reshape Shape Size Squeeze Tile Transpose Unsqueeze",
}


@cache
def _homes() -> dict[str, str]:
    return {op: family for family, ops in FAMILIES.items() for op in ops.split()}


def load_for(domain: str, op: str) -> None:
    """Register the lowerings of the family that `op` belongs to, if there is one. Cheap after the first call."""
    family = _homes().get(f"{domain}::{op}" if domain else op)
    if family is not None:
        import_module(f"fidelite.lower.{family}")


def load() -> None:
    """Register all lowerings."""
    for family in FAMILIES:
        import_module(f"fidelite.lower.{family}")
