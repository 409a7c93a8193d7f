"""What a benchmark writes, and with what."""

from __future__ import annotations

from dataclasses import dataclass

from ctrlg.arguments import AboveZero, Natural, Positive, Seed, checked
from ctrlg.defaults import TOKENS
from ctrlg.errors import ArgumentError

LEAST_WORDS, MOST_WORDS = 6, 16
"""Words of a sentence that a concept set is written into, unless other limits are given."""

BEAMS = 16
"""Of every search in the tables of docs/results.md, which go on from files that were written with so many."""

TOGETHER = 4
"""Constraints that are kept side by side: 64 rows of 16 beams, beyond which a processor gains nothing more."""


@checked
@dataclass(frozen=True)
class BenchmarkSettings:
    """What is written, and with what.

    Attributes:
        hmm: folder or hub id of an HMM, or 'default'; a compressed one is unpacked first.
        model: Hugging Face id, folder, .gguf file, or 'default'.
        data: concept sets with references: a file, a name on the hub, or 'default': CommonGen's.
        output: JSON lines, or Norm-Q's list where it ends in .json; what is there is not written again.
        beams: of the search.
        limit: concept sets, spread evenly; all where None.
        seeds: 0 spreads the sets evenly, others sample them.
        soft_mask: the HMM alone steers, as in Ctrl-G.
        least_words: of a sentence.
        most_words: of a sentence; 'none' for no upper limit.
        max_new_tokens: most tokens of a sentence.
        together: concept sets of one search.
        device: of all models: cpu or cuda.
        most_sentences: ranked sentences that are written down of a concept set; all where None.
        part: this process writes every parts-th group of concept sets that are written together, from this one on.
        parts: processes that share the concept sets.
        seconds: that a start may take; every group is then written with all settings before the next one, which is not
            begun where it would take longer, but the first always is: what there is is of the same concept sets for
            all settings. None for any.
    """

    hmm: str
    model: str
    data: str
    output: str
    beams: Positive = BEAMS
    limit: Positive | None = None
    seeds: tuple[Seed, ...] = (0,)
    soft_mask: bool = False
    least_words: Natural = LEAST_WORDS
    most_words: Natural | None = MOST_WORDS
    max_new_tokens: Positive = TOKENS
    together: Positive = TOGETHER
    device: str = "cpu"
    most_sentences: Positive | None = None
    part: Natural = 0
    parts: Positive = 1
    seconds: AboveZero | None = None

    def __post_init__(self) -> None:
        if self.part >= self.parts:
            raise ArgumentError(f"part {self.part} of {self.parts}", hint="parts are numbered from 0")
        if self.most_words is not None and self.most_words < self.least_words:
            raise ArgumentError(f"{self.least_words} to {self.most_words} words", hint="the least first")

    @property
    def mask(self) -> str:
        """What the results file calls the mask."""
        return "soft" if self.soft_mask else "hard"
