"""An HMM whose rows are not distributions any more, for the decoder alone.

Some methods that Norm-Q is compared with do not normalize what rounding leaves, so that `sum_v M[h, v]` is anything,
0 included. `HMM` rightly refuses such rows: likelihoods and samples of them mean nothing. The decoder can use them as
they are, since it only compares weights: a score is `log((a * C) @ M[:, v]) - log(a @ M[:, v])`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ctrlg.hmm.matrices import MatrixHMM
from ctrlg.matrices import StochasticMatrix


@dataclass(frozen=True, eq=False)
class UnnormalisedHMM(MatrixHMM[StochasticMatrix]):
    """H states over V tokens with entries >= 0 whose rows need not sum to 1; what `ctrlg.generate` takes.

    It has no likelihood and no samples, and is no `HMM`. In the decoder it means this:

    - The constraint is kept as always: the mask comes from the automaton and does not ask the HMM.
    - The scale of a row of the transition or the emission counts as if the state were more or less likely, and paths of
      different lengths are weighed by the scales along them. The scale of the predictive state has no effect.
    - A state with an empty row of the emission writes nothing, one with an empty row of the transition leads nowhere. A
      token that no live state writes has score -inf; where that leaves none, the language model decides under the mask.
    - `log_ratio` and `log_probability` of the processor are no logarithms of probabilities, and may exceed 0.

    Args:
        transition: [H, H].
        emission: [H, V].
        initial: float [H], sums to 1.
        eos_token_id: the token that ends a text, in [0, V).
        method: how it was made.
        bits: of a code; None where it was made by other settings, which are in `settings`.
        fingerprint: of the vocabulary, None where unknown.
        settings: further arguments of the method.

    Raises:
        ArgumentError: parts that do not fit together.
    """

    transition: StochasticMatrix
    emission: StochasticMatrix
    initial: Tensor
    eos_token_id: int
    method: str
    bits: int | None = None
    fingerprint: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.check_parts()

    def __repr__(self) -> str:
        how = f"{self.bits} bits" if self.bits is not None else dict(self.settings)
        return f"UnnormalisedHMM({self.hidden_states} states, {self.vocab_size} tokens, {self.method}, {how})"

    def to(self, device: torch.device | str) -> UnnormalisedHMM:
        """The same model on another device.

        Args:
            device: to move to.
        """
        moved = {name: getattr(self, name).to(device) for name in ("transition", "emission", "initial")}
        return replace(self, **moved)
