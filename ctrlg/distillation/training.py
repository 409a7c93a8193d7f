"""EM over chunks of sampled sequences, in Ctrl-G's schedule, with checkpoints that a broken run resumes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.distillation.sampling import token_mask
from ctrlg.errors import ArgumentError
from ctrlg.hmm.inference import MISSING
from ctrlg.hmm.learning import Prior, maximise, total_counts
from ctrlg.hmm.model import HMM

Reduce = Callable[[Tensor], Tensor]  # sums a tensor over processes; the identity where there is one


class EMSettings(NamedTuple):
    """batch_size: sequences per E-step batch. dropout: share of tokens made missing. See `maximise` for the rest."""

    batch_size: int = 256
    dropout: float = 0.0
    pseudocount: float = 0.001
    seed: int = 0


class StepReport(NamedTuple):
    """One EM step. train, dev: log-likelihood in nats per predicted token (end-of-text included)."""

    step: int
    train: float
    dev: float


def parse_schedule(text: str) -> list[tuple[int, int]]:
    """Ctrl-G's `"10,1;5,2"`: ten steps over one chunk each, then five over two. Raises ArgumentError."""
    try:
        stages = [tuple(int(part) for part in stage.split(",")) for stage in text.split(";") if stage.strip()]
        pairs = [(steps, chunks) for steps, chunks in stages]
    except ValueError as error:
        raise ArgumentError(f"em_schedule {text!r} is not of the form '10,1;5,2'", hint="steps,chunks;...") from error
    if not pairs or any(steps < 1 or chunks < 1 for steps, chunks in pairs):
        raise ArgumentError(f"em_schedule {text!r} names no steps", hint="both numbers of each pair are at least 1")
    return pairs


def em_step(
    model: HMM,
    sequences: Tensor,
    settings: EMSettings,
    prior: Prior | None = None,
    reduce: Reduce = lambda tensor: tensor,
    step: int = 0,
) -> None:
    """One EM step in place over sequences int64 [n, T] (this process's share; counts are summed by `reduce`)."""
    rows = drop_tokens(sequences, settings.dropout, model.eos_token_id, settings.seed + step)
    batches = (batch.to(model.device) for batch in batches_by_length(rows, model.eos_token_id, settings.batch_size))
    counts = total_counts(model.inference_parameters, batches)
    counts = counts._replace(
        initial=reduce(counts.initial), transition=reduce(counts.transition), emission=reduce(counts.emission)
    )
    estimate = maximise(counts, settings.pseudocount, prior)
    model.update_params(estimate.transition, estimate.emission.log(), estimate.initial.log())


def per_token(model: HMM, sequences: Tensor, batch_size: int, reduce: Reduce = lambda tensor: tensor) -> float:
    """Log-likelihood in nats per predicted token (up to and including the first end-of-text) of int64 [n, T]."""
    total = torch.zeros(2, dtype=torch.float64)
    for batch in batches_by_length(sequences, model.eos_token_id, batch_size):
        total[0] += model.log_likelihood(batch).sum().double().cpu()
    total[1] = int(token_mask(sequences, model.eos_token_id).sum())
    total = reduce(total)
    return float(total[0] / total[1])


def batches_by_length(sequences: Tensor, eos_token_id: int, batch_size: int) -> Iterator[Tensor]:
    """Batches of similar length without the padding, which the absorbing end-of-text state would explain for free.

    Every row keeps one end-of-text token more than its first where it has one, so that the absorbing state is seen
    to be absorbing.
    """
    lengths = token_mask(sequences, eos_token_id).sum(1)
    order = torch.argsort(lengths, stable=True)
    for start in range(0, len(order), batch_size):
        index = order[start : start + batch_size]
        width = min(sequences.shape[1], int(lengths[index].max()) + 1)
        yield sequences[index, :width]


def drop_tokens(sequences: Tensor, dropout: float, eos_token_id: int, seed: int) -> Tensor:
    """A copy in which a share of the tokens other than end-of-text is missing (Ctrl-G's dropout)."""
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout is {dropout}", hint="a share of the tokens, from 0 to below 1")
    if dropout == 0:
        return sequences
    drawn = torch.rand(sequences.shape, generator=torch.Generator().manual_seed(seed)) < dropout
    return sequences.masked_fill(drawn & (sequences != eos_token_id), MISSING)


def append_log(path: str | Path, record: dict[str, float | int | str]) -> None:
    """Add one JSON line to a log."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def share_of(rows: Tensor, rank: int, world_size: int) -> Tensor:
    """This process's rows: every world_size-th, so that shares differ by one row at most and none is lost."""
    return rows[rank::world_size]


def chunk_indices(step: int, chunks: int, total_chunks: int) -> Sequence[int]:
    """Which chunks a step reads, cycling as Ctrl-G does."""
    if chunks > total_chunks:
        raise ArgumentError(f"a step over {chunks} chunks, but there are {total_chunks}", hint="fewer chunks a step")
    return [(step + offset) % total_chunks for offset in range(chunks)]
