"""Norm Tweaking (arXiv 2309.02784): repair a quantised language model by its norms, whatever decoder it is.

from normtweaking import CalibrationData, ModelTweaker, RoundToNearest
tweaker = ModelTweaker(model, RoundToNearest(bits=4, group_size=64))
result = tweaker.run(CalibrationData.load("calibration.safetensors"))
tweaker.save("tweaked", tokenizer, result)

`DataGenerator`, `NormTweaker`, `LinearQuantizer` and `PreComputedQuantizer` are the interface of the norm-tweaking
repository (`normtweaking.compat`).
"""

from normtweaking.calibration import CalibrationData, calibration_from_text, read_tokens
from normtweaking.chain import LayerChain
from normtweaking.compat import DataGenerator, LinearQuantizer, NormTweaker, PreComputedQuantizer
from normtweaking.generation import CalibrationSettings, generate_calibration
from normtweaking.perplexity import Perplexity, sliding_window_perplexity
from normtweaking.rounding import KMeans, Precomputed, Quantizer, RoundToNearest, Weight, quantize_model
from normtweaking.settings import LayerTweak, TweakResult, TweakSettings
from normtweaking.tweaker import ModelTweaker

__all__ = [
    "CalibrationData",
    "CalibrationSettings",
    "DataGenerator",
    "KMeans",
    "LayerChain",
    "LayerTweak",
    "LinearQuantizer",
    "ModelTweaker",
    "NormTweaker",
    "Perplexity",
    "PreComputedQuantizer",
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
