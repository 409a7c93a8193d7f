"""What an engine runs on, and the texts that transformers writes there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from transformers import LogitsProcessorList

from ctrlg import Exclude, Keywords, WordCount
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.engines.requests import Guiding, Request
from ctrlg.hmm import HMM
from helpers.tiny_models import WORDS, tiny_language_model, tiny_tokenizer


@dataclass(frozen=True)
class World:
    """A language model in float32, its tokenizer, an HMM, and requests.

    prompt: token ids that every text follows. name: what the pair is called, where it has a name.
    """

    model: Any
    tokenizer: Any
    hmm: Any
    prompt: list[int]
    words: list[str]
    max_new_tokens: int
    name: str | None

    @property
    def guiding(self) -> Guiding:
        """Fresh, with nothing prepared."""
        return Guiding(self.tokenizer, self.hmm)

    @cached_property
    def end(self) -> int:
        """The token that ends a text."""
        return self.guiding.vocabulary.eos_token_id

    @cached_property
    def _shared(self) -> Guiding:
        return self.guiding

    def requests(self, count: int, seed: int = 0) -> list[Request]:
        """Different constraints, suffixes and lengths."""
        choose = random.Random(seed)
        found = []
        for _ in range(count):
            first, second, third = choose.sample(self.words, 3)
            constraint = choose.choice(
                [
                    Keywords([[first], [second]]),
                    Keywords([[first, second]]) & WordCount(1, choose.randint(3, 6)),
                    Keywords([[first]]) & Exclude([second, third]),
                    WordCount(2, choose.randint(2, 6)) & Exclude([first]),
                ]
            )
            most = self.max_new_tokens - choose.randrange(3)
            found.append(Request(constraint, suffix=choose.choice([".", ""]), max_new_tokens=most))
        return found

    def greedy(self, request: Request) -> list[int]:
        """The tokens after the prompt, as transformers writes them."""
        cursor = self._shared.cursor(request)
        strength = getattr(self.hmm, "strength", 1.0)
        processor = ConstraintLogitsProcessor.from_guide(self.hmm, cursor.guide, self.prompt, [], strength=strength)
        inputs = torch.tensor([self.prompt])
        (row,) = self.model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            logits_processor=LogitsProcessorList([processor]),
            do_sample=False,
            max_new_tokens=self.limit(request),
            eos_token_id=self.end,
            pad_token_id=self.end,
        ).tolist()
        return row[len(self.prompt) :]

    def limit(self, request: Request) -> int:
        """Tokens that content, suffix and end of text need at most."""
        return request.max_new_tokens + 4

    def keeps(self, request: Request, tokens: Sequence[int]) -> bool:
        """Whether tokens are a whole text that keeps the constraint."""
        if not tokens or tokens[-1] != self.end:
            return False
        text = self._shared.vocabulary.join(list(tokens[:-1])).decode()
        return text.endswith(request.suffix) and request.constraint.holds(text)


@cache
def tiny_world() -> World:
    """Random models of a few thousand parameters."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(1)
    end = int(tokenizer.eos_token_id)  # type: ignore[arg-type]
    return World(
        tiny_language_model(len(tokenizer)), tokenizer, HMM(4, len(tokenizer), end), [end], WORDS[:4], 12, None
    )


@cache
def real_world() -> World:
    """The embedded pair, as real engines load it."""
    from ctrlg.loading import load_hmm, load_language_model

    model, tokenizer = load_language_model("default")
    words = ["dog", "park", "run", "ball", "beach", "boat", "horse", "snow", "guitar", "kitchen"]
    return World(model, tokenizer, load_hmm("default"), [int(tokenizer.eos_token_id)], words, 28, "default")


@cache
def instruct_world() -> World:
    """The model inside the GGUF file, dequantized to float32, and the HMM distilled from it."""
    from ctrlg.loading import load_hmm, load_language_model

    model, tokenizer = load_language_model("default-base")
    hmm = load_hmm("instruct")
    words = ["dog", "park", "run", "ball", "beach", "boat", "horse", "snow", "guitar", "kitchen"]
    return World(model, tokenizer, hmm, tokenizer("Tell me about a walk.")["input_ids"], words, 28, "instruct")
