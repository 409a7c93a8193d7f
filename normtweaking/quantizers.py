"""The norm-tweaking repository's module of quantizers; see `normtweaking.compat`."""

from normtweaking.compat.quantizers import KMeansQuantizer, LinearQuantizer, PreComputedQuantizer, Quantizer

__all__ = ["KMeansQuantizer", "LinearQuantizer", "PreComputedQuantizer", "Quantizer"]
