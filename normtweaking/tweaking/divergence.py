"""Next-token distributions of a quantised model against those of its float self.

    KL = 1/tokens sum_t sum_v p_float(v | x_<t) log(p_float(v | x_<t) / p_quantised(v | x_<t))      nats per token

The float model's logits are computed from what its last layer returned, with the float values of whatever follows the
layers put in place for the moment; so there is never a second model in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ctrlg.errors import ArgumentError
from normtweaking.tweaking.chain import Batch, LayerChain
from normtweaking.tweaking.settings import TweakSettings
from normtweaking.tweaking.stages import Activations

LOGITS = 1024  # rows of logits held at once
Values = Mapping[nn.Parameter, Tensor]


def kl_divergence(float_logits: Tensor, other_logits: Tensor) -> Tensor:
    """KL of the distributions of logits [..., V], nats per token, a scalar.

    Args:
        float_logits: of the reference, [..., V].
        other_logits: of the other, [..., V].
    """
    expected = float_logits.float().log_softmax(-1).flatten(0, -2)
    found = other_logits.float().log_softmax(-1).flatten(0, -2)
    return nn.functional.kl_div(found, expected, reduction="batchmean", log_target=True)


@torch.no_grad()
def score(chain: LayerChain, activations: Activations, float_values: Values) -> float:
    """KL of the model as it is from its float self, nats per token.

    Args:
        chain: of the model.
        activations: whose float states have passed all layers.
        float_values: of all parameters outside the layers that are not what they were.
    """
    total, tokens = 0.0, 0
    for batch, float_state in zip(activations.batches, activations.float_states, strict=True):
        hidden = chain.through(batch)
        for positions in _slices(hidden):
            count = len(hidden) * len(positions)
            expected = _float_logits(chain, batch, float_state, float_values, positions)
            total += float(kl_divergence(expected, chain.finish(batch, hidden, positions))) * count
            tokens += count
    return total / tokens


def train_end_to_end(
    chain: LayerChain,
    activations: Activations,
    float_values: Values,
    groups: list[list[nn.Parameter]],
    settings: TweakSettings,
) -> Iterator[None]:
    """Adam on all norm parameters at once, the loss being the KL above; all layers' activations of a batch are held.

    Args:
        chain: of the model.
        activations: of the texts.
        float_values: as for `score`.
        groups: the norm parameters of each stage. Learning rates fall evenly, to 0 after the last step. Yields after
            each pass over the texts.
        settings: of the run.

    Raises:
        ArgumentError: the loss is no longer finite.
    """
    depth, steps = len(chain.layers), settings.iterations * len(activations.batches)
    optimizer = torch.optim.Adam(
        [{"params": group, "lr": settings.rate(index, depth)} for index, group in enumerate(groups) if group]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    with learning([parameter for group in groups for parameter in group]):
        for _ in range(settings.iterations):
            for batch, float_state in zip(activations.batches, activations.float_states, strict=True):
                optimizer.zero_grad(set_to_none=True)
                check_finite(_backward(chain, batch, float_state, float_values), settings)
                optimizer.step()
                schedule.step()
            yield


def _backward(chain: LayerChain, batch: Batch, float_state: Tensor, float_values: Values) -> float:
    """Add the gradients of a batch's KL to the norm parameters; returns it. Few positions' logits are held at once."""
    hidden = chain.through(batch)
    end = hidden.detach().requires_grad_(True)
    total = 0.0
    for positions in _slices(hidden):
        with torch.no_grad():
            expected = _float_logits(chain, batch, float_state, float_values, positions)
        share = len(positions) / hidden.shape[1]
        loss = kl_divergence(expected, chain.finish(batch, end, positions)) * share
        loss.backward()
        total += loss.item()
    hidden.backward(end.grad)
    return total


def check_finite(loss: float, settings: TweakSettings) -> None:
    """Check the loss of a step.

    Args:
        loss: nats.
        settings: of the run, for the hint.

    Raises:
        ArgumentError: it is infinite or NaN.
    """
    if not math.isfinite(loss):
        raise ArgumentError(f"the loss is {loss}", hint=f"choose a learning rate below {settings.learning_rate}")


@contextmanager
def learning(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Let these parameters have gradients while the block runs.

    Args:
        parameters: to learn.
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


@contextmanager
def in_place(values: Values) -> Iterator[None]:
    """Let parameters have other values while the block runs.

    Args:
        values: by parameter.
    """
    current = {parameter: parameter.data for parameter in values}
    try:
        for parameter, value in values.items():
            parameter.data = value
        yield
    finally:
        for parameter, value in current.items():
            parameter.data = value


def _slices(hidden: Tensor) -> tuple[Tensor, ...]:
    """Positions of hidden states [B, T, C], some at a time."""
    return torch.arange(hidden.shape[1], device=hidden.device).split(max(1, LOGITS // len(hidden)))


def _float_logits(
    chain: LayerChain, batch: Batch, float_state: Tensor, float_values: Values, positions: Tensor
) -> Tensor:
    with in_place(float_values):
        return chain.finish(batch, float_state, positions)
