"""The processor inside `transformers.generate`: greedy, sampling, beams, several prompts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, TinyConstraint, avoids, contains, random_hmm
from helpers.tiny_models import tiny_language_model
from transformers import LogitsProcessorList

from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.generation import extract_generated_ids

PROMPT = [2, 0]
CONSTRAINTS = {
    "a keyword": TinyConstraint(contains(1, 2), (3, EOS), (2, 6)),
    "suffix like content": TinyConstraint(contains(3), (3, 3, EOS), (1, 5)),
    "fixed length": TinyConstraint(contains(0, 0), (1, EOS), (5, 5)),
    "suffix never content": TinyConstraint(avoids(3), (3, EOS), (1, 4)),
}
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "num_return_sequences": 20, "top_k": 0},
    "sampling, the best two only": {"do_sample": True, "num_return_sequences": 20, "top_k": 2},
    "beams": {"do_sample": False, "num_beams": 5, "num_return_sequences": 5},
    "beams, short texts preferred": {"num_beams": 4, "num_return_sequences": 4, "length_penalty": 0.2},
    "sampled beams": {"do_sample": True, "num_beams": 4, "num_return_sequences": 4, "top_k": 0},
}
MODEL = tiny_language_model(VOCAB + 2)


def processor_of(constraint: TinyConstraint, hmm_seed: int | None = 0, **options: Any) -> ConstraintLogitsProcessor:
    hmm = None if hmm_seed is None else random_hmm(hmm_seed).model
    return ConstraintLogitsProcessor(
        hmm, constraint.dfa, *constraint.token_range, PROMPT, suffix_ids=constraint.suffix, eos_token_id=EOS, **options
    )


def write(processor: ConstraintLogitsProcessor, steps: int, prompts: int = 1, **options: Any) -> list[list[int]]:
    torch.manual_seed(0)
    inputs = torch.tensor([PROMPT] * prompts)
    defaults: dict[str, Any] = {"eos_token_id": EOS, "pad_token_id": EOS}
    return MODEL.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        logits_processor=LogitsProcessorList([processor]),
        max_new_tokens=steps,
        **(defaults | options),
    ).tolist()


def text_of(row: list[int]) -> tuple[int, ...]:
    generated = row[len(PROMPT) :]
    return tuple(generated[: generated.index(EOS) + 1] if EOS in generated else generated)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name, hmm_seed", [*((name, 0) for name in CONSTRAINTS), ("suffix like content", None)])
def test_every_text_keeps_the_constraint(name: str, way: str, hmm_seed: int | None) -> None:
    constraint = CONSTRAINTS[name]
    rows = write(processor_of(constraint, hmm_seed), constraint.token_range[1] + len(constraint.suffix), **WAYS[way])
    contents = extract_generated_ids(rows, PROMPT, constraint.suffix, EOS)
    for row, content in zip(rows, contents, strict=True):
        assert text_of(row) in constraint.texts
        assert text_of(row) == (*content, *constraint.suffix)


@pytest.mark.parametrize("way", WAYS)
def test_without_room_for_the_suffix_texts_can_still_be_completed(way: str) -> None:
    constraint = CONSTRAINTS["suffix like content"]
    beginnings = {text[:length] for text in constraint.texts for length in range(len(text) + 1)}
    least, most = constraint.token_range
    for row in write(processor_of(constraint), most, min_new_tokens=least, **WAYS[way]):
        assert text_of(row) in beginnings


@pytest.mark.parametrize("way", ["greedy", "sampling", "beams"])
def test_prompts_of_a_batch_have_their_own_lengths(way: str) -> None:
    ranges = [(2, 2), (4, 5), (6, 6)]
    dfa, suffix = contains(1), (3, EOS)
    processor = processor_of(TinyConstraint(dfa, suffix, (0, 0)), token_ranges=ranges)
    rows = write(processor, 8, prompts=3, **WAYS[way])
    count = len(rows) // 3
    for number, token_range in enumerate(ranges):
        texts = TinyConstraint(dfa, suffix, token_range).texts
        assert all(text_of(row) in texts for row in rows[number * count : (number + 1) * count])


def test_more_beams_than_texts_give_the_texts_first() -> None:
    constraint = TinyConstraint(contains(1, 1, 1), (3, EOS), (3, 3))
    rows = write(processor_of(constraint), 5, num_beams=5, num_return_sequences=5)
    assert text_of(rows[0]) == (1, 1, 1, 3, EOS)
    scores = MODEL.generate(
        torch.tensor([PROMPT]),
        logits_processor=LogitsProcessorList([processor_of(constraint)]),
        max_new_tokens=5,
        num_beams=5,
        num_return_sequences=5,
        eos_token_id=EOS,
        pad_token_id=EOS,
        return_dict_in_generate=True,
        output_scores=True,
    )
    assert not any(step.isnan().any() for step in scores.scores)
    assert not scores.sequences_scores.isnan().any()


def test_a_language_model_with_another_end_of_text_goes_on_with_ours() -> None:
    constraint = CONSTRAINTS["a keyword"]
    for way in ("greedy", "sampling", "beams"):
        rows = write(processor_of(constraint), 12, eos_token_id=VOCAB, pad_token_id=VOCAB, **WAYS[way])
        for row, content in zip(rows, extract_generated_ids(rows, PROMPT, constraint.suffix, EOS), strict=True):
            assert text_of(row) in constraint.texts
            assert set(row[len(PROMPT) + len(text_of(row)) :]) <= {EOS}
            assert constraint.dfa.accepts(content)


def test_one_processor_serves_several_calls() -> None:
    constraint = CONSTRAINTS["suffix like content"]
    processor = processor_of(constraint)
    first = write(processor, 8, num_beams=3, num_return_sequences=3)
    assert write(processor, 8, num_beams=3, num_return_sequences=3) == first
    assert text_of(write(processor, 8)[0]) in constraint.texts


def test_beam_search_finds_the_most_likely_text_when_it_is_wide_enough() -> None:
    constraint = TinyConstraint(contains(1), (3, EOS), (2, 3))
    processor = processor_of(constraint)
    best, best_score = None, -float("inf")
    for text in constraint.texts:
        rows = torch.tensor([[*PROMPT, *text]])
        logits = MODEL(rows).logits.log_softmax(-1)
        score = 0.0
        for position, token in enumerate(text):
            here = len(PROMPT) + position
            score += float(processor(rows[:, :here], logits[:, here - 1])[0, token])
        if score > best_score:
            best, best_score = text, score
    rows = write(processor, 5, num_beams=40, length_penalty=0.0)
    assert text_of(rows[0]) == best
