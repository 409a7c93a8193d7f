"""Norm parameters in closed form: every norm's own output gets the moments that it has in the float model.

A norm answers y = (offset + weight) * x + bias, with x its normalised input. In the quantised model its output has
other moments than in the float model because of all that was quantised before it. Channel by channel,

    with a bias     y' = s (y - mean_q) + mean_f,   s = sqrt(variance_f / variance_q)    mean and variance are matched
    without         y' = s y,                       s = sqrt(E_f[y^2] / E_q[y^2])        the second moment is matched

What a norm feeds is not looked at: the error that the last matrices of a layer make is met by the first norm of the
next layer, that of the last layer by the norm behind the layers. Norms are matched in the order in which they run, each
with those before it matched already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from normtweaking.structure import gain_offset
from normtweaking.tweaking.moments import Moments, MomentSums
from normtweaking.tweaking.stages import Activations, Stage

SMALLEST = 1e-12  # second moments below it say nothing; such channels are left as they are


def norm_moments(
    stage: Stage, activations: Activations, states: Sequence[Tensor] | None = None
) -> dict[nn.Module, Moments]:
    """Moments of the outputs of a stage's norms, in the order in which they run on `states`, the float ones if None.

    Args:
        stage: of the model.
        activations: of the texts.
        states: [B, T, C] of each batch; the float ones where None.
    """
    states = activations.float_states if states is None else states
    with _observed(stage.norms()) as sums, torch.no_grad():
        for batch, hidden in zip(activations.batches, states, strict=True):
            stage.run(batch, hidden)
    return {norm: observed.moments() for norm, observed in sums.items()}


def match_moments(stage: Stage, activations: Activations, wanted: dict[nn.Module, Moments]) -> None:
    """Set a stage's norm parameters.

    Args:
        stage: of the model.
        activations: of the texts.
        wanted: what `norm_moments` found in the float model.
    """
    for norm, moments in wanted.items():
        rescale(norm, norm_moments(stage, activations, activations.quantized_states)[norm], moments)


@torch.no_grad()
def rescale(norm: nn.Module, found: Moments, wanted: Moments) -> None:
    """Change a norm's parameters so that its output, of moments `found`, gets those `wanted`, as the formulas say.

    Args:
        norm: to change.
        found: moments of its output.
        wanted: moments that it is to have.
    """
    parameters = dict(norm.named_parameters())
    weight, bias = parameters["weight"], parameters.get("bias")
    if bias is None:
        above, below = (part.variance + part.mean.square() for part in (wanted, found))
    else:
        above, below = wanted.variance, found.variance
    told = (above > SMALLEST) & (below > SMALLEST)
    scale = torch.where(told, above / below.clamp_min(SMALLEST), torch.ones_like(above)).sqrt()
    offset = gain_offset(norm)
    weight.copy_(scale * (offset + weight.double()) - offset)
    if bias is not None:
        bias.copy_(scale * (bias.double() - found.mean) + wanted.mean)


@contextmanager
def _observed(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, MomentSums]]:
    """Sums of the modules' outputs while the block runs, in the order in which the modules first answer."""
    sums: dict[nn.Module, MomentSums] = {}

    def observe(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        sums.setdefault(module, MomentSums()).add(output)

    handles = [module.register_forward_hook(observe) for module in modules]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()
