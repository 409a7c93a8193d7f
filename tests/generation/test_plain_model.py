"""Neither a model's own settings, nor its mode, nor other threads change what is written or how it is scored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from torch import nn
from transformers import AutoModelForCausalLM, GenerationConfig, MambaConfig, RwkvConfig

from ctrlg.constraints import Keywords, WordCount
from ctrlg.errors import ArgumentError
from ctrlg.generation import GenerationResult, generate, score_generated_ids
from ctrlg.generation.plain_model import plain_model
from ctrlg.hmm import HMM

TOKENIZER = tiny_tokenizer()
SIZE = len(TOKENIZER)
EOS = cast(int, TOKENIZER.eos_token_id)
CONSTRAINT = Keywords(["dog"]) & WordCount(2, 5)
torch.manual_seed(1)
HMM_MODEL = HMM(4, SIZE, EOS)
DOG = TOKENIZER.encode(" dog")[0]
WAYS: dict[str, dict[str, Any]] = {
    "search": {"num_beams": 3, "num_return_sequences": 3},
    "greedy": {"num_beams": 1},
    "sampling": {"do_sample": True, "num_return_sequences": 3, "seed": 4},
    "sampled beams": {"do_sample": True, "num_beams": 3, "num_return_sequences": 2, "seed": 4},
}
SETTINGS: dict[str, Any] = {
    "max_length": 5, "max_new_tokens": 2, "min_length": 30, "min_new_tokens": 20, "early_stopping": True,
    "max_time": 1e-9, "stop_strings": ["o"], "do_sample": True, "num_beams": 5, "use_cache": False,
    "temperature": 3.0, "top_k": 1, "top_p": 0.1, "min_p": 0.9, "top_h": 0.1, "typical_p": 0.1, "epsilon_cutoff": 0.1,
    "eta_cutoff": 0.1, "repetition_penalty": 5.0, "encoder_repetition_penalty": 5.0, "length_penalty": -5.0,
    "no_repeat_ngram_size": 1, "encoder_no_repeat_ngram_size": 1, "bad_words_ids": [[3], [5, 6]],
    "renormalize_logits": True, "forced_bos_token_id": 3, "forced_eos_token_id": 3, "remove_invalid_values": True,
    "exponential_decay_length_penalty": (1, 9.0), "suppress_tokens": [DOG, 46], "begin_suppress_tokens": [DOG],
    "sequence_bias": [[[46], -50.0]], "token_healing": True, "guidance_scale": 3.0, "num_return_sequences": 2,
    "output_scores": True, "output_logits": True, "output_attentions": True, "return_dict_in_generate": True,
    "pad_token_id": 7, "bos_token_id": 7, "eos_token_id": [7, 46], "prompt_lookup_num_tokens": 3,
    "num_assistant_tokens": 3, "watermarking_config": {"bias": 9.0}, "penalty_alpha": 0.5, "num_beam_groups": 2,
    "diversity_penalty": 1.0, "dola_layers": "low", "low_memory": True, "prefill_chunk_size": 1,
    "cache_implementation": "offloaded",
}  # fmt: skip


def write(model: Any, **options: Any) -> list[GenerationResult]:
    options = {"suffix": ".", "max_new_tokens": 8} | options
    return generate(model, TOKENIZER, HMM_MODEL, CONSTRAINT, **options)


MODEL = tiny_language_model(SIZE)
USUAL = {way: write(MODEL, **options) for way, options in WAYS.items()}


def same(first: list[GenerationResult], second: list[GenerationResult]) -> bool:
    return [result.text for result in first] == [result.text for result in second] and [
        result.total_log_prob for result in first
    ] == pytest.approx([result.total_log_prob for result in second], abs=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_a_models_own_settings_change_nothing(way: str) -> None:
    model = tiny_language_model(SIZE)
    model.generation_config = settings = GenerationConfig()
    vars(settings).update(SETTINGS)
    assert same(write(model, **WAYS[way]), USUAL[way])
    assert model.generation_config is settings and vars(settings) == vars(GenerationConfig()) | SETTINGS


def test_the_settings_above_are_all_that_change_scores_or_search() -> None:
    of_speed = {"cache_config", "max_cache_len", "compile_config", "disable_compile", "use_mtp"}
    of_other_models = {"decoder_start_token_id", "output_hidden_states", "is_assistant", "continuous_batching_config"}
    of_assistants = {name for name in vars(GenerationConfig()) if "assistant" in name or "lookbehind" in name}
    of_assistants |= {"max_matching_ngram_size", "speculation_type"}
    left_to_others = {"constraints", "force_words_ids", "transformers_version"}
    known = {*SETTINGS, *of_speed, *of_other_models, *of_assistants, *left_to_others}
    assert not {name for name in vars(GenerationConfig()) if not name.startswith("_")} - known


OPTIONS: list[dict[str, Any]] = [
    {"length_penalty": 3.0}, {"early_stopping": True}, {"repetition_penalty": 4.0}, {"no_repeat_ngram_size": 1},
    {"bad_words_ids": [[46]]}, {"suppress_tokens": [40, 41]}, {"begin_suppress_tokens": [DOG]},
    {"sequence_bias": [[[46], 5.0]]}, {"guidance_scale": 2.0}, {"renormalize_logits": True}, {"use_cache": False},
    {"exponential_decay_length_penalty": (1, 2.0)}, {"top_p": 0.5}, {"top_k": 3}, {"min_p": 0.1}, {"typical_p": 0.5},
    {"watermarking_config": {"bias": 3.0}}, {"prefix": "the", "suffix": " run.", "repetition_penalty": 2.0},
    {"logits_processor": [lambda ids, scores: scores * 0.5]},
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_the_log_probability_is_the_models_own(number: int) -> None:
    options = OPTIONS[number]
    of_sampling = {"top_p", "top_k", "min_p", "typical_p"} & set(options)
    way = "sampling" if of_sampling else list(WAYS)[number % len(WAYS)]
    results = write(MODEL, **(WAYS[way] | options))
    prompt = [EOS, *TOKENIZER.encode(options.get("prefix", ""))]
    suffix = [*TOKENIZER.encode(options.get("suffix", ".")), EOS]
    for result in results:
        tokens = [*prompt, *result.token_ids, *suffix]
        with torch.no_grad():
            logs = MODEL(torch.tensor([tokens])).logits[0].double().log_softmax(1)
        truth = sum(float(logs[place - 1, tokens[place]]) for place in range(len(prompt), len(tokens)))
        assert result.total_log_prob == pytest.approx(truth, abs=1e-4)
        assert result.log_prob == pytest.approx(truth / (len(tokens) - len(prompt)), abs=1e-4)


def with_dropout() -> Any:
    model = tiny_language_model(SIZE)
    model.config.attention_dropout = 0.5
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    return model


@pytest.mark.parametrize("way", WAYS)
def test_a_model_in_training_mode_writes_the_same_and_stays_in_it(way: str) -> None:
    model = with_dropout().train()
    assert same(write(model, **WAYS[way]), USUAL[way])
    assert all(module.training for module in model.modules())
    read = score_generated_ids(model, [USUAL[way][0].token_ids], [EOS], [*TOKENIZER.encode("."), EOS])
    assert read[0].total == pytest.approx(USUAL[way][0].total_log_prob, abs=1e-4)


def test_only_what_must_differ_is_copied() -> None:
    model = tiny_language_model(SIZE)
    plain = plain_model(model)
    assert plain is not model and plain.model is model.model and plain.generation_config is not model.generation_config
    model.model.layers[0].mlp.train()
    plain = plain_model(model)
    assert not any(module.training for module in plain.modules()) and model.model.layers[0].mlp.training
    assert plain.model.layers[0].self_attn is model.model.layers[0].self_attn
    assert all(a is b for a, b in zip(plain.parameters(), model.parameters(), strict=True))
    model.model.layers[0].mlp.forward = lambda x: x
    with pytest.raises(ArgumentError, match="training mode"):
        plain_model(model)
    assert plain_model(3) == 3 and isinstance(plain_model(nn.Dropout()), nn.Dropout)


@pytest.mark.parametrize("way", ["sampling", "sampled beams"])
def test_a_seed_repeats_in_any_number_of_threads(way: str) -> None:
    torch.manual_seed(9)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: write(MODEL, **(WAYS[way] | {"seed": seed})), [4, 5, 4, 6, 4, 7]))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(same(results[place], USUAL[way]) for place in (0, 2, 4))
    assert not same(results[1], USUAL[way])


def test_draws_without_a_seed_follow_the_global_generator() -> None:
    torch.manual_seed(4)
    assert same(write(MODEL, **(WAYS["sampling"] | {"seed": None})), USUAL["sampling"])
    assert not same(write(MODEL, **(WAYS["sampling"] | {"seed": None})), USUAL["sampling"])


@pytest.mark.parametrize("kind", ["rwkv", "mamba"])
def test_recurrent_models_search_with_beams(kind: str) -> None:
    configs: dict[str, Any] = {
        "rwkv": lambda: RwkvConfig(vocab_size=SIZE, hidden_size=16, num_hidden_layers=2, context_length=16),
        "mamba": lambda: MambaConfig(vocab_size=SIZE, hidden_size=16, num_hidden_layers=1, state_size=4),
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configs[kind]()).eval()
    results = write(model, num_beams=3, num_return_sequences=3)
    assert len(results) == 3 and all(result.satisfied for result in results)
    suffix = [*TOKENIZER.encode("."), EOS]
    read = score_generated_ids(model, [result.token_ids for result in results], [EOS], suffix)
    assert [result.total_log_prob for result in results] == pytest.approx([one.total for one in read], abs=1e-3)
