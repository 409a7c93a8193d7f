"""Prompts in all their forms, options that work, and those that are refused by name."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from transformers import BatchEncoding, GenerationConfig, GPT2Config, GPT2LMHeadModel, StoppingCriteria, TextStreamer

from ctrlg.constraints import Keywords
from ctrlg.errors import ArgumentError
from ctrlg.generation import GenerationResult, generate, generate_many
from ctrlg.vocabulary.token_bytes import Vocabulary

TOKENIZER = tiny_tokenizer()
TOKENIZER.chat_template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
EOS = cast(int, TOKENIZER.eos_token_id)
MODEL = tiny_language_model(len(TOKENIZER))
CHAT = [{"role": "user", "content": "the dog run"}]
IDS = TOKENIZER.encode("the dog run\n")


def write(**options: Any) -> list[GenerationResult]:
    settings: dict[str, Any] = {"suffix": ".", "max_new_tokens": 5, "num_beams": 2, "eos_token_id": EOS}
    return generate(MODEL, TOKENIZER, None, Keywords(["dog"]), **(settings | options))


PROMPTS: dict[str, Any] = {
    "text": "the dog run\n",
    "ids": IDS,
    "a tuple of numpy integers": tuple(np.array(IDS)),
    "a row of a batch": [IDS],
    "an array": np.array(IDS),
    "a list of a tensor": [torch.tensor(IDS)],
    "a tensor": torch.tensor(IDS),
    "a tensor with a batch of one": torch.tensor([IDS]),
    "an encoding": TOKENIZER("the dog run\n"),
    "an encoding of tensors": TOKENIZER("the dog run\n", return_tensors="pt"),
    "a chat": TOKENIZER.apply_chat_template(CHAT),
    "a chat as ids": TOKENIZER.apply_chat_template(CHAT, return_dict=False),
    "a chat as tensors": TOKENIZER.apply_chat_template(CHAT, return_tensors="pt", return_dict=True),
    "padded": BatchEncoding({"input_ids": [[0, 0, *IDS]], "attention_mask": [[0, 0, *[1] * len(IDS)]]}),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_come_in_many_forms(name: str) -> None:
    assert write(prompt=PROMPTS[name]) == write(prompt=IDS)


def test_several_prompts_may_be_a_batch() -> None:
    rows = {"input_ids": torch.tensor([[0, *IDS[:2]], IDS[:3]]), "attention_mask": torch.tensor([[0, 1, 1], [1, 1, 1]])}
    settings: dict[str, Any] = {"suffix": ".", "max_new_tokens": 5, "num_beams": 2, "eos_token_id": EOS}
    both = [Keywords(["dog"])] * 2
    expected = generate_many(MODEL, TOKENIZER, None, both, [IDS[:2], IDS[:3]], **settings)
    assert generate_many(MODEL, TOKENIZER, None, both, rows, **settings) == expected
    same_length = torch.tensor([IDS[:3], IDS[1:4]])
    expected = generate_many(MODEL, TOKENIZER, None, both, [IDS[:3], IDS[1:4]], **settings)
    assert generate_many(MODEL, TOKENIZER, None, both, same_length, **settings) == expected


WRONG_PROMPTS: dict[str, tuple[Any, str]] = {
    "two rows": ([IDS, IDS], "2 texts"),
    "a number": (5, "int"),
    "words": (["the", "dog"], "'the'"),
    "fractions": ([1.5], "1.5"),
    "bytes": (b"dog", "bytes"),
    "another mapping": ({"ids": IDS}, "mapping of ids"),
    "other masks": ({"input_ids": IDS, "attention_mask": [1]}, "differ in shape"),
    "empty": ([], "no list of tokens"),
    "a row beside a number": ([[1], 2], "beside lists"),
    "a row beside bytes": ([[1], b"dog"], "beside lists"),
    "a list of bytes": ([b"dog"], "b'dog'"),
    "true": ([True], "True"),
    "three dimensions": ([[[1]]], "a list"),
    "arrays without a dimension": ([np.array("dog")], "ndarray"),
    "a class": (torch.Tensor, "class 'torch.Tensor'"),
    "negative": ([-1], "no list of tokens"),
}


@pytest.mark.parametrize("name", WRONG_PROMPTS)
def test_other_prompts_are_refused(name: str) -> None:
    prompt, message = WRONG_PROMPTS[name]
    with pytest.raises(ArgumentError, match=message) as refused:
        write(prompt=prompt)
    assert refused.value.hint


@pytest.mark.parametrize("prompts", [5, "text", b"text", MODEL, torch.Tensor, torch.tensor(5), ["a", 5], {"a": 1}])
def test_what_is_no_list_of_prompts_is_refused(prompts: Any) -> None:
    with pytest.raises(ArgumentError) as refused:
        generate_many(MODEL, TOKENIZER, None, [Keywords(["dog"])] * 2, prompts, suffix=".", eos_token_id=EOS)
    assert refused.value.hint


REFUSED: dict[str, tuple[Any, str]] = {
    "lenght_penalty": (1.0, "length_penalty"),
    "num_beam": (2, "num_beams"),
    "max_tokens": (2, "max_new_tokens"),
    "max_words": (5, "WordCount"),
    "stop": ("x", "suffix"),
    "stop_strings": ("x", "suffix"),
    "generation_config": (GenerationConfig(), "one by one"),
    "return_dict_in_generate": (True, "log_prob"),
    "prompt_lookup_num_tokens": (3, "leave it out"),
    "min_length": (3, "min_new_tokens"),
    "max_length": (3, "max_new_tokens"),
    "num_beam_groups": (2, ""),
    "zzz": (2, "documentation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_options_are_refused_by_name(name: str) -> None:
    value, hint = REFUSED[name]
    with pytest.raises(ArgumentError, match=f"{name} is no option") as refused:
        write(**{name: value})
    assert refused.value.hint and hint in refused.value.hint


WRONG_VALUES: list[dict[str, Any]] = [
    *({"do_sample": True, name: value} for name, value in (
        ("top_k", -1), ("top_k", 0.5), ("min_p", 3), ("top_h", 9.0), ("top_p", "x"), ("top_p", 2.0), ("typical_p", "a"),
        ("temperature", 1e-40), ("temperature", 1e300),
    )),
    *({name: value} for name, value in (
        ("repetition_penalty", 0), ("repetition_penalty", -2.0), ("repetition_penalty", "a"), ("top_p", 2.0),
        ("no_repeat_ngram_size", "a"), ("max_time", "x"), ("guidance_scale", "x"),
        ("exponential_decay_length_penalty", 5), ("bad_words_ids", 5), ("bad_words_ids", [["a"]]),
        ("bad_words_ids", []), ("bad_words_ids", [[10**6]]),
        ("sequence_bias", {"a": 1}), ("sequence_bias", {(10**6,): 1.0}),
        ("suppress_tokens", "a"), ("suppress_tokens", [-1]), ("begin_suppress_tokens", [1.5]),
        ("early_stopping", "sometimes"), ("early_stopping", 5), ("watermarking_config", 5), ("use_cache", "a"),
        ("renormalize_logits", "x"), ("cache_implementation", "bad"), ("cache_config", 5), ("disable_compile", 3),
        ("prefill_chunk_size", 0), ("prefill_chunk_size", "a"), ("compile_config", 5), ("logits_processor", 5),
        ("logits_processor", lambda ids, scores: scores), ("logits_processor", [5]), ("stopping_criteria", 5),
        ("stopping_criteria", [5]), ("prefix_allowed_tokens_fn", 5), ("length_penalty", 1e308),
        ("length_penalty", -300), ("temperature", 1e-300),
    )),
    {"num_beams": 1, "streamer": 5},
    {"num_beams": 1, "streamer": "x"},
]  # fmt: skip


@pytest.mark.parametrize("options", WRONG_VALUES, ids=str)
def test_values_of_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        write(**options)
    assert any(name in str(caught.value) for name in options) and caught.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 5, "top_p": 0.9, "min_p": 0.01, "do_sample": True},
        {"typical_p": 0.9, "epsilon_cutoff": 1e-4, "eta_cutoff": 1e-4, "do_sample": True, "seed": 1},
        {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "bad_words_ids": [[3], [4, 5]], "suppress_tokens": [6]},
        {"sequence_bias": {(7,): -1.0}, "begin_suppress_tokens": np.array([8]), "renormalize_logits": True},
        {"sequence_bias": [[[7], -1.0]], "exponential_decay_length_penalty": (2, 1.5), "early_stopping": "never"},
        {"repetition_penalty": 2, "no_repeat_ngram_size": np.int64(3), "bad_words_ids": ((3,), (4, 5))},
        {"sequence_bias": {(1, 2): 1, (3,): float("-inf")}, "do_sample": True, "top_k": np.int32(4)},
        {"early_stopping": True, "max_time": 60, "use_cache": False, "remove_invalid_values": True, "top_k": None},
    ],
    ids=str,
)
def test_values_that_transformers_takes_work(options: dict[str, Any]) -> None:
    assert all(result.satisfied for result in write(**options))


def test_an_error_of_the_callers_own_processor_is_the_callers() -> None:
    def broken(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        write(logits_processor=[broken])
    assert not isinstance(caught.value, ArgumentError)


@pytest.mark.parametrize("seed", [-1, 2**64, 2**70])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(ArgumentError, match="seed is"):
        write(do_sample=True, seed=seed)


def test_a_streamer_shows_one_text(capsys: pytest.CaptureFixture[str]) -> None:
    streamer = TextStreamer(cast(Any, TOKENIZER), skip_prompt=True, skip_special_tokens=True)
    (result,) = write(num_beams=1, streamer=streamer)
    assert capsys.readouterr().out.strip("\n") == result.text.strip("\n")
    with pytest.raises(ArgumentError, match="streamer for 1 texts with 2 beams"):
        write(streamer=streamer)
    with pytest.raises(ArgumentError, match="streamer for 2 texts"):
        write(do_sample=True, num_beams=1, num_return_sequences=2, streamer=streamer)


class After(StoppingCriteria):
    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, input_ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:  # type: ignore[override]
        return torch.full((len(input_ids),), input_ids.shape[1] >= self.length)


def test_processors_and_criteria_of_the_caller_take_part() -> None:
    (usual,) = write()
    banned = usual.token_ids[0]

    def ban(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.index_fill(1, torch.tensor([banned]), -1e9)

    (other,) = write(logits_processor=[ban])
    assert other.satisfied and banned not in other.token_ids
    assert write(stopping_criteria=[After(100)]) == [usual]
    assert write(stopping_criteria=[After(2)]) == []


def test_a_prompt_beyond_the_context_is_refused_first() -> None:
    config = GPT2Config(vocab_size=len(TOKENIZER), n_positions=16, n_embd=16, n_layer=1, n_head=2)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config).eval()
    settings: dict[str, Any] = {"suffix": ".", "max_new_tokens": 5, "num_beams": 2, "eos_token_id": EOS}
    assert generate(model, TOKENIZER, None, Keywords(["dog"]), [3] * 9, **settings)
    with pytest.raises(ArgumentError, match="10 tokens and 7 more exceed the language model's 16 positions") as no:
        generate(model, TOKENIZER, None, Keywords(["dog"]), [3] * 10, **settings)
    assert "by 1 or more" in no.value.hint
    with pytest.raises(ArgumentError, match="16 positions"):
        generate(model, TOKENIZER, None, Keywords(["dog"]), **{**settings, "max_new_tokens": 20})


def test_a_special_token_beyond_the_logits_is_never_content() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert len(tokenizer) == len(TOKENIZER) + 1
    settings: dict[str, Any] = {"suffix": ".", "max_new_tokens": 5, "num_beams": 2, "eos_token_id": EOS}
    assert generate(MODEL, tokenizer, None, Keywords(["dog"]), **settings) == write()
    assert Vocabulary.of(tokenizer, len(TOKENIZER)).fingerprint == Vocabulary.of(TOKENIZER).fingerprint
