"""The norm-tweaking repository's module of calibration data; see `normtweaking.compat`."""

from normtweaking.compat.data_generator import CalibrationData, DataGenerator

__all__ = ["CalibrationData", "DataGenerator"]
