"""`Generator`: what it keeps from call to call, and that keeping changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

import ctrlg
from ctrlg import Exclude, Generator, Keywords, WordCount
from ctrlg.automata.dfa import DFA
from ctrlg.decoding import ConstraintLogitsProcessor, guides
from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.generation import generate, generate_many, prepared
from ctrlg.hmm import HMM

TOKENIZER = tiny_tokenizer()
EOS = int(TOKENIZER.eos_token_id)  # type: ignore[arg-type]
MODEL = tiny_language_model(len(TOKENIZER))
CONSTRAINT = Keywords([["dog"], ["park"]]) & WordCount(2, 5)
SHORT: dict[str, Any] = {"suffix": ".", "max_new_tokens": 9, "num_beams": 3}


@pytest.fixture
def hmm() -> HMM:
    torch.manual_seed(1)
    return HMM(4, len(TOKENIZER), EOS)


@pytest.fixture
def prepared_so_far(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one whenever tables are made."""
    made: list[Any] = []

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return guides.guide_of(*arguments)

    monkeypatch.setattr(prepared, "guide_of", counted)
    return made


def texts(results: list[ctrlg.GenerationResult]) -> list[tuple[str, float]]:
    return [(result.text, result.total_log_prob) for result in results]


def test_the_second_call_prepares_nothing_and_writes_the_same(hmm: HMM, prepared_so_far: list[Any]) -> None:
    generator = Generator(MODEL, TOKENIZER, hmm)
    first = generator(CONSTRAINT, n=2, **SHORT)
    assert len(prepared_so_far) == 1 and all(result.satisfied for result in first)
    assert texts(first) == texts(generate(MODEL, TOKENIZER, hmm, CONSTRAINT, num_return_sequences=2, **SHORT))
    del prepared_so_far[:]
    again = generator(Keywords([["dog"], ["park"]]) & WordCount(2, 5), n=2, **SHORT)  # equal, not the same object
    assert texts(again) == texts(first) and not prepared_so_far
    assert generator(CONSTRAINT, do_sample=True, seed=1, suffix=".", max_new_tokens=9) and not prepared_so_far


@pytest.mark.parametrize(
    "changed",
    [{"suffix": " run."}, {"prefix": "the"}, {"max_new_tokens": 8}, {"min_new_tokens": 2}, {"soft_mask": True}],
    ids=str,
)
def test_another_place_is_prepared_on_its_own(hmm: HMM, prepared_so_far: list[Any], changed: dict[str, Any]) -> None:
    generator = Generator(MODEL, TOKENIZER, hmm)
    generator(CONSTRAINT, **SHORT)
    found = generator(CONSTRAINT, **(SHORT | changed))
    assert len(prepared_so_far) == 2
    assert texts(found) == texts(generate(MODEL, TOKENIZER, hmm, CONSTRAINT, **(SHORT | changed)))


def test_the_last_constraints_are_kept(hmm: HMM, prepared_so_far: list[Any]) -> None:
    generator = Generator(MODEL, TOKENIZER, hmm, kept=2)
    for word in ("dog", "park", "run", "park", "run", "dog"):
        generator(Keywords([word]), **SHORT)
    assert len(prepared_so_far) == 4
    nothing = Generator(MODEL, TOKENIZER, hmm, kept=0)
    del prepared_so_far[:]
    for _ in range(2):
        nothing(CONSTRAINT, **SHORT)
    assert len(prepared_so_far) == 2


def test_tables_beyond_the_memory_for_them_are_not_kept(
    hmm: HMM, prepared_so_far: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "TABLE_BYTES", 1)
    generator = Generator(MODEL, TOKENIZER, hmm)
    expected = texts(generator(CONSTRAINT, **SHORT))
    assert texts(generator(CONSTRAINT, **SHORT)) == expected
    assert len(prepared_so_far) == 2


