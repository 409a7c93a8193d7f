"""A model as a row of stages, and the activations of its float and its quantised self between two of them.

Every decoder layer is a stage, and the norm behind the last layer is one more. Nothing but the activations between two
stages is ever kept: memory is that of one layer's activations, twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from normtweaking.structure import Linear, linear_layers, norms
from normtweaking.tweaking.chain import Batch, LayerChain
from normtweaking.tweaking.moments import Difference, DifferenceSums


class Stage(NamedTuple):
    """A part of a model that is quantized and tweaked at once: a layer, or the norm behind the layers.

    Attributes:
        name: of the module in the model.
        module: the layer or the norm.
        run: (batch, hidden [B, T, C]) -> hidden [B, T, C].
        is_layer: False for the norm behind the layers, which is tweaked but has nothing to quantise.
        readers: linear layers outside of it that read its output: the head, behind that norm.
    """

    name: str
    module: nn.Module
    run: Callable[[Batch, Tensor], Tensor]
    is_layer: bool
    readers: tuple[Linear, ...] = ()

    def norms(self) -> list[nn.Module]:
        """Its norms."""
        return [module for _, module in norms(self.module)]

    def norm_parameters(self) -> list[nn.Parameter]:
        """Weights and biases of its norms."""
        return [parameter for norm in self.norms() for parameter in norm.parameters()]


def stages_of(chain: LayerChain, batch: Batch) -> list[Stage]:
    """All stages, in order.

    Args:
        chain: of the model.
        batch: any that the model can read.
    """

    def layer_runner(index: int) -> Callable[[Batch, Tensor], Tensor]:
        return lambda batch, hidden: chain.run(index, hidden, chain.inputs(batch).calls[index])

    layers = [
        Stage(f"{chain.prefix}.{index}", layer, layer_runner(index), True) for index, layer in enumerate(chain.layers)
    ]
    final = chain.final_norm(batch)
    if final is None:
        return layers
    name, norm = final
    return [*layers, Stage(name, norm, lambda batch, hidden: norm(hidden), False, _heads(chain.model, norm))]


def _heads(model: Any, norm: nn.Module) -> tuple[Linear, ...]:
    """The head, unless it reads something of another width (OPT has models that project in between)."""
    width = len(next(norm.parameters()))
    return tuple(
        linear
        for linear in linear_layers(model)
        if linear.module is model.get_output_embeddings() and linear.weight.shape[1] == width
    )


class Activations:
    """Hidden states of both chains on some texts.

    Args:
        chain: of the model.
        batches: the model's inputs.

    Attributes:
        float_states: what the next stage reads in the float model, [B, T, C] for each batch.
        quantized_states: what it reads in the quantized one.
    """

    def __init__(self, chain: LayerChain, batches: Sequence[Batch]) -> None:
        """Both chains begin with the embeddings of the model as it is now."""
        self.batches = list(batches)
        self.float_states = self.embeddings(chain)
        self.quantized_states = list(self.float_states)

    def embeddings(self, chain: LayerChain) -> list[Tensor]:
        """What the first layer reads in the model as it is now.

        Args:
            chain: of the model.
        """
        return [chain.inputs(batch).hidden for batch in self.batches]

    def advance_float(self, stage: Stage) -> None:
        """Let the float chain pass a stage.

        Args:
            stage: to pass.
        """
        with torch.no_grad():
            for index, batch in enumerate(self.batches):
                self.float_states[index] = stage.run(batch, self.float_states[index])

    def difference(self, stage: Stage, targets: list[Tensor], advance: bool = False) -> Difference:
        """Between `targets` and what the stage makes of the quantised chain's states.

        Args:
            stage: to pass.
            targets: [B, T, C] of each batch.
            advance: which then pass it.
        """
        sums = DifferenceSums()
        with torch.no_grad():
            for index, (batch, target) in enumerate(zip(self.batches, targets, strict=True)):
                output = stage.run(batch, self.quantized_states[index])
                sums.add(target, output)
                if advance:
                    self.quantized_states[index] = output
        return sums.difference()

    def triples(self, targets: list[Tensor]) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """(batch, state of the quantised chain, target) for each batch.

        Args:
            targets: [B, T, C] of each batch.
        """
        return zip(self.batches, self.quantized_states, targets, strict=True)
