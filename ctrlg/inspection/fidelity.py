"""How much a compressed HMM loses against the one it was made from.

`KLseq = (1 / tokens) sum_i [log p(x_i) - log q(x_i)]` over sequences `x_i` sampled from the float model `p`:
nats per token, zero for a perfect copy, and a measure of the compression alone (held-out likelihood can rise,
where rounding smooths). Both models score the same sequences, so that the difference has little noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ctrlg.arguments import Positive, Seed, TwoOrMore, checked
from ctrlg.hmm import HMM, SequenceModel
from ctrlg.quantization.quantize import quantize


class SequenceLoss(NamedTuple):
    """What a compressed HMM loses.

    Attributes:
        mean: nats per token lost.
        error: its standard error over the sampled sequences.
    """

    mean: float
    error: float


class FidelityRow(NamedTuple):
    """One line of the table in a model card.

    Attributes:
        method: as for `quantize`; "float32" for the original.
        bits: as for `quantize`; 32 for the original.
        loss: KLseq.
        held_out: log-likelihood in nats per token of held-out text, None where none was given.
        packed_nbytes: on disk.
        nbytes: in memory while it runs.
    """

    method: str
    bits: int
    loss: SequenceLoss
    held_out: float | None
    packed_nbytes: int
    nbytes: int


@checked
def kl_sequence(
    reference: HMM,
    compressed: SequenceModel,
    *,
    sequences: TwoOrMore = 1000,
    length: Positive = 32,
    seed: Seed = 0,
    batch_size: Positive = 250,
) -> SequenceLoss:
    """KLseq of `compressed` against `reference`, on sequences sampled from the reference.

    End-of-text tokens after the first of a run are padding and count as no tokens.

    Args:
        reference: the float HMM.
        compressed: the model that was made from it.
        sequences: how many samples, >= 2.
        length: tokens of each, >= 1.
        seed: makes the samples repeatable.
        batch_size: sequences scored at a time.

    Returns:
        Nats per token, and their standard error.

    Raises:
        ArgumentError: sizes out of range.
    """
    generator = torch.Generator(reference.device).manual_seed(seed)
    samples = reference.sample(sequences, length, generator)
    lost = torch.cat(
        [
            (reference.log_likelihood(rows) - compressed.log_likelihood(rows)).double()
            for rows in samples.split(batch_size)
        ]
    )
    tokens = _counted(samples, reference.eos_token_id).double()
    mean = lost.sum() / tokens.sum()
    residual = lost - mean * tokens  # of the ratio estimator
    error = residual.square().sum().sqrt() / tokens.sum()
    return SequenceLoss(float(mean), float(error))


@checked
def held_out_log_likelihood(model: SequenceModel, input_ids: Tensor, *, batch_size: Positive = 250) -> float:
    """Log-likelihood of held-out text; padding is counted as in `kl_sequence`.

    Args:
        model: any HMM with likelihoods.
        input_ids: int64 [n, T].
        batch_size: sequences scored at a time.

    Returns:
        Nats per token.
    """
    total = sum(float(model.log_likelihood(rows).double().sum()) for rows in input_ids.split(batch_size))
    return total / int(_counted(input_ids, model.eos_token_id).sum())


@checked
def fidelity_table(
    hmm: HMM,
    settings: Iterable[Mapping[str, Any]],
    held_out: Tensor | None = None,
    *,
    sequences: TwoOrMore = 1000,
    length: Positive = 32,
    seed: Seed = 0,
) -> list[FidelityRow]:
    """The float model, then one row per setting.

    Args:
        hmm: the float model.
        settings: keyword arguments of `quantize`, as `{"method": ..., "bits": ...}`.
        held_out: text, int64 [n, T], or None.
        sequences: samples for KLseq, >= 2.
        length: tokens of each, >= 1.
        seed: makes the samples repeatable.

    Raises:
        ArgumentError: as `quantize` and `kl_sequence`.
    """

    def text_score(model: SequenceModel) -> float | None:
        return None if held_out is None else held_out_log_likelihood(model, held_out)

    size = hmm.nbytes
    rows = [FidelityRow("float32", 32, SequenceLoss(0.0, 0.0), text_score(hmm), size, size)]
    for setting in settings:
        model = quantize(hmm, **setting)
        loss = kl_sequence(hmm, model, sequences=sequences, length=length, seed=seed)
        rows.append(FidelityRow(model.method, model.bits, loss, text_score(model), model.packed_nbytes, model.nbytes))
    return rows


def markdown_table(rows: Iterable[FidelityRow]) -> str:
    """The rows as a Markdown table, for model cards.

    Args:
        rows: of `fidelity_table`.
    """
    lines = [
        "| method | bits | KLseq (nats/token) | held-out log-likelihood (nats/token) | bytes on disk | in memory |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        held_out = "" if row.held_out is None else f"{row.held_out:.3f}"
        loss = f"{row.loss.mean:.4f} ± {row.loss.error:.4f}"
        lines.append(f"| {row.method} | {row.bits} | {loss} | {held_out} | {row.packed_nbytes:,} | {row.nbytes:,} |")
    return "\n".join(lines)


def _counted(tokens: Tensor, eos_token_id: int) -> Tensor:
    """Tokens of each sequence that are neither missing nor padding, [B]."""
    padding = torch.zeros_like(tokens, dtype=torch.bool)
    padding[:, 1:] = (tokens[:, 1:] == eos_token_id) & (tokens[:, :-1] == eos_token_id)
    return (~padding & (tokens >= 0)).sum(1)
