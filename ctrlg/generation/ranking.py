"""From what `generate` returns to ranked contents: Ctrl-G's two functions, and the scores behind the second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.arguments import LanguageModel, LengthPenalty, Natural, checked
from ctrlg.errors import ArgumentError
from ctrlg.generation.plain_model import plain_model

LOGIT_BYTES = 1 << 28  # memory for the language model's scores of the sequences that are read at a time


class ScoredIds(NamedTuple):
    """Tokens of a content, and what a language model thinks of them and the suffix.

    Attributes:
        token_ids: of the content.
        log_prob: total / counted ** length_penalty, in nats.
        total: sum of log-probabilities, in nats.
    """

    token_ids: tuple[int, ...]
    log_prob: float
    total: float


@checked
def extract_generated_ids(
    outputs: Iterable[Sequence[int]], prompt_ids: Sequence[int], suffix_ids: Sequence[int], eos_token_id: int
) -> list[tuple[int, ...]]:
    """The contents of generated rows: without prompt, end of text and what follows it, and the suffix at their end.

    Where generation stopped early the suffix may stand there in part: the longest beginning of it at the end of a row
    is taken away. A row that was ended is cut exactly.

    Args:
        outputs: rows of token ids that begin with the prompt.
        prompt_ids: the prompt; only its length is used.
        suffix_ids: the suffix, with or without end of text.
        eos_token_id: the token that ends a text.

    Returns:
        The token ids of each content.
    """
    suffix = tuple(suffix_ids)
    while suffix and suffix[-1] == eos_token_id:
        suffix = suffix[:-1]
    contents = []
    for output in outputs:
        tokens = tuple(int(token) for token in output)[len(prompt_ids) :]
        if eos_token_id in tokens:
            tokens = tokens[: tokens.index(eos_token_id)]
        lengths = range(min(len(tokens), len(suffix)), 0, -1)
        cut = next((length for length in lengths if tokens[-length:] == suffix[:length]), 0)
        contents.append(tokens[: len(tokens) - cut])
    return contents


@checked
def rank_generated_ids(
    base_model: LanguageModel,
    generated_ids: Sequence[Sequence[int]],
    prompt_ids: Sequence[int],
    suffix_ids: Sequence[int],
    suffix_logits_only: bool = False,
    suffix_length_cap: Natural | None = None,
    length_penalty: LengthPenalty = 1.0,
) -> list[tuple[int, ...]]:
    """The contents, best first by the language model's log-probability of content and suffix after the prompt.

    Args:
        base_model: a causal language model of transformers, read in evaluation mode.
        generated_ids: the contents.
        prompt_ids: what the model reads first. Without a prompt the first token has no probability and does not count.
        suffix_ids: what follows each content.
        suffix_logits_only: count the suffix only: how well it follows the content.
        suffix_length_cap: count that many tokens of the suffix; all where None.
        length_penalty: divides the sum by the number of counted tokens to this power; 0 is likelihood, 1 perplexity.

    Raises:
        ArgumentError: not one token of a content counts.
    """
    scored = score_generated_ids(
        base_model, generated_ids, prompt_ids, suffix_ids, suffix_logits_only, suffix_length_cap, length_penalty
    )
    return [content.token_ids for content in sorted(scored, key=lambda content: -content.log_prob)]


@checked
@torch.no_grad()
def score_generated_ids(
    base_model: LanguageModel,
    generated_ids: Sequence[Sequence[int]],
    prompt_ids: Sequence[int],
    suffix_ids: Sequence[int],
    suffix_logits_only: bool = False,
    suffix_length_cap: Natural | None = None,
    length_penalty: LengthPenalty = 1.0,
) -> list[ScoredIds]:
    """The contents with their scores, in the order given.

    Arguments are those of `rank_generated_ids`.

    Raises:
        ArgumentError: not one token of a content counts.
    """
    suffix = list(suffix_ids)[:suffix_length_cap]
    contents = [tuple(int(token) for token in content) for content in generated_ids]
    rows = [[*prompt_ids, *content, *suffix] for content in contents]
    skipped = [max(1, len(prompt_ids) + (len(content) if suffix_logits_only else 0)) for content in contents]
    for row, first in zip(rows, skipped, strict=True):
        if len(row) <= first:
            raise ArgumentError("a content has no token to score", hint="give a suffix, or do not rank empty contents")
    base_model = plain_model(base_model)
    totals: list[float] = []
    size = max(1, LOGIT_BYTES // (4 * base_model.config.get_text_config().vocab_size * max(map(len, rows), default=1)))
    for start in range(0, len(rows), size):
        totals += _log_probabilities(base_model, rows[start : start + size], skipped[start : start + size])
    return [
        ScoredIds(content, total / (len(row) - first) ** length_penalty, total)
        for content, row, first, total in zip(contents, rows, skipped, totals, strict=True)
    ]


def _log_probabilities(base_model: Any, rows: list[list[int]], skipped: list[int]) -> list[float]:
    """Sum of the log-probabilities of each row's tokens from position skipped[i] >= 1 on."""
    device = base_model.device
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    position = torch.arange(width, device=device)
    present = position < lengths[:, None]
    logits: Tensor = base_model(input_ids=ids, attention_mask=present.long()).logits
    counted = (present & (position >= torch.tensor(skipped, device=device)[:, None]))[:, 1:]
    first = min(skipped) - 1
    scores = logits[:, first:-1].float()
    chosen = scores.gather(2, ids[:, first + 1 :, None])[..., 0] - scores.logsumexp(dim=2)
    return chosen.masked_fill(~counted[:, first:], 0.0).double().sum(dim=1).tolist()
