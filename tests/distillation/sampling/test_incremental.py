"""Sampling with caches, rows that leave and shared prompts against a plain loop that reads everything anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from helpers.sampling_job import EOS, VOCABULARY, tiny_language_model
from torch import Tensor
from torch.testing import assert_close

from ctrlg.distillation.sampling.incremental import IncrementalModel
from ctrlg.distillation.sampling.samples import SamplingSettings, continue_prompts, token_mask

STEPS = 12
PROMPTS = torch.tensor([[3, 4, 5], [EOS, 2, 2]])
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "initializer_range": 0.5,
    "bos_token_id": None,
    "eos_token_id": EOS,
    "pad_token_id": None,
}
ATTENTION: dict[str, Any] = {
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}


def model_of(kind: str) -> Any:
    """Decoders whose caches, positions or output layers differ."""
    if kind == "llama":
        return tiny_language_model()
    configurations = {
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=16,
            n_layer=2,
            n_head=2,
            initializer_range=0.5,
            bos_token_id=EOS,
            eos_token_id=EOS,
        ),
        "sliding window": lambda: transformers.MistralConfig(**COMMON, **ATTENTION, sliding_window=4),
        "mixed windows, capped logits": lambda: transformers.Gemma2Config(**COMMON, **ATTENTION, sliding_window=4),
        "recurrent": lambda: transformers.MambaConfig(**COMMON, state_size=4),
    }
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(configurations[kind]()).eval()


@torch.no_grad()
def plain_loop(model: Any, rows: Tensor, uniforms: Tensor, end: int) -> Tensor:
    """What each row draws when the whole text is read anew at every step, without a cache."""
    start = rows.shape[1]
    for step in range(STEPS):
        probabilities = model(rows, use_cache=False).logits[:, -1].double().softmax(1)
        tokens = (probabilities.cumsum(1) <= uniforms[step, :, None]).sum(1)
        ended = (rows[:, start:] == end).any(1)
        rows = torch.cat([rows, torch.where(ended, end, tokens)[:, None]], 1)
    return rows[:, start:]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "sliding window", "mixed windows, capped logits", "recurrent"])
def test_any_decoder_draws_what_a_plain_loop_draws(kind: str) -> None:
    model = model_of(kind)
    prompt_of = torch.arange(60) % 2
    uniforms = torch.rand(STEPS, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    end = int(model(PROMPTS).logits[:, -1].softmax(1).mean(0).argsort(descending=True)[1])
    steps: list[tuple[int, int]] = []
    drawn = continue_prompts(
        model, PROMPTS, prompt_of, uniforms, SamplingSettings(STEPS), end, True, lambda *step: steps.append(step)
    )
    assert torch.equal(drawn.sequences, plain_loop(model, PROMPTS[prompt_of], uniforms, end))
    mask = token_mask(drawn.sequences, end)
    assert 0.1 < mask.float().mean() < 0.9, "some rows should end early for this test to mean anything"
    assert sum(ended for ended, _ in steps) == 60
    assert sum(tokens for _, tokens in steps) == int(mask.sum())
    context = torch.cat([PROMPTS[prompt_of], drawn.sequences], 1)
    with torch.no_grad():
        output = model(context, output_hidden_states=True, use_cache=False)
    assert drawn.embeddings is not None
    assert_close(drawn.embeddings.float(), output.hidden_states[-1][:, 2:-1][mask], rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixed windows, capped logits", "recurrent"])
@pytest.mark.parametrize("embeddings", [False, True])
def test_the_logits_of_a_prompt_are_those_of_its_last_position_alone(kind: str, embeddings: bool) -> None:
    model = model_of(kind)
    shapes: list[torch.Size] = []
    model.get_output_embeddings().register_forward_hook(lambda _, inputs, logits: shapes.append(logits.shape))
    reader = IncrementalModel(model, PROMPTS, torch.arange(2), 1, embeddings)
    assert shapes == [(2, 1, VOCABULARY)]
    assert_close(reader.logits, model(PROMPTS).logits[:, -1])


def test_models_that_return_all_logits_draw_the_same() -> None:
    model = tiny_language_model()
    settings = SamplingSettings(STEPS)
    uniforms = torch.rand(STEPS, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    expected = continue_prompts(model, PROMPTS, torch.arange(20) % 2, uniforms, settings, EOS, True)
    last_only = model.forward
    model.forward = lambda tokens, use_cache, past_key_values=None: last_only(
        tokens, use_cache=use_cache, past_key_values=past_key_values
    )
    drawn = continue_prompts(model, PROMPTS, torch.arange(20) % 2, uniforms, settings, EOS, True)
    assert torch.equal(drawn.sequences, expected.sequences)
    assert_close(drawn.embeddings, expected.embeddings)


def test_a_row_draws_the_same_in_any_company() -> None:
    model = tiny_language_model()
    uniforms = torch.rand(STEPS, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    prompt_of = torch.zeros(50, dtype=torch.long)
    settings = SamplingSettings(STEPS)
    together = continue_prompts(model, PROMPTS, prompt_of, uniforms, settings, EOS).sequences
    apart = continue_prompts(model, PROMPTS, prompt_of[:7], uniforms[:, 40:47], settings, EOS).sequences
    assert torch.equal(apart, together[40:47])
