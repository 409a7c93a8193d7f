"""How to tweak, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ctrlg.arguments import NonNegative, Positive, checked
from ctrlg.errors import ArgumentError
from normtweaking.defaults import BATCH_SIZE

DISTRIBUTION, MSE = "distribution", "mse"
LOSSES = (DISTRIBUTION, MSE)
MOMENTS = "moments"  # a closed form, see `normtweaking.tweaking.matching`
LEAST_SQUARES, OWN_LEAST_SQUARES = (
    "least-squares",
    "own-least-squares",
)  # others, see the same folder
CLOSED_FORMS = (MOMENTS, LEAST_SQUARES, OWN_LEAST_SQUARES)
LAYERS, END_TO_END, BOTH = "layers", "end-to-end", "both"


@checked
@dataclass(frozen=True)
class TweakSettings:
    """How to tweak.

    Attributes:
        loss: of a layer: distribution (the paper's) or mse, which Adam lowers; or moments, least-squares or
            own-least-squares, which are solved and need no learning rate.
        scope: layers (one after the other, the paper's), end-to-end (all norms at once, against the float model's
            next-token distribution), or both, in this order.
        learning_rate: Adam's, in the first layer; in layer i of L it is learning_rate * (1 + scale * i / L)
            (arXiv 2309.02784, eq. 3).
        scale: see the learning rate.
        iterations: passes over the calibration texts in each layer, and end to end; a step for each batch. End to end
            they are the most: the best pass by the score is kept, unless worse norms are.
        batch_size: texts at once.
        final_norm: tweak the norm behind the layers too.
        keep_better: end with the untweaked norms where the tweaked ones are worse by the score, see `TweakResult`.
        keep_better_layers: the same in each layer, by its loss.

    Raises:
        ArgumentError: values out of range.
    """

    loss: str = DISTRIBUTION
    scope: str = LAYERS
    learning_rate: NonNegative = 1e-5
    scale: NonNegative = 1.0
    iterations: Positive = 1
    batch_size: Positive = BATCH_SIZE
    final_norm: bool = True
    keep_better: bool = True
    keep_better_layers: bool = False

    def __post_init__(self) -> None:
        for name, known in (("loss", (*LOSSES, *CLOSED_FORMS)), ("scope", (LAYERS, END_TO_END, BOTH))):
            if getattr(self, name) not in known:
                raise ArgumentError(
                    f"the {name} {getattr(self, name)!r} is unknown", hint=f"one of: {', '.join(known)}"
                )

    def rate(self, index: int, depth: int) -> float:
        """Adam's learning rate in stage `index`; the norm behind `depth` layers is stage `depth`.

        Args:
            index: from 0.
            depth: L, layers of the model.
        """
        return self.learning_rate * (1 + self.scale * index / depth)

    @property
    def layer_loss(self) -> str:
        """The loss by which a layer is judged."""
        if self.loss in LOSSES:
            return self.loss
        return DISTRIBUTION if self.loss == MOMENTS else MSE


class LayerTweak(NamedTuple):
    """What came of a layer, or of the norm behind the layers, on the texts that judge (`ModelTweaker.run`).

    Attributes:
        name: of the module in the model.
        learning_rate: Adam's there.
        loss_before: between its float and its quantized output, without tweaked norms, the layers before it tweaked.
        loss_after: the same with tweaked norms.
        mean_delta_before: mean over channels of the absolute differences of the outputs' means, without tweaked norms.
        mean_delta_after: the same with tweaked norms.
        variance_delta_before: mean over channels of the absolute differences of the outputs' variances, without tweaked
            norms.
        variance_delta_after: the same with tweaked norms.
        kept: whether the tweaked norms were.
    """

    name: str
    learning_rate: float
    loss_before: float
    loss_after: float
    mean_delta_before: float
    mean_delta_after: float
    variance_delta_before: float
    variance_delta_after: float
    kept: bool


class TweakResult(NamedTuple):
    """What came of tweaking a model.

    Attributes:
        layers: in the order they run; empty where the scope is "end-to-end".
        score_quantized: KL divergence of the quantized model's next-token distribution from the float model's, without
            tweaked norms, nats per token.
        score_tweaked: the same with tweaked norms.
        kept: whether the tweaked norms were.
    """

    layers: tuple[LayerTweak, ...]
    score_quantized: float
    score_tweaked: float
    kept: bool