def test_an_hmm_that_was_trained_meanwhile_is_asked_anew(hmm: HMM, prepared_so_far: list[Any]) -> None:
    generator = Generator(MODEL, TOKENIZER, hmm)
    generator(CONSTRAINT, **SHORT)
    torch.manual_seed(5)
    other = HMM(4, len(TOKENIZER), EOS)
    hmm.update_params(other.alpha_exp, other.beta, other.gamma)
    assert texts(generator(CONSTRAINT, **SHORT)) == texts(generate(MODEL, TOKENIZER, other, CONSTRAINT, **SHORT))
    with torch.no_grad():
        hmm.gamma.copy_(torch.log_softmax(torch.randn(4), dim=0))
    found = generator(CONSTRAINT, **SHORT)
    assert texts(found) == texts(generate(MODEL, TOKENIZER, hmm, CONSTRAINT, **SHORT))
    assert len(prepared_so_far) == 5


def test_a_batch_shares_what_is_kept(hmm: HMM, prepared_so_far: list[Any]) -> None:
    constraints = [CONSTRAINT, Keywords(["run"]), CONSTRAINT, Keywords(["dog"]) & Exclude(["park"])]
    generator = Generator(MODEL, TOKENIZER, hmm)
    found = generator.batch(constraints, n=2, **SHORT)
    assert len(prepared_so_far) == 3
    alone = generate_many(MODEL, TOKENIZER, hmm, constraints, num_return_sequences=2, **SHORT)
    assert [texts(results) for results in found] == [texts(results) for results in alone]


def test_automata_are_kept_by_being_the_same_object(prepared_so_far: list[Any]) -> None:
    generator = Generator(MODEL, TOKENIZER, eos_token_id=EOS)
    dfa = Keywords(["dog"]).compile(TOKENIZER)
    first = generator(dfa, **SHORT)
    assert texts(generator(dfa, **SHORT)) == texts(first) and len(prepared_so_far) == 1
    generator(DFA(dfa.class_of, dfa.delta, dfa.initial, dfa.accepting), **SHORT)
    assert len(prepared_so_far) == 2


def test_threads_share_a_generator(hmm: HMM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "LEAST_TABLE_BYTES", 1)
    monkeypatch.setattr(prepared, "TABLE_BYTES", 1)  # so that tables are computed again while others read them
    generator = Generator(MODEL, TOKENIZER, hmm)
    constraints = [Keywords([word]) for word in ("dog", "park", "run")] * 4
    expected = [texts(generator(constraint, **SHORT)) for constraint in constraints]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda constraint: texts(generator(constraint, **SHORT)), constraints))
    assert found == expected


def test_what_cannot_work_is_refused(hmm: HMM) -> None:
    wrong: Any
    for wrong in ({"max_states": 0}, {"kept": -1}, {"eos_token_id": "x"}):
        with pytest.raises(ArgumentError):
            Generator(MODEL, TOKENIZER, hmm, **wrong)
    with pytest.raises(ArgumentError):
        Generator(TOKENIZER, MODEL, hmm)
    generator = Generator(MODEL, TOKENIZER, hmm)
    for options in ({"num_return_sequences": 2}, {"max_states": 5}, {"beams": 3}, {"n": 0}):
        with pytest.raises(ArgumentError) as refused:
            generator(CONSTRAINT, **options)
        assert refused.value.hint


def test_a_guide_of_several_ranges_is_refused_for_one_processor(hmm: HMM) -> None:
    dfa = Keywords(["dog"]).compile(TOKENIZER)
    several = guides.guide_of(hmm, dfa, None, [], [[1, 4], [2, 6]], EOS)
    with pytest.raises(ArgumentError, match="2 token ranges"):
        ConstraintLogitsProcessor.from_guide(hmm, several, [EOS])
    one = guides.guide_of(hmm, dfa, None, [], [[1, 4]], EOS)
    wrong: Any
    for wrong in ({"temperature": 0}, {"strength": -1.0}, {"prefix_ids": [len(TOKENIZER)]}):
        with pytest.raises((ArgumentError, VocabularyError)):
            ConstraintLogitsProcessor.from_guide(hmm, one, [EOS], **wrong)
    with pytest.raises(ArgumentError, match="soft mask"):
        mask_alone = guides.guide_of(None, dfa, None, [], [[1, 4]], EOS)
        ConstraintLogitsProcessor.from_guide(None, mask_alone, [EOS], soft_mask=True)
