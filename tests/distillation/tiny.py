"""A language model small enough to sample thousands of sentences from in a test."""

from __future__ import annotations

from typing import Any

import torch

EOS = 0
VOCABULARY = 12


def tiny_language_model(seed: int = 0) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        bos_token_id=EOS,
        eos_token_id=EOS,
        pad_token_id=None,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).eval()
