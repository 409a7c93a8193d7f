"""How a language model is adapted."""

from __future__ import annotations

from dataclasses import dataclass

from ctrlg.arguments import AboveZero, Natural, Positive, Seed, checked

ALL_LINEAR = "all-linear"  # peft's word for every linear layer but the output layer


@checked
@dataclass(frozen=True)
class AdaptationSettings:
    """How to adapt.

    Attributes:
        rank: of a new adapter's LoRA matrices.
        alpha: scale of a new adapter; 2 * rank where None.
        target_modules: layers of a new adapter.
        full: train all weights instead of an adapter; learning rates are then about 50 times smaller.
        learning_rate: at its peak, after the warm-up, then a cosine to zero at the end.
        warmup: steps.
        batch_size: sentences.
        epochs: passes over the sentences.
        evaluate_every: steps.
        patience: stop after so many evaluations without a better one; 0 for never.
        save_every: steps between saves besides those at evaluations, 0 for none; changes no number.
        seed: of everything random.
        seconds: that training may take in a start, None for any. Where the epochs would take longer, the learning rate
            falls with time instead of steps: it is zero when time is over.
    """

    rank: Positive = 6
    alpha: AboveZero | None = None
    target_modules: str | tuple[str, ...] = ALL_LINEAR
    full: bool = False
    learning_rate: AboveZero = 1e-3
    warmup: Positive = 50
    batch_size: Positive = 64
    epochs: AboveZero = 1.0
    evaluate_every: Positive = 200
    patience: Natural = 0
    save_every: Natural = 0
    seed: Seed = 0
    seconds: AboveZero | None = None
