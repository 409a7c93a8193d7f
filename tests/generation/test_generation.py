from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.automata.dfa import DFA
from ctrlg.compat import AhoCorasickBuilder
from ctrlg.constraints import Exclude, Keywords, WordCount
from ctrlg.errors import ArgumentError, BudgetError, VocabularyError
from ctrlg.generation import GenerationResult, generate, score_generated_ids
from ctrlg.generation.generator import LENGTH_PENALTY
from ctrlg.hmm import HMM
from ctrlg.vocabulary.token_bytes import Vocabulary

TOKENIZER = tiny_tokenizer()
EOS: int = cast(int, TOKENIZER.eos_token_id)
MODEL = tiny_language_model(len(TOKENIZER) + 3)
CONSTRAINT = Keywords([["dog", "dogs"], ["park"]]) & WordCount(2, 5)
SHORT: dict[str, Any] = {"suffix": ".", "max_new_tokens": 9, "num_beams": 3}


def random_model(vocab_size: int = len(TOKENIZER)) -> HMM:
    torch.manual_seed(1)
    return HMM(4, vocab_size, EOS)


HMM_MODEL = random_model()


def write(constraint: Any = CONSTRAINT, hmm: Any = HMM_MODEL, **options: Any) -> list[GenerationResult]:
    return generate(MODEL, TOKENIZER, hmm, constraint, **(SHORT | options))


def ranked_by(result: GenerationResult, length_penalty: float) -> float:
    return result.total_log_prob / round(result.total_log_prob / result.log_prob) ** length_penalty


def contents(results: list[GenerationResult]) -> list[tuple[int, ...]]:
    return [result.token_ids for result in results]


@pytest.mark.parametrize("length_penalty", [0.0, 0.5, 1.0])
def test_the_length_penalty_is_that_of_search_and_order(length_penalty: float) -> None:
    results = write(num_beams=8, num_return_sequences=8, length_penalty=length_penalty)
    counts = [round(result.total_log_prob / result.log_prob) for result in results]
    values = [ranked_by(result, length_penalty) for result in results]
    assert values == sorted(values, reverse=True)
    assert len(set(counts)) > 1
    assert (contents(results) == contents(write(num_beams=8, num_return_sequences=8))) == (
        length_penalty == LENGTH_PENALTY
    )


@pytest.mark.parametrize("hmm", [HMM_MODEL, None])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": None, "num_return_sequences": 3},
        {"num_beams": None, "do_sample": True, "num_return_sequences": 4, "seed": 3, "temperature": 0.8},
        {"prefix": "the dogs", "suffix": " run."},
        {"suffix": ""},
        {"prompt": "run run"},
        {"prompt": [EOS, 3]},
    ],
)
def test_texts_keep_the_constraint_and_are_ranked(hmm: HMM | None, options: dict[str, Any]) -> None:
    results = write(hmm=hmm, **options)
    assert 1 <= len(results) <= options.get("num_return_sequences", 1)
    values = [ranked_by(result, LENGTH_PENALTY) for result in results]
    assert values == sorted(values, reverse=True)
    assert len({result.token_ids for result in results}) == len(results)
    for result in results:
        assert result.satisfied and CONSTRAINT.holds(result.text)
        assert result.text.startswith(options.get("prefix", "")) and result.text.endswith(options.get("suffix", "."))
        assert 1 <= len(result.token_ids) <= 9
        assert EOS not in result.token_ids


def test_the_log_prob_is_the_language_model_s() -> None:
    result = write(prefix="the", suffix=" run")[0]
    prompt = [EOS, *TOKENIZER.encode("the")]
    scored = score_generated_ids(MODEL, [result.token_ids], prompt, [*TOKENIZER.encode(" run"), EOS])[0]
    assert result.log_prob == pytest.approx(scored.log_prob)
    assert result.total_log_prob == pytest.approx(scored.total)
    assert result.log_prob == pytest.approx(
        result.total_log_prob / (len(result.token_ids) + len(TOKENIZER.encode(" run")) + 1)
    )


