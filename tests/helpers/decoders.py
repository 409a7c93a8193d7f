"""Small random decoders of several architectures, built from their configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from helpers.tiny_models import tiny_tokenizer

VOCABULARY = 48
TOKENIZER = tiny_tokenizer()
EOS = int(TOKENIZER.eos_token_id)  # type: ignore[arg-type]
TOKENS = torch.randint(len(TOKENIZER), (3, 12), generator=torch.Generator().manual_seed(0))
_SHARED: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": None,
}


def _opt() -> Any:
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            ffn_dim=24,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=8,  # with a projection after the layers
            init_std=0.3,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def _gpt2() -> Any:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=16,
            n_layer=3,
            n_head=4,
            n_positions=64,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


_SLIDING: dict[str, Any] = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"] * 2}

DECODERS: dict[str, Callable[[], Any]] = {
    "gpt2": _gpt2,
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SHARED)),
    "opt": _opt,
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**_SHARED)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**{**_SHARED, "num_hidden_layers": 4}, **_SLIDING)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**{**_SHARED, "num_hidden_layers": 4}, **_SLIDING)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_SHARED)),
}


def decoder(name: str = "llama", seed: int = 0) -> Any:
    """A decoder with norms that are not all ones, in evaluation mode."""
    torch.manual_seed(seed)
    model = DECODERS[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def small_llama(tied: bool = True) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        initializer_range=0.2,
        tie_word_embeddings=tied,
        bos_token_id=EOS,
        eos_token_id=EOS,
    )
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
def difference(one: Any, other: Any) -> float:
    """Largest difference of logits, in standard deviations."""
    expected = one(TOKENS).logits
    return float((other(TOKENS).logits - expected).abs().max() / expected.std())
