"""Operators that are refused by name, each with its reason and what to do instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_STRINGS = ("it works on strings, for which LiteRT has no operators",
            "turn strings into numbers before the model, and give it these")
_RANDOM = ("its result is random: nothing could prove that a conversion draws from the same distribution",
           "draw the numbers outside, and give them to the model as an input")
_PICTURES = ("it decodes a file of a picture, which no LiteRT operator does",
             "decode the picture outside, and give the model its pixels")
_MAPS = ("it works on maps and sequences, which LiteRT does not have",
         "leave it out: convert the model to where it has tensors (zipmap=False in skl2onnx)")


def _rows(reason: tuple[str, str], names: Iterable[str]) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(names, reason)


REFUSED: Mapping[str, tuple[str, str]] = {
    **_rows(_STRINGS, ("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch",
                       "ai.onnx.ml::CategoryMapper")),
    **_rows(_RANDOM, ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
                      "Bernoulli")),
    **_rows(_PICTURES, ("ImageDecoder",)),
    **_rows(_MAPS, ("ai.onnx.ml::CastMap", "ai.onnx.ml::DictVectorizer", "ai.onnx.ml::ZipMap")),
}
"""By name (domain::name where the domain is not the standard's own): reason and remedy."""
