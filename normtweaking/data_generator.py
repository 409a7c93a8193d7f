"""Where the norm-tweaking repository has them; see `normtweaking.compat`."""

from normtweaking.compat.data_generator import CalibrationData, DataGenerator

__all__ = ["CalibrationData", "DataGenerator"]
