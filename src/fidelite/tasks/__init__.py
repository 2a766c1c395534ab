"""What MediaPipe's tasks read in a `.tflite` beside the graph: labels, normalisation, activation, boxes.

A file for a task is an ordinary one with a metadata buffer `TFLITE_METADATA` and, behind the tables, a zip with the
labels. `card.py` is that as data, `metadata.py` its bytes, `plan.py` what a task asks of the edge of a model.
"""
