"""What a network's values look like on samples, and which integers serve them: observe, choose ranges, set scales."""

from __future__ import annotations

from fidelite.quantize.calibration.observe import Calibration, calibrate
from fidelite.quantize.calibration.parameters import Parameters, choose_parameters
from fidelite.quantize.calibration.ranges import RANGE_METHODS, Range, range_of

__all__ = ["RANGE_METHODS", "Calibration", "Parameters", "Range", "calibrate", "choose_parameters", "range_of"]
