"""Operators that are refused by name, each with its reason and what to do instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_STRINGS = ("it works on strings, for which LiteRT has no operators",
            "turn strings into numbers before the model, and give it these")
_RANDOM = ("its result is random: nothing could prove that a conversion draws from the same distribution",
           "draw the numbers outside, and give them to the model as an input")
_PICTURES = ("it decodes a file of a picture, which no LiteRT operator does",
             "decode the picture outside, and give the model its pixels")
_TABLE = ("its operands, which the model computes, decide the size of a table that is made once for all",
          "make its operands initializers: then the table is a constant")
_VOTES = ("its votes between pairs of classes, and its iterated probabilities, have no lowering",
          "use a linear model or trees, or decide between the classes outside")
_MAPS = ("it works on maps and sequences, which LiteRT does not have",
         "leave it out: convert the model to where it has tensors (zipmap=False in skl2onnx)")
_NO_ORACLE = ("ONNX Runtime has no CPU kernel for it, so that nothing could prove a conversion",
              "optimize the model for the CPU: CPUExecutionProvider, optimized_model_filepath")
_BLOCKED = ("it has weights in blocks of a size that depends on the machine that optimized the model",
            "optimize it with GraphOptimizationLevel.ORT_ENABLE_EXTENDED, which leaves layouts alone")


def _rows(reason: tuple[str, str], names: Iterable[str]) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(names, reason)


_NCHWC = "Conv MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReorderInput ReorderOutput Upsample"
_NOT_ON_CPU = ("BiasAdd BiasSoftmax BiasSplitGelu DecoderAttention FusedMatMulActivation GatedRelativePositionBias "
               "GemmFastGelu GroupNorm Irfft LongformerAttention NhwcConv NhwcFusedConv PackedAttention "
               "PackedMultiHeadAttention QLinearReduceMean RelativePositionBias Rfft SkipGroupNorm TorchEmbedding")

REFUSED: Mapping[str, tuple[str, str]] = {
    **_rows(_STRINGS, ("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch",
                       "ai.onnx.ml::CategoryMapper")),
    **_rows(_RANDOM, ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
                      "Bernoulli")),
    **_rows(_TABLE, ("MelWeightMatrix",)),
    **_rows(_PICTURES, ("ImageDecoder",)),
    **_rows(_VOTES, ("ai.onnx.ml::SVMClassifier",)),
    **_rows(_NO_ORACLE, (f"com.microsoft::{op}" for op in _NOT_ON_CPU.split())),
    **_rows(_BLOCKED, (f"com.microsoft.nchwc::{op}" for op in _NCHWC.split())),
    **_rows(_MAPS, ("ai.onnx.ml::CastMap", "ai.onnx.ml::DictVectorizer", "ai.onnx.ml::ZipMap")),
}
"""By name (domain::name where the domain is not the standard's own): reason and remedy."""
