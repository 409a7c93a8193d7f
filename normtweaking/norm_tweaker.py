"""The norm-tweaking repository's module of tweaking; see `normtweaking.compat`."""

from normtweaking.compat.norm_tweaker import Metric, NormTweaker

__all__ = ["Metric", "NormTweaker"]
