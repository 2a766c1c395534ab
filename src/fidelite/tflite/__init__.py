"""The TFLite graph in memory: tensors, operators, graphs, models; the Builder; op facts as tables; verifier; text."""
