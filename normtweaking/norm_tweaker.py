"""Where the norm-tweaking repository has them; see `normtweaking.compat`."""

from normtweaking.compat.norm_tweaker import Metric, NormTweaker

__all__ = ["Metric", "NormTweaker"]
