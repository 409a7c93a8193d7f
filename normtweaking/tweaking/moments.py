"""How far apart two sets of activations are, channel by channel.

    distribution loss = 1/C sum_c |mean_f[c] - mean_q[c]| + |variance_f[c] - variance_q[c]|

(arXiv 2309.02784, eq. 2). Means and variances are over samples and tokens; variances are divided by the number of both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from normtweaking.tweaking.settings import DISTRIBUTION, LOSSES, MSE


class Moments(NamedTuple):
    """Moments of activations, for each channel.

    Attributes:
        mean: [C].
        variance: [C].
    """

    mean: Tensor
    variance: Tensor


class Difference(NamedTuple):
    """Between float and quantised activations of one place in a model.

    Attributes:
        distribution: the loss above.
        mse: mean squared difference of the entries.
        mean: part of `distribution`, mean over channels of the absolute differences of means.
        variance: part of `distribution`, mean over channels of the absolute differences of variances.
    """

    distribution: float
    mse: float
    mean: float
    variance: float

    def loss(self, name: str) -> float:
        """The one of this name in `LOSSES`.

        Args:
            name: one of `LOSSES`.
        """
        return self.mse if name == MSE else self.distribution


def channel_moments(activations: Tensor) -> Moments:
    """The moments of activations.

    Args:
        activations: [..., C].
    """
    variance, mean = torch.var_mean(activations.flatten(0, -2), 0, correction=0)
    return Moments(mean, variance)


def distribution_loss(reference: Moments, other: Moments) -> Tensor:
    """The loss of the module's formula, a scalar.

    Args:
        reference: moments of the float model.
        other: moments of the quantized one.
    """
    return ((reference.mean - other.mean).abs() + (reference.variance - other.variance).abs()).mean()


def activation_loss(name: str, reference: Tensor, other: Tensor) -> Tensor:
    """The loss of this name between activations [..., C], a scalar.

    Args:
        name: one of `LOSSES`.
        reference: activations of the float model, [..., C].
        other: activations of the quantized one, [..., C].

    Raises:
        ArgumentError: unknown names.
    """
    if name == DISTRIBUTION:
        return distribution_loss(channel_moments(reference), channel_moments(other))
    if name == MSE:
        return (reference - other).square().mean()
    raise ArgumentError(f"the loss {name!r} is unknown", hint=f"one of: {', '.join(LOSSES)}")


class MomentSums:
    """Moments of activations that come in batches, summed in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, activations: Tensor) -> None:
        """Add activations to the sums.

        Args:
            activations: [..., C], of the same channels every time.
        """
        rows = activations.detach().flatten(0, -2).double()
        self._count += len(rows)
        self._sum = self._sum + rows.sum(0)
        self._squares = self._squares + rows.square().sum(0)

    def moments(self) -> Moments:
        """The moments of all that was added, float64.

        Raises:
            ArgumentError: nothing was added.
        """
        if not isinstance(self._sum, Tensor) or not isinstance(self._squares, Tensor):
            raise ArgumentError("no activations have been added")
        mean = self._sum / self._count
        return Moments(mean, (self._squares / self._count - mean.square()).clamp_min(0))


class DifferenceSums:
    """The difference of two streams of activations that come in batches."""

    def __init__(self) -> None:
        self._reference, self._other = MomentSums(), MomentSums()
        self._squares, self._entries = 0.0, 0

    def add(self, reference: Tensor, other: Tensor) -> None:
        """Add activations of both models to the sums.

        Args:
            reference: activations of the float model, [..., C].
            other: activations of the quantized one, [..., C].
        """
        self._reference.add(reference)
        self._other.add(other)
        self._squares += float((reference - other).detach().double().square().sum())
        self._entries += reference.numel()

    def difference(self) -> Difference:
        """Of all that was added."""
        reference, other = self._reference.moments(), self._other.moments()
        mean = float((reference.mean - other.mean).abs().mean())
        variance = float((reference.variance - other.variance).abs().mean())
        return Difference(mean + variance, self._squares / self._entries, mean, variance)
