"""What the first HMM is made by."""

from __future__ import annotations

from dataclasses import dataclass

from ctrlg.arguments import Natural, NonNegative, Positive, Seed, TwoOrMore, VocabularySize, checked
from ctrlg.errors import ArgumentError


@checked
@dataclass(frozen=True)
class LatentSettings:
    """How to cluster and to count.

    Attributes:
        hidden_states: 2 or more; the last one is reserved for end-of-text.
        vocab_size: of the sampled language model.
        eos_token_id: of the sampled language model.
        iterations: of k-means.
        vectors_per_state: most vectors a state that centroids are trained on; 39 and more are enough for k-means
            (faiss).
        pseudocount: spread over each row of counts (Ctrl-G's rule).
        seed: of everything random.
    """

    hidden_states: TwoOrMore
    vocab_size: VocabularySize
    eos_token_id: Natural
    iterations: Positive = 20
    vectors_per_state: Positive = 256
    pseudocount: NonNegative = 0.001
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.eos_token_id >= self.vocab_size:
            raise ArgumentError(
                f"eos_token_id {self.eos_token_id} is not one of {self.vocab_size} tokens", hint="as in the tokenizer"
            )
