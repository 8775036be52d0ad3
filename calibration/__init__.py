"""Calibration photos, ranges and the portable calibration table."""
