"""Quantized files: fidelite's beside those of Google's quantizer, from the same float file and the same samples."""
