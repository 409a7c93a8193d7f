"""A causal language model read token by token by a batch of rows, which may leave it when they have ended.

Every prompt is read once; its cache is copied to the rows that continue it. Keys and values of ordinary attention are
moved to storage reserved for the longest sequence, so that a step writes one position instead of copying all earlier
ones, and a row that leaves costs the copy of the one that takes its place. Layers of other kinds (sliding windows,
recurrent states) keep the caches transformers gave them.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from ctrlg.errors import ArgumentError

CACHES = ("past_key_values", "cache_params")  # what models of transformers call their cache


class ReservedLayer(DynamicLayer):
    """Keys and values of one attention layer, [rows, heads, time, features], in storage that need not grow."""

    def __init__(self, layer: DynamicLayer, rows: Tensor, length: int) -> None:
        """Take over `rows` (indices, repeats allowed) of a layer, with room for `length` positions."""
        super().__init__()
        if layer.keys is None or layer.values is None:
            raise ArgumentError("a cache layer is empty after the prompt", hint="is this a causal language model?")
        self.dtype, self.device = layer.keys.dtype, layer.keys.device
        self._stored_keys = _reserved(layer.keys, rows, length)
        self._stored_values = _reserved(layer.values, rows, length)
        self.is_initialized = True
        self._rows = len(rows)
        self._show(layer.keys.shape[-2])

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append positions; returns all keys and values so far.

        Args:
            key_states: of the new positions.
            value_states: of the new positions.
        """
        start, stop = self._length, self._length + key_states.shape[-2]
        self._stored_keys[: self._rows, ..., start:stop, :] = key_states
        self._stored_values[: self._rows, ..., start:stop, :] = value_states
        return self._show(stop)

    def move_rows(self, sources: Tensor, targets: Tensor, rows: int) -> None:
        """Copy rows `sources` over rows `targets`, then keep the first `rows`.

        Args:
            sources: int64.
            targets: int64, as many.
            rows: how many stay.
        """
        for stored in (self._stored_keys, self._stored_values):
            filled = stored[..., : self._length, :]
            filled[targets.to(stored.device)] = filled[sources.to(stored.device)]
        self._rows = rows
        self._show(self._length)

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        """Let `keys` and `values`, which transformers reads, be what is filled."""
        self._length = length
        keys = self._stored_keys[: self._rows, ..., :length, :]
        values = self._stored_values[: self._rows, ..., :length, :]
        self.keys, self.values = keys, values
        return keys, values


class IncrementalModel:
    """A causal language model, the prompts it has read and the rows that continue them.

    Args:
        model: a causal language model of transformers.
        prompts: int64 [P, L], read at once.
        prompt_of: the prompt that each row continues, int64 [rows].
        length: a row is continued by fewer tokens than this.
        embeddings: keep what the output layer reads.

    Attributes:
        logits: of each row's next token, [rows, V].
        hidden: what the output layer read to compute them, [rows, D]; None where `embeddings` were not asked for.

    Raises:
        ArgumentError: a model without a cache of transformers, or whose output layer cannot be observed.
    """

    def __init__(self, model: Any, prompts: Tensor, prompt_of: Tensor, length: int, embeddings: bool) -> None:

        self._model = model
        self._embeddings = embeddings
        # Logits of a whole prompt would be the largest tensor of all, and only the last position is looked at.
        takes = signature(model.forward).parameters
        self._takes_number = "logits_to_keep" in takes
        self._cache: Any = None
        self.logits, self.hidden = self._read(prompts)
        self._reserve(prompt_of, prompts.shape[1] + length)
        self.logits = self.logits[prompt_of]
        self.hidden = self.hidden[prompt_of] if self.hidden is not None else None

    def read(self, tokens: Tensor) -> None:
        """Go on by one token per row, int64 [rows].

        Args:
            tokens: int64 [rows].
        """
        self.logits, self.hidden = self._read(tokens[:, None])

    def read_all(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Go on by several tokens per row at once.

        Args:
            tokens: int64 [rows, time].

        Returns:
            The logits [rows, time + 1, V] of what came before them and after each, and what the output layer read.

        Raises:
            ArgumentError: `embeddings` were not asked for.
        """
        if self.hidden is None:
            raise ArgumentError("there are no hidden states", hint="pass embeddings=True")
        logits, hidden = [self.logits[:, None]], [self.hidden[:, None]]
        if tokens.shape[1]:
            later, seen = self._states(tokens, tokens.shape[1])
            logits.append(later)
            hidden += [] if seen is None else [seen]
            self.logits, self.hidden = later[:, -1], hidden[-1][:, -1]
        return torch.cat(logits, 1), torch.cat(hidden, 1)

    def keep_rows(self, indices: Tensor) -> None:
        """Keep the rows `indices`, int64 [n], in this order; `read` brings their logits and hidden states.

        Args:
            indices: int64 [n].
        """
        targets = (indices != torch.arange(len(indices), device=indices.device)).nonzero()[:, 0]
        sources = indices[targets]
        for layer in self._cache.layers:
            if isinstance(layer, ReservedLayer):
                layer.move_rows(sources, targets, len(indices))
            else:
                layer.reorder_cache(indices)

    def _reserve(self, prompt_of: Tensor, length: int) -> None:
        for index, layer in enumerate(self._cache.layers):
            if type(layer) is DynamicLayer:
                self._cache.layers[index] = ReservedLayer(layer, prompt_of, length)
            else:
                layer.reorder_cache(prompt_of)

    def _read(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """(logits, hidden states) of the last position of tokens int64 [rows, time]; grows the cache."""
        logits, hidden = self._states(tokens, 1)
        return logits[:, -1], hidden[:, -1] if hidden is not None else None

    def _states(self, tokens: Tensor, kept: int) -> tuple[Tensor, Tensor | None]:
        """The same of the last `kept` positions, and perhaps of those before; grows the cache."""
        options = {"logits_to_keep": kept} if self._takes_number else {}
        seen: list[Tensor] = []
        head = self._model.get_output_embeddings() if self._embeddings else None
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) if head is not None else None
        try:
            cache = {} if self._cache is None else {self._cache_name: self._cache}
            output = self._model(tokens, use_cache=True, **options, **cache)
        finally:
            if hook is not None:
                hook.remove()
        if self._cache is None:
            self._cache_name = next((name for name in CACHES if getattr(output, name, None) is not None), "")
            self._cache = getattr(output, self._cache_name, None)
            if not hasattr(self._cache, "layers"):
                raise ArgumentError(
                    f"{type(self._model).__name__} returns no cache that rows can leave",
                    hint="choose a decoder of transformers whose cache has layers",
                )
        if self._embeddings and not seen:
            raise ArgumentError(
                f"the output layer of {type(self._model).__name__} cannot be observed",
                hint="sample without embeddings",
            )
        return output.logits, seen[-1] if seen else None


def _reserved(states: Tensor, rows: Tensor, length: int) -> Tensor:
    stored = states.new_empty(len(rows), *states.shape[1:-2], length, states.shape[-1])
    stored[..., : states.shape[-2], :] = states[rows.to(states.device)]
    return stored
