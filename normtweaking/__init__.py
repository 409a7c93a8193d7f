"""Norm Tweaking (arXiv 2309.02784): repair a quantised language model by its norms, whatever decoder it is.

from normtweaking import CalibrationData, NormTweaker, RoundToNearest
tweaker = NormTweaker(model, RoundToNearest(bits=4, group_size=64))
result = tweaker.run(CalibrationData.load("calibration.safetensors"))
tweaker.save("tweaked", tokenizer, result)
"""

from normtweaking.calibration import (
    CalibrationData,
    CalibrationSettings,
    calibration_from_text,
    generate_calibration,
    read_tokens,
)
from normtweaking.chain import LayerChain
from normtweaking.perplexity import Perplexity, sliding_window_perplexity
from normtweaking.quantizers import KMeans, Precomputed, Quantizer, RoundToNearest, Weight, quantize_model
from normtweaking.settings import LayerTweak, TweakResult, TweakSettings
from normtweaking.tweaker import NormTweaker

__all__ = [
    "CalibrationData",
    "CalibrationSettings",
    "KMeans",
    "LayerChain",
    "LayerTweak",
    "NormTweaker",
    "Perplexity",
    "Precomputed",
    "Quantizer",
    "RoundToNearest",
    "TweakResult",
    "TweakSettings",
    "Weight",
    "calibration_from_text",
    "generate_calibration",
    "quantize_model",
    "read_tokens",
    "sliding_window_perplexity",
]
