"""ONNX to simpler ONNX: functions inlined, dead nodes dropped, constants folded."""
