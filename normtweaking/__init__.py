"""Norm Tweaking (arXiv 2309.02784): repair a quantised language model by its norms, whatever decoder it is.

from normtweaking import CalibrationData, ModelTweaker, RoundToNearest
tweaker = ModelTweaker(model, RoundToNearest(bits=4, group_size=64))
result = tweaker.run(CalibrationData.load("calibration.safetensors"))
tweaker.save("tweaked", tokenizer, result)

`DataGenerator`, `NormTweaker`, `LinearQuantizer` and `PreComputedQuantizer` are the interface of the norm-tweaking
repository (`normtweaking.compat`).
"""

from normtweaking.compat import DataGenerator, LinearQuantizer, NormTweaker, PreComputedQuantizer
from normtweaking.perplexity import Perplexity, sliding_window_perplexity
from normtweaking.rounding.quantizers import KMeans, Precomputed, Quantizer, RoundToNearest, Weight, quantize_model
from normtweaking.texts.calibration import CalibrationData, calibration_from_text, read_tokens
from normtweaking.texts.generation import CalibrationSettings, generate_calibration
from normtweaking.tweaking.chain import LayerChain
from normtweaking.tweaking.settings import LayerTweak, TweakResult, TweakSettings
from normtweaking.tweaking.tweaker import ModelTweaker

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
