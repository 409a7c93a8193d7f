"""Losses by hand, and moments of streams."""

from __future__ import annotations

import pytest
import torch
from helpers.decoders import decoder
from torch import nn

from ctrlg.errors import ArgumentError
from normtweaking.structure import decoder_layers, norms
from normtweaking.tweaking.matching import rescale
from normtweaking.tweaking.moments import DifferenceSums, MomentSums, activation_loss, channel_moments

REFERENCE = torch.tensor([[[1.0, 0.0], [3.0, 0.0]], [[1.0, 4.0], [3.0, 4.0]]])  # means 2 and 2, variances 1 and 4
OTHER = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[6.0, 1.0], [6.0, 1.0]]])  # means 3 and 1, variances 9 and 0


def test_loss_by_hand() -> None:
    assert activation_loss("distribution", REFERENCE, OTHER).item() == pytest.approx(((1 + 8) + (1 + 4)) / 2)
    assert activation_loss("mse", REFERENCE, OTHER).item() == pytest.approx((1 + 9 + 25 + 9 + 1 + 1 + 9 + 9) / 8)
    assert activation_loss("distribution", REFERENCE, REFERENCE).item() == 0
    with pytest.raises(ArgumentError, match="'l1' is unknown"):
        activation_loss("l1", REFERENCE, OTHER)


def test_gradient_by_hand() -> None:
    """d/dy |mean_f - mean_q| = -sign / n, d/dy |variance_f - variance_q| = -sign 2 (y - mean_q) / n, over C = 1."""
    other = torch.tensor([[0.0], [1.0]], requires_grad=True)
    activation_loss("distribution", torch.tensor([[3.0], [5.0]]), other).backward()
    assert other.grad is not None
    torch.testing.assert_close(other.grad, torch.tensor([[-0.5 + 0.5], [-0.5 - 0.5]]))


def test_sums_are_those_of_all_at_once() -> None:
    activations = 100 + torch.randn(7, 5, 3, dtype=torch.float64)
    other = activations + torch.randn(7, 5, 3, dtype=torch.float64)
    sums, differences = MomentSums(), DifferenceSums()
    for rows, others in zip(activations.split(3), other.split(3), strict=True):
        sums.add(rows)
        differences.add(rows, others)
    expected = channel_moments(activations)
    torch.testing.assert_close(sums.moments().mean, expected.mean)
    torch.testing.assert_close(sums.moments().variance, expected.variance, rtol=1e-6, atol=1e-9)
    found = differences.difference()
    assert found.distribution == pytest.approx(activation_loss("distribution", activations, other).item())
    assert found.loss("distribution") == found.mean + found.variance
    assert found.loss("mse") == pytest.approx(activation_loss("mse", activations, other).item())
    with pytest.raises(ArgumentError, match="no activations"):
        MomentSums().moments()


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma"])
@torch.no_grad()
def test_rescaled_norms_have_the_moments_wanted(name: str) -> None:
    """Mean and variance where there is a bias, else the second moment; Gemma adds one to its weight."""
    _, norm = next(norms(decoder_layers(decoder(name)).modules))
    x, shifted = torch.randn(50, 16), torch.randn(50, 16) * torch.linspace(0.5, 2, 16) + torch.linspace(-1, 1, 16)
    wanted = channel_moments(norm(x).double())
    rescale(norm, channel_moments(norm(shifted).double()), wanted)
    found = channel_moments(norm(shifted).double())
    if name == "gpt2":
        torch.testing.assert_close(found.mean, wanted.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.variance, wanted.variance, rtol=1e-4, atol=1e-5)
    moments = [part.variance + part.mean.square() for part in (found, wanted)]
    torch.testing.assert_close(*moments, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_channels_without_variance_are_left_alone() -> None:
    norm = nn.LayerNorm(4)
    dead = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).repeat(5, 1)
    moments = channel_moments(norm(dead).double())
    rescale(norm, moments, moments._replace(variance=moments.variance + 1))
    assert torch.equal(norm.weight, torch.ones(4))
