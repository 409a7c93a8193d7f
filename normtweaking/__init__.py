"""Norm Tweaking (arXiv 2309.02784): repair a quantised language model by its norms, whatever decoder it is.

from normtweaking import CalibrationData, ModelTweaker, RoundToNearest
tweaker = ModelTweaker(model, RoundToNearest(bits=4, group_size=64))
result = tweaker.run(CalibrationData.load("calibration.safetensors"))
tweaker.save("tweaked", tokenizer, result)

`DataGenerator`, `NormTweaker`, `LinearQuantizer` and `PreComputedQuantizer` are the interface of the norm-tweaking
repository (`normtweaking.compat`).

Names are listed in __init__.pyi and loaded when they are first used, so that importing costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
