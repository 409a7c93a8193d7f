"""A model, with or without its head, that reads tokens or what its first layer would read instead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from normtweaking.structure import decoder_layers
from normtweaking.tweaking.chain import HIDDEN_STATES, logits_at

FIRST_LAYER_INPUT = "first_layer_input"


class Reader(nn.Module):
    """What `ModelTweaker` needs of a causal model, of a bare one too.

    Args:
        model: its modules are shared, not copied.

    Attributes:
        can_predict: whether the logits are those of a next token. Those of a bare model are its last hidden states,
            unless its embedding is the head.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.training = model.training  # what `eval` is undone to
        self.config = model.config
        self.model = model
        self._first_layer = f"{decoder_layers(model).name}.0"
        self._is_bare = model.get_output_embeddings() is None
        self._is_tied = self._is_bare and bool(getattr(model.config, "tie_word_embeddings", False))

    @property
    def can_predict(self) -> bool:
        return self._is_tied or not self._is_bare

    @property
    def bare_prefix(self) -> str:
        """Of the names that parameters have here and not in the bare model."""
        return next(f"{name}." for name, module in self.named_modules() if module is self.model.base_model)

    def forward(
        self,
        input_ids: Tensor | None = None,
        first_layer_input: Tensor | None = None,
        use_cache: bool = False,
        logits_to_keep: Tensor | None = None,
    ) -> Any:
        """An object with `logits`, [B, T or len(logits_to_keep), V or C]. One of the first two is given.

        Args:
            input_ids: int64 [B, T].
            first_layer_input: [B, T, C].
            use_cache: taken for compatibility.
            logits_to_keep: int64, positions; all where None.
        """
        if first_layer_input is None:
            return SimpleNamespace(logits=self._logits(input_ids, logits_to_keep))

        def replace(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
            if arguments:
                return (first_layer_input, *arguments[1:]), options
            return arguments, {**options, HIDDEN_STATES: first_layer_input}

        # Masks and position embeddings depend on the shape alone: any tokens will do for them.
        tokens = torch.zeros(first_layer_input.shape[:2], dtype=torch.long, device=first_layer_input.device)
        handle = self.model.get_submodule(self._first_layer).register_forward_pre_hook(replace, with_kwargs=True)
        try:
            return SimpleNamespace(logits=self._logits(tokens, logits_to_keep))
        finally:
            handle.remove()

    def get_input_embeddings(self) -> Any:
        return self.model.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return self.model.get_output_embeddings()

    def _logits(self, tokens: Tensor | None, positions: Tensor | None) -> Tensor:
        batch: Any = {"input_ids": tokens}
        if not self._is_bare:
            return logits_at(self.model, batch, positions)
        hidden = self.model(**batch, use_cache=False).last_hidden_state
        hidden = hidden if positions is None else hidden[:, positions]
        return hidden @ self.get_input_embeddings().weight.T if self._is_tied else hidden
