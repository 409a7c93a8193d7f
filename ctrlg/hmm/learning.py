"""The M-step of EM, with pseudocounts and a Dirichlet prior on emissions (Rabiner 1989, eqs. 40a-c; MAP estimate)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.hmm.expectation import TotalCounts, total_counts
from ctrlg.hmm.inference import Parameters
from ctrlg.matrices import DenseMatrix

__all__ = ["Estimate", "Prior", "TotalCounts", "maximize", "total_counts"]


class Prior(NamedTuple):
    """Dirichlet prior on emissions, as observations that each state made before it saw data.

    Attributes:
        emission: what they were, rows sum to 1, [H, V].
        strength: how many per state, >= 0.
    """

    emission: Tensor
    strength: float


class Estimate(NamedTuple):
    """Probabilities after an M-step; rows sum to 1.

    Attributes:
        transition: [H, H].
        emission: [H, V], a transposed view: a token's probabilities lie together in memory, as the next E-step reads
            them.
        initial: [H].
    """

    transition: Tensor
    emission: Tensor
    initial: Tensor

    @property
    def parameters(self) -> Parameters:
        """For the next E-step, sharing memory: EM needs no logarithms of the parameters between its steps."""
        return Parameters(DenseMatrix(self.transition), DenseMatrix(self.emission), self.initial)


def maximize(
    counts: TotalCounts, pseudocount: float = 0.0, prior: Prior | None = None, consume: bool = False
) -> Estimate:
    """M-step: counts, pseudocount and prior, divided by their sums (Rabiner 1989, eqs. 40a-c; MAP estimate).

    A row without any count becomes uniform.

    Args:
        counts: expected counts of a data set.
        pseudocount: spread evenly over every row (Ctrl-G's rule), >= 0.
        prior: on emissions; none where None.
        consume: whether the counts of emissions become the estimate in their own memory, [V, H], which spares a copy of
            the model; `counts` are of no use afterwards.

    Returns:
        The distributions, of the types of the counts.

    Raises:
        ArgumentError: a negative pseudocount or strength.
    """
    if pseudocount < 0 or (prior is not None and prior.strength < 0):
        raise ArgumentError(
            f"pseudocount {pseudocount} or prior strength {prior.strength if prior else 0} is negative",
            hint="0 is maximum likelihood, Ctrl-G takes 0.001",
        )
    emission = counts.emission if consume else counts.emission.clone()
    if prior is not None:
        emission.add_(prior.emission.T.to(emission), alpha=prior.strength)
    return Estimate(
        transition=_normalise_columns(counts.transition.T.clone(), pseudocount).T,
        emission=_normalise_columns(emission, pseudocount).T,
        initial=_normalise_columns(counts.initial[:, None].clone(), pseudocount)[:, 0],
    )


def _normalise_columns(counts: Tensor, pseudocount: float) -> Tensor:
    """Each column of [N, H], in place, plus pseudocount / N, over its sum; uniform where that is 0."""
    sums = counts.sum(0) + pseudocount
    scale = torch.where(sums > 0, 1 / sums, 0.0)
    spread = torch.where(sums > 0, pseudocount / counts.shape[0] * scale, 1 / counts.shape[0])
    return torch.addcmul(spread.expand_as(counts), counts, scale, out=counts)
