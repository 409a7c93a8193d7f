"""The interface of the norm-tweaking repository (github.com/smpanaro/norm-tweaking), on top of this library.

Nothing else in the library imports it, but the doors that its users know: `normtweaking` itself and the modules
`normtweaking.data_generator`, `.norm_tweaker` and `.quantizers`. docs/norm_tweaking.md says what differs.
"""

from normtweaking.compat.data_generator import CalibrationData, DataGenerator
from normtweaking.compat.norm_tweaker import Metric, NormTweaker
from normtweaking.compat.quantizers import KMeansQuantizer, LinearQuantizer, PreComputedQuantizer, Quantizer

__all__ = [
    "CalibrationData",
    "DataGenerator",
    "KMeansQuantizer",
    "LinearQuantizer",
    "Metric",
    "NormTweaker",
    "PreComputedQuantizer",
    "Quantizer",
]
