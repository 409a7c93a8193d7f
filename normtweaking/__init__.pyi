# The names of `import normtweaking`, each loaded when it is first used.
from .compat import DataGenerator, LinearQuantizer, NormTweaker, PreComputedQuantizer
from .perplexity import Perplexity, sliding_window_perplexity
from .rounding.quantizers import KMeans, Precomputed, Quantizer, RoundToNearest, Weight, quantize_model
from .texts.calibration import CalibrationData, calibration_from_text, read_tokens
from .texts.generation import CalibrationSettings, generate_calibration
from .tweaking.chain import LayerChain
from .tweaking.settings import LayerTweak, TweakResult, TweakSettings
from .tweaking.tweaker import ModelTweaker

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
