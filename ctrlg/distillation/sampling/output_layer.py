"""The distribution that a sampled token was sampled from, computed again from the hidden state that predicted it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ctrlg.distillation.sampling.storage import read_description
from ctrlg.distillation.token_loss import has_plain_head
from ctrlg.errors import ArgumentError, DataError

HARD_COUNTS = "count tokens instead: --next_tokens 0, and --hard for the first HMM"


class OutputLayer(nn.Module):
    """Hidden states to logits, divided by the temperature of the samples.

    Args:
        layer: the language model's output layer (`get_output_embeddings()`).
        temperature: > 0.
    """

    def __init__(self, layer: Any, temperature: float = 1.0) -> None:
        super().__init__()
        self.layer = layer
        self.temperature = temperature

    @property
    def weight(self) -> Tensor:
        """Of the layer, [V, D]."""
        return self.layer.weight

    def forward(self, hidden: Tensor) -> Tensor:
        logits = self.layer(hidden)
        return logits if self.temperature == 1 else logits / self.temperature


def output_layer(model: Any, temperature: float = 1.0) -> OutputLayer:
    """The layer of a causal language model of transformers.

    Args:
        model: a causal language model of transformers.
        temperature: that logits are divided by.

    Raises:
        ArgumentError: models that scale or cap their logits: the layer alone is not their distribution.
    """
    if not has_plain_head(model):
        raise ArgumentError(
            f"{type(model).__name__} changes its logits after the output layer: soft counts cannot be made from "
            "hidden states",
            hint=HARD_COUNTS,
        )
    return OutputLayer(model.get_output_embeddings(), temperature)


def sampling_temperature(files: Sequence[str | Path]) -> float:
    """The temperature that files of sequences were sampled at, as they say of themselves; 1 where they say nothing.

    Args:
        files: of sequences.

    Raises:
        DataError: files of several temperatures, or sampled with top_k or top_p.
    """
    settings = [read_description(file).get("settings", {}) for file in files]
    temperatures = {float(each.get("temperature", 1.0)) for each in settings}
    if len(temperatures) > 1:
        raise DataError(f"the sequences were sampled at temperatures {sorted(temperatures)}", hint="take those of one")
    if any(each.get("top_k") or each.get("top_p", 1.0) < 1 for each in settings):
        raise DataError(
            "the sequences were sampled with top_k or top_p, which soft counts do not know", hint=HARD_COUNTS
        )
    return temperatures.pop()