def test_sampling_repeats_with_a_seed_and_leaves_the_generator_alone() -> None:
    options: dict[str, Any] = {"num_beams": None, "do_sample": True, "num_return_sequences": 3}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = write(seed=7, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert write(seed=7, **options) == first
    assert contents(write(seed=8, **options)) != contents(first)


def test_automata_and_graphs_are_constraints_about_tokens() -> None:
    dog = TOKENIZER.encode(" dog")
    graph = AhoCorasickBuilder(len(TOKENIZER)).build([dog])
    result = write(graph)[0]
    assert result.satisfied and " dog" in result.text
    anything = DFA(np.zeros(len(TOKENIZER), dtype=np.int32), np.array([[0]], dtype=np.int32), 0, np.array([True]))
    never = {token for token, data in enumerate(Vocabulary.of(TOKENIZER).token_bytes) if data is None}
    for result in write(anything, num_beams=None, do_sample=True, num_return_sequences=5, seed=0):
        assert result.satisfied and not never & set(result.token_ids)


def test_lengths_are_kept() -> None:
    for length in (3, 6):
        results = write(Exclude(["dog"]), min_new_tokens=length, max_new_tokens=length, num_return_sequences=3)
        assert all(len(result.token_ids) == length and "dog" not in result.text for result in results)


def test_fewer_texts_than_asked_for() -> None:
    only = [TOKENIZER.encode(" dog"), TOKENIZER.encode(" park")]
    delta = np.array([[2, 1, 1], [2, 2, 2], [2, 2, 2]], dtype=np.int32)
    class_of = np.zeros(len(TOKENIZER), dtype=np.int32)
    class_of[only[0][0]], class_of[only[1][0]] = 1, 2
    two = DFA(class_of, delta, 0, np.array([False, True, False]))
    results = write(two, num_beams=6, num_return_sequences=6)
    assert {result.text for result in results} == {" dog.", " park."}


def test_progress_goes_to_the_terminal_only_when_asked(capfd: pytest.CaptureFixture[str]) -> None:
    write()
    assert capfd.readouterr().err == ""
    write(progress=True)
    assert "writing" in capfd.readouterr().err


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no text asked for": ({"num_return_sequences": 0}, ArgumentError, "num_return_sequences is 0"),
    "more texts than beams": ({"num_return_sequences": 4}, ArgumentError, "4 texts from 3 beams"),
    "an empty prompt": ({"prompt": ""}, ArgumentError, "no list of tokens"),
    "a prompt outside": ({"prompt": [10_000]}, ArgumentError, "no list of tokens"),
    "too few tokens": ({"max_new_tokens": 1}, BudgetError, "max_new_tokens is 1"),
    "another vocabulary": ({"hmm": HMM(2, 1000, 0)}, VocabularyError, "the HMM 1000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused(name: str) -> None:
    changes, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        write(**changes)


def test_the_hmm_must_know_the_tokenizer() -> None:
    hmm = random_model()
    hmm.fingerprint = Vocabulary.of(TOKENIZER, hmm.vocab_size, EOS).fingerprint
    assert write(hmm=hmm)
    hmm.fingerprint = "0" * 64
    with pytest.raises(VocabularyError, match="knows vocabulary 000000000000"):
        write(hmm=hmm)


def test_a_soft_mask_shows_what_the_hmm_alone_is_worth() -> None:
    kept = write(num_return_sequences=3, soft_mask=True)
    assert [result.satisfied for result in kept] == [True] * len(kept)  # this HMM thinks everything possible
    never = HMM(4, len(TOKENIZER), EOS)
    emission = torch.zeros(4, len(TOKENIZER))
    emission[:, [*TOKENIZER.encode(" run.", add_special_tokens=False), EOS]] = 1
    never.update_params(HMM_MODEL.transition.to_dense(), (emission / emission.sum(1, keepdim=True)).log(), never.gamma)
    broken = write(hmm=never, soft_mask=True, num_return_sequences=3)
    assert broken
    assert not any(result.satisfied for result in broken)
    assert [result.satisfied for result in write(hmm=never)] == [True]
