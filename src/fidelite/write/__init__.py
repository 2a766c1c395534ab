"""The TFLite graph to bytes: an ordinary FlatBuffer whose weights are streamed in behind its tables."""
