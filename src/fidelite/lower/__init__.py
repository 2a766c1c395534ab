"""ONNX operators to TFLite operators: one file per family, a registry, and the driver that walks the graph."""
