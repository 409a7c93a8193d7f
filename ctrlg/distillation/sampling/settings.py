"""How sequences are sampled, and how many: settings, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from ctrlg.arguments import LARGEST_SEED, AboveZero, Between, Natural, Positive, checked

Format = Literal["safetensors", "pt"]


class SamplingSettings(NamedTuple):
    """How to sample a sequence. The defaults leave the distribution whole.

    Attributes:
        max_new_tokens: most tokens of a sequence.
        temperature: of the distribution, above 0.
        top_k: sample from the so many likeliest tokens; 0 is off.
        top_p: sample from the likeliest tokens of so much probability; 1 is off.
    """

    max_new_tokens: Positive = 32
    temperature: AboveZero = 1.0
    top_k: Natural = 0
    top_p: Annotated[float, Between(above=0, most=1)] = 1.0


def check_settings(settings: SamplingSettings) -> None:
    """Check the ranges of settings, which a NamedTuple cannot do itself.

    Args:
        settings: to check.

    Raises:
        ArgumentError: one is out of its range.
    """
    _check(*settings)


@checked
def _check(
    max_new_tokens: Positive,
    temperature: AboveZero,
    top_k: Natural,
    top_p: Annotated[float, Between(above=0, most=1)],
) -> None:
    """The ranges are those of the annotations: a NamedTuple cannot check itself."""


@checked
@dataclass(frozen=True)
class ChunkSettings:
    """How many sequences to sample, and what to keep of them.

    Attributes:
        sampling: how a sequence is sampled.
        chunk_size: sequences of a chunk.
        total_chunks: chunks.
        batch_size: most sequences at once.
        embeddings: keep the last hidden states.
        seed: of everything random.
        file_format: of the chunks, see `write_samples`.
        embedded_chunks: keep hidden states of the first so many chunks alone; of all where None.
        next_tokens: samples from the distribution of every token beside it
            (`ctrlg.distillation.sampling.next_tokens`); 0 for none.
    """

    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    chunk_size: Positive = 32
    total_chunks: Positive = 1
    batch_size: Positive = 32
    embeddings: bool = False
    seed: Annotated[int, Between(0, 4 * LARGEST_SEED)] = 0
    file_format: Format = "safetensors"
    embedded_chunks: Natural | None = None
    next_tokens: Natural = 0

    def __post_init__(self) -> None:
        check_settings(self.sampling)

    def embeds(self, chunk: int) -> bool:
        """Whether this chunk's hidden states are kept.

        Args:
            chunk: its number.
        """
        return self.embeddings and (self.embedded_chunks is None or chunk < self.embedded_chunks)
