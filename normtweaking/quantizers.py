"""Where the norm-tweaking repository has them; see `normtweaking.compat`."""

from normtweaking.compat.quantizers import KMeansQuantizer, LinearQuantizer, PreComputedQuantizer, Quantizer

__all__ = ["KMeansQuantizer", "LinearQuantizer", "PreComputedQuantizer", "Quantizer"]
