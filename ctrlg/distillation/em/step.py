"""One EM step over sampled sequences, and the likelihood before and after it.

A step sums expected counts over batches and divides them (`ctrlg.hmm.learning`). Batches are cut from the whole step's
data and dealt to the processes in turn, and tokens are dropped before that, so that the sum does not depend on how
many processes share the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.arguments import shown
from ctrlg.distillation.processes import ONE_PROCESS, Processes
from ctrlg.distillation.sampling.next_tokens import credit_next_tokens
from ctrlg.distillation.sampling.samples import reading_places, token_mask
from ctrlg.errors import ArgumentError
from ctrlg.hmm.expectation import CountSums
from ctrlg.hmm.inference import MISSING, Parameters
from ctrlg.hmm.learning import Estimate, Prior, TotalCounts, maximize, total_counts
from ctrlg.hmm.model import HMM

MOST_STEPS = 1_000_000  # of a schedule, which is a list of them
Report = Callable[[int], None]  # called after every batch with the number of its sequences


class EMSettings(NamedTuple):
    """What a single EM step is told.

    Attributes:
        batch_size: sequences per E-step batch.
        dropout: share of tokens made missing.
        pseudocount: see `maximize`.
        seed: of dropout.
        bfloat16: whether the E-step multiplies matrices in that type (see `CountSums`).
    """

    batch_size: int = 256
    dropout: float = 0.0
    pseudocount: float = 0.001
    seed: int = 0
    bfloat16: bool = False

    @property
    def product_dtype(self) -> torch.dtype | None:
        """Of the E-step's matrix products; None is the parameters' own."""
        return torch.bfloat16 if self.bfloat16 else None


class Likelihood(NamedTuple):
    """Mean log-likelihood in nats: per predicted token (end-of-text included), and per sequence.

    Attributes:
        per_token: nats.
        per_sequence: nats.
    """

    per_token: float
    per_sequence: float


def em_step(
    model: HMM,
    sequences: Tensor,
    settings: EMSettings,
    prior: Prior | None = None,
    processes: Processes = ONE_PROCESS,
    step: int = 0,
    report: Report | None = None,
    next_tokens: Tensor | None = None,
) -> None:
    """One EM step in place over sequences int64 [n, T], the same in every process.

    Args:
        model: is changed in place.
        sequences: int64 [n, T], the same in every process.
        settings: of the step.
        prior: of every row; None for the pseudocount alone.
        processes: that share the work.
        step: which tokens are dropped.
        report: told how many sequences are done.
        next_tokens: int32 [tokens, K], samples of the language model's next-token distribution at every predicted token
            in reading order; emissions are then credited with them instead of with the sequences' own tokens
            (`ctrlg.distillation.sampling.next_tokens`).
    """
    parameters = model.inference_parameters
    counts = em_counts(parameters, sequences, model.eos_token_id, settings, processes, step, report, next_tokens)
    update(model, maximize(counts, settings.pseudocount, prior, consume=True))


def em_counts(
    parameters: Parameters,
    sequences: Tensor,
    eos_token_id: int,
    settings: EMSettings,
    processes: Processes = ONE_PROCESS,
    step: int = 0,
    report: Report | None = None,
    next_tokens: Tensor | None = None,
) -> TotalCounts:
    """Expected counts of all processes under these parameters; arguments as for em_step. (`log_likelihood` and
    `sequences` are of this process alone.)

    Args:
        parameters: of the HMM.
        sequences: int64 [n, T], the same in every process.
        eos_token_id: of the HMM.
        settings: of the step.
        processes: that share the work.
        step: as for `em_step`.
        report: told how many sequences are done.
        next_tokens: as for `em_step`.
    """
    rows = drop_tokens(sequences, settings.dropout, eos_token_id, settings.seed, step)
    if next_tokens is None:
        batches = shared_batches(rows, eos_token_id, settings.batch_size, processes, report)
        on_device = (batch.to(parameters.initial.device) for batch in batches)
        counts = total_counts(parameters, on_device, settings.product_dtype)
    else:
        predicted = token_mask(sequences, eos_token_id)
        places = reading_places(predicted)
        sums = CountSums(parameters, settings.product_dtype)
        for index, width in shared_places(sequences, eos_token_id, settings.batch_size, processes, report):
            predictive = sums.add_moves_predicting(rows[index, :width].to(parameters.initial.device))
            there = predicted[index, :width]
            there_tokens = next_tokens[places[index, :width][there].to(next_tokens.device)]
            credit_next_tokens(
                sums.emission, parameters.emission, predictive[there.to(predictive.device)], there_tokens
            )
        counts = sums.total()
    return counts._replace(
        initial=processes.sum(counts.initial),
        transition=processes.sum(counts.transition),
        emission=processes.sum(counts.emission),
    )


def update(model: HMM, estimate: Estimate) -> None:
    """Give the model the estimated distributions, in place, emissions token-major.

    Args:
        model: is changed in place.
        estimate: the new distributions.
    """
    model.update_params(
        estimate.transition.contiguous(), token_major(estimate.emission.log()), estimate.initial.log().contiguous()
    )


def token_major(emission: Tensor) -> Tensor:
    """The same [H, V] with a token's values side by side in memory, as an E-step reads them. Training always keeps them
    so, whether a model was estimated or read: products and sums may round otherwise in another layout.

    Args:
        emission: [H, V].
    """
    return emission.T.contiguous().T


def mean_log_likelihood(
    model: HMM, sequences: Tensor, batch_size: int, processes: Processes = ONE_PROCESS, report: Report | None = None
) -> Likelihood:
    """Likelihood of sequences int64 [n, T], the same in every process; each mean is over its own count.

    Args:
        model: to judge.
        sequences: int64 [n, T], the same in every process.
        batch_size: sequences of a batch.
        processes: that share the work.
        report: told how many sequences are done.
    """
    total = torch.zeros((), dtype=torch.float64)
    for batch in shared_batches(sequences, model.eos_token_id, batch_size, processes, report):
        total += model.log_likelihood(batch).sum(dtype=torch.float64).cpu()
    total = float(processes.sum(total))
    tokens = int(token_mask(sequences, model.eos_token_id).sum())
    return Likelihood(total / tokens, total / len(sequences))


def per_token(model: HMM, sequences: Tensor, batch_size: int) -> float:
    """Log-likelihood in nats per predicted token (up to and including the first end-of-text) of int64 [n, T].

    Args:
        model: to judge.
        sequences: int64 [n, T], the same in every process.
        batch_size: sequences of a batch.
    """
    return mean_log_likelihood(model, sequences, batch_size).per_token


def places_by_length(sequences: Tensor, eos_token_id: int, batch_size: int) -> Iterator[tuple[Tensor, int]]:
    """Which rows of int64 [n, T] form a batch, and how many of their tokens.

    Rows of a batch are of similar length: the padding, which the absorbing end-of-text state explains for free, is left
    out.

    Every row keeps one end-of-text token more than its first where it has one, so that the absorbing state is seen
    to be absorbing.

    Args:
        sequences: int64 [n, T], the same in every process.
        eos_token_id: of the HMM.
        batch_size: sequences of a batch.
    """
    lengths = token_mask(sequences, eos_token_id).sum(1)
    order = torch.argsort(lengths, stable=True)
    for index in order.split(batch_size):
        yield index, min(sequences.shape[1], int(lengths[index].max()) + 1)


def shared_batches(
    sequences: Tensor, eos_token_id: int, batch_size: int, processes: Processes, report: Report | None = None
) -> Iterator[Tensor]:
    """This process's batches: every world_size-th of those one process would make, so that none is lost or cut.

    Args:
        sequences: int64 [n, T], the same in every process.
        eos_token_id: of the HMM.
        batch_size: sequences of a batch.
        processes: that share the work.
        report: told how many sequences are done.
    """
    for index, width in shared_places(sequences, eos_token_id, batch_size, processes, report):
        yield sequences[index, :width]


def shared_places(
    sequences: Tensor, eos_token_id: int, batch_size: int, processes: Processes, report: Report | None = None
) -> Iterator[tuple[Tensor, int]]:
    """As shared_batches, the places instead of the tokens.

    Args:
        sequences: int64 [n, T], the same in every process.
        eos_token_id: of the HMM.
        batch_size: sequences of a batch.
        processes: that share the work.
        report: told how many sequences are done.
    """
    places = places_by_length(sequences, eos_token_id, batch_size)
    for index, width in islice(places, processes.rank, None, processes.world_size):
        yield index, width
        if report is not None:
            report(len(index) * processes.world_size)


def drop_tokens(sequences: Tensor, dropout: float, eos_token_id: int, seed: int, step: int = 0) -> Tensor:
    """A copy in which a share of the tokens other than end-of-text is missing (Ctrl-G's dropout), fixed by the seed and
    the step.

    Args:
        sequences: int64 [n, T], the same in every process.
        dropout: share of the tokens, 0 to below 1.
        eos_token_id: of the HMM.
        seed: of dropout.
        step: number of the EM step.

    Raises:
        ArgumentError: a share outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout is {dropout}", hint="a share of the tokens, from 0 to below 1")
    if dropout == 0:
        return sequences
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    dropped = torch.rand(sequences.shape, generator=generator, dtype=torch.float32) < dropout
    return sequences.masked_fill(dropped.to(sequences.device) & (sequences != eos_token_id), MISSING)


def parse_schedule(text: str) -> list[tuple[int, int]]:
    """Ctrl-G's schedule `"10,1;5,2"`: ten steps over one chunk each, then five over two.

    Args:
        text: "steps,chunks;...".

    Raises:
        ArgumentError: text of another form.
    """
    try:
        stages = [tuple(int(part) for part in stage.split(",")) for stage in text.split(";") if stage.strip()]
        pairs = [(steps, chunks) for steps, chunks in stages]
    except ValueError as error:
        raise ArgumentError(f"em_schedule {text!r} is not of the form '10,1;5,2'", hint="steps,chunks;...") from error
    if not pairs or any(steps < 1 or chunks < 1 for steps, chunks in pairs):
        raise ArgumentError(f"em_schedule {text!r} names no steps", hint="both numbers of each pair are at least 1")
    if sum(steps for steps, _ in pairs) > MOST_STEPS:
        raise ArgumentError(f"em_schedule {shown(text)} is too long", hint=f"at most {MOST_STEPS:,} steps in all")
    return pairs


def chunk_indices(step: int, chunks: int, total_chunks: int) -> Sequence[int]:
    """Which chunks a step reads, cycling as Ctrl-G does.

    Args:
        step: chunks read before it.
        chunks: how many it reads.
        total_chunks: how many there are.

    Raises:
        ArgumentError: more chunks than there are.
    """
    if chunks > total_chunks:
        raise ArgumentError(f"a step over {chunks} chunks, but there are {total_chunks}", hint="fewer chunks a step")
    return [(step + offset) % total_chunks for offset in range(chunks)]
