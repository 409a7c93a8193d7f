"""Sentences sampled from a language model, with the last layer's embeddings that predicted each token.

Written for many short sequences: a prompt is read once, rows that have ended leave the batch, and every row has its
own stream of uniform numbers, so that what it samples does not depend on which other rows are still there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.distillation.sampling.categorical import sampled_tokens
from ctrlg.distillation.sampling.incremental import IncrementalModel
from ctrlg.distillation.sampling.settings import SamplingSettings
from ctrlg.errors import ArgumentError

Report = Callable[[int, int], None]  # called at every step with the numbers of sequences ended and of tokens sampled


class Samples(NamedTuple):
    """Sampled sequences.

    Attributes:
        sequences: int64 [n, T], filled with end-of-text after the first one.
        embeddings: last hidden states that predicted the tokens up to and including the first end-of-text, in reading
            order, float16 [tokens, D]; None where not asked for.
        next_tokens: for each of these tokens, in the same order, K samples of the distribution that it was sampled
            from, int32 [tokens, K], ascending (see `ctrlg.distillation.sampling.next_tokens`); None where not asked
            for.
    """

    sequences: Tensor
    embeddings: Tensor | None
    next_tokens: Tensor | None = None


class NextTokens(NamedTuple):
    """Samples of every next-token distribution besides the one that goes on.

    Attributes:
        number: K >= 1, at evenly spaced points of the cumulated distribution.
        shifts: of these points, float64 [max_new_tokens, n] in [0, 1).
    """

    number: int
    shifts: Tensor


class _Kept(NamedTuple):
    """What is kept of a step, on the CPU. rows: int64 [m]. vectors: [m, D], and next_tokens: [m, K], or None."""

    step: int
    rows: Tensor
    vectors: Tensor | None
    next_tokens: Tensor | None


def token_mask(sequences: Tensor, eos_token_id: int) -> Tensor:
    """True up to and including the first end-of-text of each row, bool [n, T]: the positions that were predicted.

    Args:
        sequences: int64 [n, T].
        eos_token_id: ends a sequence.
    """
    ended = (sequences == eos_token_id).cumsum(1)
    return (ended == 0) | ((ended == 1) & (sequences == eos_token_id))


def sample(
    model: Any,
    prompt_ids: list[int],
    count: int,
    settings: SamplingSettings,
    eos_token_id: int,
    generator: torch.Generator,
    embeddings: bool = False,
) -> Samples:
    """`count` continuations of one prompt, in one batch; see `continue_prompts`.

    Args:
        model: a causal language model of transformers.
        prompt_ids: at least one token.
        count: how many.
        settings: how to sample.
        eos_token_id: ends a sequence.
        generator: where the uniform numbers come from, one per row and step.
        embeddings: keep the last hidden states.
    """
    shape = (settings.max_new_tokens, count)
    uniforms = torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device)
    prompts, prompt_of = torch.tensor([prompt_ids], dtype=torch.long), torch.zeros(count, dtype=torch.long)
    return continue_prompts(model, prompts, prompt_of, uniforms, settings, eos_token_id, embeddings)


@torch.inference_mode()
def continue_prompts(
    model: Any,
    prompts: Tensor,
    prompt_of: Tensor,
    uniforms: Tensor,
    settings: SamplingSettings,
    eos_token_id: int,
    embeddings: bool = False,
    report: Report | None = None,
    next_tokens: NextTokens | None = None,
) -> Samples:
    """One continuation per row, in one batch, from a causal language model of transformers.

    Args:
        model: a causal language model of transformers.
        prompts: int64 [P, L], L >= 1, of equal length.
        prompt_of: the prompt each row continues, int64 [n].
        uniforms: float64 [max_new_tokens, n] in [0, 1); a row's tokens depend on its own column alone.
        settings: how to sample.
        eos_token_id: ends a sequence.
        embeddings: keep the last hidden states.
        report: told of every step.
        next_tokens: samples of every distribution besides; None for none.

    Returns:
        The continuations, without their prompts.

    Raises:
        ArgumentError: an empty prompt, or a model whose logits are not finite.
    """
    if not prompts.shape[1]:
        raise ArgumentError("the prompt has no tokens", hint="the end-of-text token alone is a prompt")
    device = next(model.parameters()).device
    count = len(prompt_of)
    uniforms = uniforms.to(device)
    next_tokens = next_tokens and next_tokens._replace(shifts=next_tokens.shifts.to(device))
    sequences = torch.full((count, settings.max_new_tokens), eos_token_id, dtype=torch.long, device=device)
    kept: list[_Kept] = []
    rows = torch.arange(count, device=device)  # those still in the batch, by place

    reader = IncrementalModel(model, prompts.to(device), prompt_of.to(device), settings.max_new_tokens, embeddings)
    for step in range(settings.max_new_tokens):
        points = uniforms[step, rows, None]
        if next_tokens is not None:  # sampled together: the weights of the whole vocabulary are made once
            points = torch.cat([points, spaced_points(next_tokens, step, rows)], 1)
        sampled = sampled_tokens(reader.logits, points, settings.temperature, settings.top_k, settings.top_p)
        tokens = sampled[:, 0]
        sequences[rows, step] = tokens
        if reader.hidden is not None or next_tokens is not None:
            vectors = None if reader.hidden is None else reader.hidden.half().cpu()
            kept.append(_Kept(step, rows.cpu(), vectors, None if next_tokens is None else sampled[:, 1:].int().cpu()))
        places = _packed(tokens != eos_token_id)
        last = step + 1 == settings.max_new_tokens or not len(places)
        if report is not None:
            report(len(rows) if last else len(rows) - len(places), len(rows))
        if last:
            break
        if len(places) < len(rows):
            reader.keep_rows(places)
            rows, tokens = rows[places], tokens[places]
        reader.read(tokens)
    sequences = sequences.cpu()
    mask = token_mask(sequences, eos_token_id)
    vectors = _in_reading_order([(step, rows, part) for step, rows, part, _ in kept if part is not None], mask)
    others = _in_reading_order([(step, rows, part) for step, rows, _, part in kept if part is not None], mask)
    return Samples(sequences, vectors, others)


def _packed(going: Tensor) -> Tensor:
    """Indices of the places bool [n] that go on: at the front in place, and those from behind where one has ended."""
    size = int(going.sum())
    indices = torch.arange(size, device=going.device)
    indices[~going[:size]] = going[size:].nonzero()[:, 0] + size
    return indices


def spaced_points(wanted: NextTokens, step: int | Tensor, rows: Tensor) -> Tensor:
    """The points of the cumulated distribution at which next tokens are sampled, float64 [rows, K].

    Args:
        wanted: how many, and their shifts.
        step: of all rows, or of each.
        rows: int64 [rows].
    """
    shift = wanted.shifts[step, rows, None]
    return (torch.arange(wanted.number, device=rows.device) + shift) / wanted.number


def _in_reading_order(kept: list[tuple[int, Tensor, Tensor]], mask: Tensor) -> Tensor | None:
    """(step, rows, their vectors) of all steps as vectors in reading order; None where nothing was kept."""
    if not kept:
        return None
    places = reading_places(mask)
    ordered = torch.empty(int(places.max()) + 1, kept[0][2].shape[1], dtype=kept[0][2].dtype)
    for step, rows, vectors in kept:
        ordered[places[rows, step]] = vectors
    return ordered


def reading_places(mask: Tensor) -> Tensor:
    """Where each predicted token stands among all of them, int64 [n, T]; meaningless where `mask` is False.

    Args:
        mask: the predicted tokens, bool [n, T].
    """
    return (mask.flatten().cumsum(0) - 1).reshape(mask.shape)
