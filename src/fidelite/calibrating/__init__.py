"""The user's calibration data: pictures, arrays, generators and functions, as samples that fit the model."""

from __future__ import annotations

from fidelite.calibrating.data import CalibrationData, open_calibration

__all__ = ["CalibrationData", "open_calibration"]
