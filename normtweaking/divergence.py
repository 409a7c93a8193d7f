"""Next-token distributions of a quantised model against those of its float self.

    KL = 1/tokens sum_t sum_v p_float(v | x_<t) log(p_float(v | x_<t) / p_quantised(v | x_<t))      nats per token

The float model's logits are computed from what its last layer returned, with the float values of whatever follows the
layers put in place for the moment; so there is never a second model in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ctrlg.errors import ArgumentError
from normtweaking.chain import Batch, LayerChain, logits_at
from normtweaking.settings import TweakSettings
from normtweaking.stages import Activations

POSITIONS = 256  # of which logits are held at once
Values = Mapping[nn.Parameter, Tensor]


def kl_divergence(float_logits: Tensor, other_logits: Tensor) -> Tensor:
    """KL of the distributions of logits [..., V], nats per token, a scalar."""
    expected = float_logits.float().log_softmax(-1).flatten(0, -2)
    found = other_logits.float().log_softmax(-1).flatten(0, -2)
    return nn.functional.kl_div(found, expected, reduction="batchmean", log_target=True)


@torch.no_grad()
def score(chain: LayerChain, activations: Activations, float_values: Values) -> float:
    """KL of the model as it is from its float self, nats per token.

    activations: whose float states have passed all layers. float_values: of all parameters outside the layers that are
    not what they were.
    """
    total, tokens = 0.0, 0
    for batch, hidden in zip(activations.batches, activations.float_states, strict=True):
        for positions in torch.arange(hidden.shape[1], device=hidden.device).split(POSITIONS):
            expected = _float_logits(chain, batch, hidden, float_values, positions)
            found = logits_at(chain.model, batch, positions)
            count = found.shape[0] * found.shape[1]
            total += float(kl_divergence(expected, found)) * count
            tokens += count
    return total / tokens


def train_end_to_end(
    chain: LayerChain,
    activations: Activations,
    float_values: Values,
    groups: list[list[nn.Parameter]],
    settings: TweakSettings,
) -> None:
    """Adam on all norm parameters at once, the loss being the KL above.

    groups: the norm parameters of each stage. Raises ArgumentError where the loss is no longer finite.
    """
    depth = len(chain.layers)
    optimizer = torch.optim.Adam(
        [{"params": group, "lr": settings.rate(index, depth)} for index, group in enumerate(groups) if group]
    )
    with learning([parameter for group in groups for parameter in group]):
        for _ in range(settings.iterations):
            for batch, hidden in zip(activations.batches, activations.float_states, strict=True):
                with torch.no_grad():
                    expected = _float_logits(chain, batch, hidden, float_values)
                step(optimizer, kl_divergence(expected, logits_at(chain.model, batch)), settings)


def step(optimizer: torch.optim.Optimizer, loss: Tensor, settings: TweakSettings) -> None:
    """One step down a loss. Raises ArgumentError where it is not finite."""
    if not loss.isfinite():
        raise ArgumentError(f"the loss is {loss.item()}", hint=f"choose a learning rate below {settings.learning_rate}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@contextmanager
def learning(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Let these parameters have gradients while the block runs."""
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
    """Let parameters have other values while the block runs."""
    current = {parameter: parameter.data for parameter in values}
    try:
        for parameter, value in values.items():
            parameter.data = value
        yield
    finally:
        for parameter, value in current.items():
            parameter.data = value


def _float_logits(
    chain: LayerChain, batch: Batch, hidden: Tensor, float_values: Values, positions: Tensor | None = None
) -> Tensor:
    with in_place(float_values):
        return chain.finish(batch, hidden, positions)
