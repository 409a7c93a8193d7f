"""What a distillation is told, checked before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ctrlg.arguments import AboveZero, Between, Natural, NonNegative, Positive, Seed, TwoOrMore, checked
from ctrlg.defaults import BITS, TOKENS
from ctrlg.distillation.sampling.settings import Engine, SamplingSettings
from ctrlg.errors import ArgumentError

SHARES = {"sampling": 0.38, "soft": 0.60, "hmm": 0.84}
"""Of the seconds of a job: when sampling, EM with soft counts and with the tokens themselves are to have ended; the
first HMM is made between the first two, and compression and judging have the rest."""


@checked
@dataclass(frozen=True)
class DistillationSettings:
    """What to distill, and how.

    Attributes:
        model: Hugging Face id, folder, .gguf file, or 'default'.
        output: folder for samples, checkpoints and the compressed HMM.
        hidden_states: of the HMM, 2 or more; one is reserved for end-of-text.
        sequences: how many to sample for training.
        held_out: sequences to choose the checkpoint by, and as many again for the card.
        max_new_tokens: most tokens of a sequence.
        prompts: .json, .jsonl or .txt; where empty the end-of-text token alone.
        chat_template: a prompt is a user's turn of a chat.
        eos_token: ends a sequence; where empty the tokenizer's own.
        temperature: of the samples.
        soft_steps: most steps of EM with soft emission counts; it stops earlier where the held-out likelihood has not
            risen three times in a row. 0 for none, which models that change their logits after the output layer need.
        one_hot_steps: most steps after them, with the sampled tokens themselves. Soft counts credit emissions from the
            past alone, and leave an HMM that knows little of what is coming; these steps make it look ahead.
        next_tokens: samples of the language model's next-token distribution per place, for soft counts.
        soft_prior: observations a state, spread as the emissions that the soft steps begin with.
        one_hot_prior: the same for the later steps.
        bits: of a code of log-norm-q, 1 to 8.
        max_bytes: of the compressed file; where None 1 % of float32, or what a small vocabulary needs.
        batch_size: sequences sampled at once.
        seed: of everything random.
        device: cpu or cuda.
        embedded_sequences: so many sequences, rounded up to whole files, keep the hidden states that the first HMM is
            made of, 1 KB a token; next tokens are then sampled with the sequences. None: all keep them.
        soft_sequences: so many sequences, rounded up to whole files, are read by a step with soft counts, in turn;
            None: all.
        engine: what samples, transformers or vllm (see docs/scale.md).
        engine_options: for vllm.LLM, a JSON object, say '{"tensor_parallel_size": 2}'.
        seconds: that a start may take; its stages then end early with what they have. None for any.
    """

    model: str
    output: Path
    hidden_states: TwoOrMore = 512
    sequences: Positive = 50_000
    held_out: Positive = 2_000
    max_new_tokens: Positive = TOKENS
    prompts: str = ""
    chat_template: bool = False
    eos_token: str = ""
    temperature: AboveZero = 1.0
    soft_steps: Natural = 20
    one_hot_steps: Natural = 5
    next_tokens: Positive = 32
    soft_prior: NonNegative = 50.0
    one_hot_prior: NonNegative = 1000.0
    bits: Annotated[int, Between(1, 8)] = BITS
    max_bytes: Annotated[int, Between(1)] | None = None
    batch_size: Positive = 256
    seed: Seed = 0
    device: str = "cpu"
    embedded_sequences: Positive | None = None
    soft_sequences: Positive | None = None
    seconds: AboveZero | None = None
    engine: Engine = "transformers"
    engine_options: str = ""

    def __post_init__(self) -> None:
        if self.chat_template and not self.prompts:
            raise ArgumentError("a chat template without prompts", hint="name a file of what the user says")
        if self.soft_steps + self.one_hot_steps == 0:
            raise ArgumentError("soft_steps and one_hot_steps are both 0", hint="20 and 5, say")

    @property
    def sampling(self) -> SamplingSettings:
        """How a sequence is sampled."""
        return SamplingSettings(self.max_new_tokens, self.temperature)
