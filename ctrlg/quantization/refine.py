"""`refine`: a compressed HMM in, the same bytes with better numbers in them out.

EM restricted to what a compressed matrix can say: the stored entries keep their places and codes; the levels of the
codebook, the scale and background of every row and the initial distribution are estimated again from sequences
(`ctrlg.quantization.restricted`). A compressed row fits the float row alone; EM fits the rows together, as they share
in explaining the sequences. Sequences are data, or samples of the float HMM, which makes it distillation: their mean
log-likelihood is, up to a constant, minus the KL divergence from the float HMM to the compressed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.arguments import NonNegative, Positive, Seed, TwoOrMore, checked
from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError, DataError, VocabularyError
from ctrlg.hmm import HMM, Parameters, log_likelihood
from ctrlg.hmm.inference import MISSING, check_tokens
from ctrlg.hmm.learning import total_counts
from ctrlg.matrices import CompressedMatrix, DenseMatrix
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.quantization.restricted import (
    CodedRows,
    EntryCounts,
    coded_rows,
    compressed,
    entry_counts,
    restricted_maximum,
)

SEQUENCES, LENGTH = 10_000, 32  # sampled from an HMM that is given as data
HELD_OUT_SHARE = 0.1


class RefineStep(NamedTuple):
    """Progress after a step of `refine`.

    Attributes:
        step: 0 is the model as given.
        steps: how many there are in all.
        training: mean log-likelihood of the training sequences, nats per sequence.
        held_out: mean log-likelihood of the held-out sequences, nats per sequence.
    """

    step: int
    steps: int
    training: float
    held_out: float


class PriorModel(NamedTuple):
    """What every state is taken to have seen before the data: its row in `parameters`, `strength` times.

    Attributes:
        parameters: of an HMM.
        strength: observations a state.
    """

    parameters: Parameters
    strength: float


@checked
@torch.no_grad()
@without_autocast()
def refine(
    quantized: QuantizedHMM,
    data: Tensor | HMM,
    steps: Positive = 12,
    *,
    prior: HMM | None = None,
    prior_strength: NonNegative = 30.0,
    sequences: TwoOrMore = SEQUENCES,
    length: Positive = LENGTH,
    batch_size: Positive = 250,
    seed: Seed = 0,
    report: Callable[[RefineStep], object] | None = None,
) -> QuantizedHMM:
    """EM over the levels, scales, backgrounds and initial distribution of a compressed HMM; the bytes stay the same.

    A tenth of the sequences is held out; the model of the step that explains it best is returned.

    Args:
        quantized: the compressed HMM; it is not changed.
        data: token ids int64 [n, T], n >= 2, -1 for missing tokens; or an HMM over the same vocabulary, usually the one
            that was compressed, which is sampled.
        steps: EM steps, >= 1.
        prior: the HMM that was compressed, with as many states; where None, `data` if it is such an HMM, else
            `quantized`.
        prior_strength: how many observations of the prior's row each state adds to its counts, >= 0. 0 is maximum
            likelihood, where a token that no sequence needed can become impossible.
        sequences: how many to sample where data is an HMM, >= 2.
        length: tokens of each of these, >= 1.
        batch_size: sequences of an E-step batch.
        seed: of the samples and of the split.
        report: called after every step.

    Returns:
        The refined HMM, or `quantized` itself where no step explains the held-out sequences better.

    Raises:
        VocabularyError: ids or an HMM of another vocabulary.
        DataError: data without two sequences or without tokens.
        ArgumentError: other arguments (a NaN in prior_strength included).
    """
    tokens = _sequences(quantized, data, sequences, length, seed)
    training, held_out = _split(tokens, seed)
    source = _prior_model(quantized, data, prior)
    belief = PriorModel(_dense(source.inference_parameters, quantized.device), prior_strength)

    best, best_score, model = quantized, _mean(quantized, held_out, batch_size), quantized
    for step in range(steps + 1):
        following, training_score = refine_step(model, training, belief, batch_size)
        score = best_score if step == 0 else _mean(model, held_out, batch_size)
        if report is not None:
            report(RefineStep(step, steps, training_score, score))
        if score > best_score:
            best, best_score = model, score
        model = following
    return best


def refine_step(
    model: QuantizedHMM, tokens: Tensor, prior: PriorModel, batch_size: int = 250
) -> tuple[QuantizedHMM, float]:
    """One step of EM with the stored entries and their codes fixed.

    Args:
        model: is not changed.
        tokens: int64 [n, T].
        prior: a Dirichlet prior of every row.
        batch_size: sequences of an E-step.

    Returns:
        The model after the step, and the mean log-likelihood before it, in nats per sequence.
    """
    parameters = _dense(model.inference_parameters)
    counts = total_counts(parameters, tokens.split(batch_size))
    return QuantizedHMM(
        _fitted(model.transition, counts.transition, prior.parameters.transition.to_dense(), prior.strength),
        _fitted(model.emission, counts.emission.T, prior.parameters.emission.to_dense(), prior.strength),
        _fitted_initial(model, counts.initial, prior),
        model.eos_token_id,
        method=model.method,
        bits=model.bits,
        fingerprint=model.fingerprint,
        settings=model.settings,
        strength=model.strength,
    ), counts.log_likelihood / len(tokens)


def _fitted(matrix: CompressedMatrix, counts: Tensor, prior: Tensor, strength: float) -> CompressedMatrix:
    rows: CodedRows = coded_rows(matrix)
    total: EntryCounts = entry_counts(rows, counts).plus(entry_counts(rows, prior), strength)
    return compressed(restricted_maximum(rows, total), matrix.layout)


def _fitted_initial(model: QuantizedHMM, counts: Tensor, prior: PriorModel) -> Tensor | CompressedMatrix:
    """The initial distribution from its counts [H]: their share of all, or what codes can say of it."""
    if model.coded_initial is not None:
        return _fitted(model.coded_initial, counts[None], prior.parameters.initial[None], prior.strength)
    initial = counts.double() + prior.strength * prior.parameters.initial.double()
    total = initial.sum()
    return (initial / total).float() if float(total) > 0 else model.initial


def _dense(parameters: Parameters, device: torch.device | None = None) -> Parameters:
    """Decoded once for a pass over all data, which then is a few large products; on another device where one is given
    (the HMM that was compressed may be elsewhere)."""
    place = device or parameters.initial.device
    return Parameters(
        DenseMatrix(parameters.transition.to_dense().to(place)),
        DenseMatrix(parameters.emission.to_dense().to(place)),
        parameters.initial.to(place),
    )


def _mean(model: QuantizedHMM, tokens: Tensor, batch_size: int) -> float:
    """Mean log-likelihood in nats per sequence."""
    parameters = _dense(model.inference_parameters)
    sums = [float(log_likelihood(parameters, rows).double().sum()) for rows in tokens.split(batch_size)]
    return sum(sums) / len(tokens)


def _sequences(quantized: QuantizedHMM, data: Tensor | HMM, sequences: int, length: int, seed: int) -> Tensor:
    if isinstance(data, HMM):
        _check_vocabulary(quantized, data)
        data.check()
        return data.sample(sequences, length, torch.Generator(data.device).manual_seed(seed)).to(quantized.device)
    check_tokens(data, quantized.vocab_size)
    if len(data) < 2 or not bool((data != MISSING).any()):
        raise DataError(
            f"data of shape {tuple(data.shape)} holds too little",
            hint="at least two sequences, one to learn from and one to judge by, and a token",
        )
    return data.to(quantized.device)


def _split(tokens: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Training and held-out sequences, at least one of each."""
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed)).to(tokens.device)
    held_out = max(1, round(HELD_OUT_SHARE * len(tokens)))
    return tokens[order[held_out:]], tokens[order[:held_out]]


def _prior_model(quantized: QuantizedHMM, data: Tensor | HMM, prior: HMM | None) -> HMM | QuantizedHMM:
    if prior is None:
        return data if isinstance(data, HMM) and data.hidden_states == quantized.hidden_states else quantized
    _check_vocabulary(quantized, prior)
    prior.check()
    if prior.hidden_states != quantized.hidden_states:
        raise ArgumentError(
            f"the prior has {prior.hidden_states} states, the compressed HMM {quantized.hidden_states}",
            hint="give the HMM that was compressed",
        )
    return prior


def _check_vocabulary(quantized: QuantizedHMM, hmm: HMM) -> None:
    known = hmm.fingerprint is not None and quantized.fingerprint is not None
    if hmm.vocab_size != quantized.vocab_size or (known and hmm.fingerprint != quantized.fingerprint):
        raise VocabularyError(
            f"the HMM has {hmm.vocab_size} tokens, fingerprint {hmm.fingerprint}; "
            f"the compressed one {quantized.vocab_size}, fingerprint {quantized.fingerprint}",
            hint="both must be over the vocabulary of one tokenizer",
        )
