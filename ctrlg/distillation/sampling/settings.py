"""How sequences are sampled, and how many: settings, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ctrlg.arguments import LARGEST_SEED, AboveZero, Between, Natural, Positive, checked
from ctrlg.defaults import TOKENS

Format = Literal["safetensors", "pt"]
Engine = Literal["transformers", "vllm"]


@checked
@dataclass(frozen=True)
class SamplingSettings:
    """How to sample a sequence. The defaults leave the distribution whole.

    Attributes:
        max_new_tokens: most tokens of a sequence.
        temperature: of the distribution, above 0.
        top_k: sample from the so many likeliest tokens; 0 is off.
        top_p: sample from the likeliest tokens of so much probability; 1 is off.

    Raises:
        ArgumentError: a value out of its range.
    """

    max_new_tokens: Positive = TOKENS
    temperature: AboveZero = 1.0
    top_k: Natural = 0
    top_p: Annotated[float, Between(above=0, most=1)] = 1.0


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

    def embeds(self, chunk: int) -> bool:
        """Whether this chunk's hidden states are kept.

        Args:
            chunk: its number.
        """
        return self.embeddings and (self.embedded_chunks is None or chunk < self.embedded_chunks)
