"""Several constraints side by side: each gets what it would get alone, and scores are those that reading again
gives."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.constraints import Exclude, Keywords, WordCount
from ctrlg.errors import ArgumentError, BudgetError
from ctrlg.generation import GenerationResult, generate, generate_many, score_generated_ids
from ctrlg.generation.path_scores import PathScores
from ctrlg.hmm import HMM

TOKENIZER = tiny_tokenizer()
EOS: int = cast(int, TOKENIZER.eos_token_id)
MODEL = tiny_language_model(len(TOKENIZER) + 3)
CONSTRAINTS = [
    Keywords([["dog", "dogs"], ["park"]]) & WordCount(2, 5),
    Exclude(["dog"]) & WordCount(3, 4),
    Keywords([["park"]]),
]
SHORT: dict[str, Any] = {"suffix": ".", "max_new_tokens": 9, "num_beams": 4, "num_return_sequences": 4}


@pytest.fixture(scope="module")
def hmm() -> HMM:
    torch.manual_seed(1)
    return HMM(4, len(TOKENIZER), EOS)


def same(ours: list[GenerationResult], theirs: list[GenerationResult]) -> bool:
    return [result.text for result in ours] == [result.text for result in theirs] and [
        result.total_log_prob for result in ours
    ] == pytest.approx([result.total_log_prob for result in theirs], abs=1e-4)


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("options", [{}, {"prefix": "the", "suffix": " run."}, {"soft_mask": True}])
def test_each_constraint_gets_what_it_gets_alone(hmm: HMM, guided: bool, options: dict[str, Any]) -> None:
    if not guided and "soft_mask" in options:
        pytest.skip("a soft mask without an HMM steers nothing")
    guide = hmm if guided else None
    together = generate_many(MODEL, TOKENIZER, guide, CONSTRAINTS, **(SHORT | options))
    for constraint, results in zip(CONSTRAINTS, together, strict=True):
        assert results
        assert same(results, generate(MODEL, TOKENIZER, guide, constraint, **(SHORT | options)))


def test_prompts_of_different_lengths_stand_side_by_side(hmm: HMM) -> None:
    prompts = ["run", "run run the dog", [EOS]]
    together = generate_many(MODEL, TOKENIZER, hmm, CONSTRAINTS, prompts, **SHORT)
    for constraint, prompt, results in zip(CONSTRAINTS, prompts, together, strict=True):
        assert same(results, generate(MODEL, TOKENIZER, hmm, constraint, prompt, **SHORT))


@pytest.mark.parametrize("options", [{}, {"num_beams": None, "do_sample": True, "seed": 3}, {"suffix": " run."}])
def test_scores_are_those_of_reading_again(hmm: HMM, options: dict[str, Any]) -> None:
    suffix = [*TOKENIZER.encode(options.get("suffix", "."), add_special_tokens=False), EOS]
    together = generate_many(MODEL, TOKENIZER, hmm, CONSTRAINTS, ["run the", "dog", "park dog"], **(SHORT | options))
    for results in together:
        for result in results:
            assert result.log_prob == pytest.approx(result.total_log_prob / (len(result.token_ids) + len(suffix)))
    prompt = TOKENIZER.encode("park dog")
    read = score_generated_ids(MODEL, [result.token_ids for result in together[-1]], prompt, suffix)
    for result, scored in zip(together[-1], read, strict=True):
        assert result.total_log_prob == pytest.approx(scored.total, abs=1e-4)


def test_scores_do_not_depend_on_options_that_change_what_is_seen(hmm: HMM) -> None:
    (results,) = generate_many(MODEL, TOKENIZER, hmm, CONSTRAINTS[:1], **SHORT, repetition_penalty=3.0)
    suffix = [*TOKENIZER.encode(".", add_special_tokens=False), EOS]
    read = score_generated_ids(MODEL, [result.token_ids for result in results], [EOS], suffix)
    assert [result.total_log_prob for result in results] == pytest.approx([scored.total for scored in read], abs=1e-4)


def test_paths_are_known_as_far_as_they_were_read() -> None:
    torch.manual_seed(0)
    paths = PathScores(prompt_length=1, end=2)
    first, second = torch.randn(2, 5), torch.randn(3, 5)
    assert paths(torch.tensor([[9], [9]]), first) is first
    paths(torch.tensor([[9, 4], [9, 0], [9, 4]]), second)
    logs, next_logs = first.log_softmax(1), second.log_softmax(1)
    assert paths.total(()) == pytest.approx(float(logs[1, 2]))  # the last of equal rows, which a search never has
    assert paths.total((0,)) == pytest.approx(float(logs[1, 0] + next_logs[1, 2]))
    assert paths.total((1,)) is None and paths.total((0, 1)) is None


def test_what_cannot_work_is_refused(hmm: HMM) -> None:
    with pytest.raises(ArgumentError, match="0 constraints, 0 prompts"):
        generate_many(MODEL, TOKENIZER, hmm, [], suffix=".")
    with pytest.raises(ArgumentError, match="3 constraints, 1 prompts"):
        generate_many(MODEL, TOKENIZER, hmm, CONSTRAINTS, ["run"], suffix=".")
    with pytest.raises(BudgetError):
        generate_many(MODEL, TOKENIZER, hmm, CONSTRAINTS, suffix=".", max_new_tokens=1)
