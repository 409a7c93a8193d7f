"""Norm parameters in closed form: what the linear layers behind a norm make of it resembles what the float ones made.

Linear layers of float weights W [O, C] (all that read the norm, stacked) become those of quantised weights V, and the
norm's normalised input becomes x in the quantised model. With y the norm's output in the float model, its gain d and
its bias b minimise

    E |W y - V (d * x + b)|^2                                                    over calibration tokens

which is a least-squares problem in 2 C numbers (C without a bias):

    (V'V * E[x x']) d + (V'V * E[x] 1') b = diag(V'W E[y x'])        * between matrices: entry by entry
    (V'V * 1 E[x]') d +  V'V            b = V'W E[y]

Because x is not the float model's, a fit to y shrinks gains wherever the two agree badly, layer after layer. With `own`
there is no such bias: y is the norm's own output in the quantised model, so that the rounding of W alone is
repaired and the norm leaves what came before it as it is.

A ridge pulls towards what the norm has: its diagonal is that of the matrix, times `RIDGE`. A norm that no linear layer
reads at once is judged by its own output, W = V = 1. Norms are repaired in the order in which they run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from normtweaking.structure import Linear, gain_offset, linear_layers
from normtweaking.tweaking.stages import Activations, Stage

RIDGE = 1e-3


class FloatNorm(NamedTuple):
    """A norm in the float model.

    Attributes:
        outputs: [..., C] for each batch.
        readers: the linear layers that read them.
        weight: theirs, stacked, [O, C]; None where there are no readers.
    """

    outputs: list[Tensor]
    readers: list[Linear]
    weight: Tensor | None


class NormSums(NamedTuple):
    """Means over tokens.

    Attributes:
        inputs: E[x], [C].
        outputs: E[y], [C].
        squares: E[x x'], [C, C].
        products: E[y x'], [C, C].
    """

    inputs: Tensor
    outputs: Tensor
    squares: Tensor
    products: Tensor


def float_norms(stage: Stage, activations: Activations) -> dict[nn.Module, FloatNorm]:
    """A stage's norms, in the order in which they run on the float states. Call before the stage is quantised.

    Args:
        stage: of the model.
        activations: of the texts.
    """
    found: dict[nn.Module, FloatNorm] = {}
    for batch, hidden in zip(activations.batches, activations.float_states, strict=True):
        with _seen(stage) as (calls, readers), torch.no_grad():
            stage.run(batch, hidden)
        for norm, _, output in calls:
            if norm not in found:
                linears = [linear for linear, read in readers if read is output] or list(stage.readers)
                weight = torch.cat([linear.weight for linear in linears]).clone() if linears else None
                found[norm] = FloatNorm([], linears, weight)
            found[norm].outputs.append(output)
    return found


def fit_norms(stage: Stage, activations: Activations, wanted: dict[nn.Module, FloatNorm], own: bool = False) -> None:
    """Set the parameters of a quantised stage's norms.

    Args:
        stage: of the model.
        activations: of the texts.
        wanted: what `float_norms` found.
        own: fit to the norm's own output, not to the float one's.
    """
    for norm, target in wanted.items():
        sums = _norm_sums(norm, stage, activations, None if own else target.outputs)
        found = None if target.weight is None else torch.cat([linear.weight for linear in target.readers])
        refit(norm, sums, target.weight, found)


@torch.no_grad()
def refit(norm: nn.Module, sums: NormSums, weight: Tensor | None, found: Tensor | None, ridge: float = RIDGE) -> None:
    """Give a norm the parameters that the formulas ask for.

    Args:
        norm: to change.
        sums: of its inputs and outputs.
        weight: W, [O, C]; 1 where None.
        found: V, [O, C]; 1 where None.
        ridge: added to the diagonal, relative to it.
    """
    parameters = dict(norm.named_parameters())
    offset = gain_offset(norm)
    gain, bias = offset + parameters["weight"].double(), parameters.get("bias")
    gram = torch.eye(len(gain), dtype=torch.double, device=gain.device)
    mixed = gram
    if weight is not None and found is not None:
        gram, mixed = found.double().T @ found.double(), found.double().T @ weight.double()
    matrix, wanted, now = gram * sums.squares, (mixed * sums.products.T).sum(1), gain
    if bias is not None:
        corner = gram * sums.inputs[:, None]
        matrix = torch.cat([torch.cat([matrix, corner], 1), torch.cat([corner.T, gram], 1)])
        wanted = torch.cat([wanted, mixed @ sums.outputs])
        now = torch.cat([gain, bias.double()])
    fitted = now + _solve(matrix, wanted - matrix @ now, ridge)
    parameters["weight"].copy_(fitted[: len(gain)] - offset)
    if bias is not None:
        bias.copy_(fitted[len(gain) :])


def _solve(matrix: Tensor, wanted: Tensor, ridge: float) -> Tensor:
    """Of a positive semidefinite matrix [n, n], scaled to a unit diagonal first; 0 where a row says nothing."""
    diagonal = matrix.diagonal()
    scale = torch.where(diagonal > 0, diagonal, 1).rsqrt()
    unit = matrix * scale[:, None] * scale + ridge * torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
    return scale * torch.linalg.solve(unit, scale * wanted)


@torch.no_grad()
def _norm_sums(norm: nn.Module, stage: Stage, activations: Activations, outputs: Sequence[Tensor] | None) -> NormSums:
    """Over the quantised chain's states, as the stage is now. outputs: wanted of the norm; its own where None."""
    totals: list[Tensor] = []
    tokens = 0
    expected = None if outputs is None else iter(outputs)
    for batch, hidden in zip(activations.batches, activations.quantized_states, strict=True):
        with _seen(stage) as (calls, _):
            stage.run(batch, hidden)
        for _, inputs, output in (call for call in calls if call[0] is norm):
            wanted = output if expected is None else next(expected)
            x, y = (rows.flatten(0, -2).double() for rows in (_normalised(norm, inputs), wanted))
            parts = [x.sum(0), y.sum(0), x.T @ x, y.T @ x]
            totals = [total + part for total, part in zip(totals, parts, strict=True)] if totals else parts
            tokens += len(x)
    return NormSums(*(total / tokens for total in totals))


def _normalised(norm: nn.Module, inputs: Tensor) -> Tensor:
    """What a norm multiplies by its gain."""
    neutral = {
        name: torch.full_like(parameter, 1 - gain_offset(norm) if name == "weight" else 0)
        for name, parameter in norm.named_parameters()
    }
    return functional_call(norm, neutral, (inputs,))


Call = tuple[nn.Module, Tensor, Tensor]  # norm, input, output


@contextmanager
def _seen(stage: Stage) -> Iterator[tuple[list[Call], list[tuple[Linear, Tensor]]]]:
    """Calls of a stage's norms, and what its linear layers read, while the block runs."""
    calls: list[Call] = []
    readings: list[tuple[Linear, Tensor]] = []

    def norm_hook(norm: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        calls.append((norm, arguments[0], output))

    def linear_hook(linear: Linear) -> Any:
        return lambda _, arguments: readings.append((linear, arguments[0]))

    handles = [norm.register_forward_hook(norm_hook) for norm in stage.norms()]
    handles += [linear.module.register_forward_pre_hook(linear_hook(linear)) for linear in linear_layers(stage.module)]
    try:
        yield calls, readings
    finally:
        for handle in handles:
            handle.remove()
