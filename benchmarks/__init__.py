"""fidelite beside other converters and beside the floor, on the same models in the same run. See README.md."""
