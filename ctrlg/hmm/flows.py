"""EM in the logarithm domain, as Ctrl-G's training loop drives it: values upward, flows downward.

An HMM over T tokens is a circuit whose layer t computes, for every hidden state, the probability of what follows

    value_t[h] = log p(x_t..x_T | z_t = h) = beta[h, x_t] + log sum_h' alpha[h, h'] exp(value_{t+1}[h'])

and whose root is the log-likelihood. The flow of a node is its posterior probability, its parent's flow times its
share of the parent's value. `ctrlg.hmm.expectation` computes the same counts in the probability domain, faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.hmm.inference import MISSING, check_tokens


class LogParameters(NamedTuple):
    """The parameters of an HMM as Ctrl-G's training loop has them.

    Attributes:
        transition: p(z_{t+1} | z_t), [H, H].
        emission: log p(x_t | z_t), [H, V].
        initial: p(z_1), [H].
    """

    transition: Tensor
    emission: Tensor
    initial: Tensor


class Flows(NamedTuple):
    """Expected counts that a pass adds to, in place.

    Attributes:
        transition: of moves, over their probabilities, [H, H].
        emission: of tokens, [V + 1, H]; the last row counts the missing.
        initial: of first states, [H].
    """

    transition: Tensor
    emission: Tensor
    initial: Tensor


def upward(model: LogParameters, tokens: Tensor) -> list[Tensor]:
    """Values of every layer, and log-likelihoods.

    Args:
        model: the HMM.
        tokens: int64 [B, T], T >= 1; -1 is a missing token.

    Returns:
        Log-values of the layers, the last token's first, [H, B] each, and at the end log-likelihoods in nats, [B].

    Raises:
        VocabularyError: other ids outside [0, V).
        ArgumentError: sequences without tokens.
    """
    check_tokens(tokens, model.emission.shape[1])
    if not tokens.shape[1]:
        raise ArgumentError("the sequences have no tokens", hint="give at least one, -1 where it is missing")
    values = []
    for t in range(tokens.shape[1] - 1, -1, -1):
        value = _emitted(model.emission, tokens[:, t])
        if values:
            value += _log_mix(model.transition, values[-1])
        values.append(value)
    return [*values, _log_mix(model.initial[None], values[-1])[0]]


def add_flows(model: LogParameters, tokens: Tensor, values: Sequence[Tensor], flows: Flows) -> None:
    """Add the flows of a batch to `flows`. Sequences the model cannot emit add nothing.

    Args:
        model: the HMM.
        tokens: as in `upward`.
        values: what `upward` made of them.
        flows: the sums, changed in place.
    """
    check_tokens(tokens, model.emission.shape[1])
    *layers, log_likelihood = values
    layers.reverse()  # in reading order
    possible = (log_likelihood > -torch.inf)[:, None]
    share = (layers[0].T - log_likelihood[:, None]).exp()
    flow = torch.where(possible, model.initial * share, 0)  # [B, H]
    flows.initial.add_(flow.sum(0))
    rows = tokens.masked_fill(tokens == MISSING, model.emission.shape[1])
    for t, layer in enumerate(layers):
        flows.emission.index_add_(0, rows[:, t], flow)
        if t + 1 < len(layers):
            following = layers[t + 1].T
            mixture = (layer - _emitted(model.emission, tokens[:, t])).T  # log sum_h' alpha[h, h'] exp(following[h'])
            flows.transition.add_(ib_ib_bj_to_ij(flow.T, mixture.T, following))
            ratio, child = _ratio(flow, mixture, following)
            flow = (ratio @ model.transition).mul_(child)


def ib_ib_bj_to_ij(pf: Tensor, pp: Tensor, cp: Tensor) -> Tensor:
    """sum_b pf[i, b] exp(cp[b, j] - pp[i, b]): flow along every edge from parents to children, over its weight.

    A parent without flow passes none on.

    Args:
        pf: flows of the parents, [I, B].
        pp: logarithms of their values, [I, B].
        cp: those of the children, [B, J].

    Returns:
        [I, J].
    """
    ratio, child = _ratio(pf.T, pp.T, cp)
    return ratio.T @ child


def _ratio(flow: Tensor, parent: Tensor, child: Tensor) -> tuple[Tensor, Tensor]:
    """flow / exp(parent - shift) and exp(child - shift), [B, I] and [B, J]; the shift is the largest child's value."""
    shift = _finite(child.amax(1, keepdim=True))
    value = (parent - shift).exp()
    return torch.where((flow != 0) & (value != 0), flow / value, 0), (child - shift).exp()


def _log_mix(weights: Tensor, values: Tensor) -> Tensor:
    """log(weights @ exp(values)), [I, B] from [I, H] and [H, B]."""
    shift = _finite(values.amax(0, keepdim=True))
    return (weights @ (values - shift).exp()).log_().add_(shift)


def _emitted(emission: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities of one token a sequence, [H, B]; 0 for missing ones."""
    return emission[:, tokens].masked_fill_(tokens == MISSING, 0)


def _finite(shift: Tensor) -> Tensor:
    """The same numbers with -inf replaced, from which -inf could not be subtracted."""
    return shift.clamp(min=torch.finfo(shift.dtype).min)
