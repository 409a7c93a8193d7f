"""What decoding asks of a hidden Markov model: `HMM`, `QuantizedHMM` and, to compare methods, `UnnormalisedHMM`."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ctrlg.matrices import StochasticMatrix


class HiddenMarkovModel(Protocol):
    """H states over V tokens.

    Attributes:
        transition: p(z_{t+1} | z_t), [H, H].
        emission: p(x_t | z_t), [H, V].
        initial: p(z_1), float [H].
        eos_token_id: the token that ends a text.
    """

    @property
    def hidden_states(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def eos_token_id(self) -> int: ...
    @property
    def transition(self) -> StochasticMatrix: ...
    @property
    def emission(self) -> StochasticMatrix: ...
    @property
    def initial(self) -> Tensor: ...
