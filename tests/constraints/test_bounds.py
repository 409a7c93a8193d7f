"""No constraint works without an end: few states are met on the way, and what is too large is refused in time."""

from __future__ import annotations

import pytest

from ctrlg.constraints import Constraint, EndsWith, Exclude, Keywords, Ordered, WordCount
from ctrlg.constraints.base import Target
from ctrlg.constraints.phrases import construction
from ctrlg.errors import BudgetError, ConstraintError
from ctrlg.vocabulary.token_bytes import Vocabulary

BYTES = Vocabulary(tuple(bytes([value]) for value in range(256)), eos_token_id=0)  # every character can be cut in two
REPETITIVE = {
    "one word": lambda count: " ".join(["ha"] * count),
    "two words": lambda count: " ".join(["a", "b"] * count),
    "one syllable": lambda count: "ha" * count,
    "one letter": lambda count: "a" * count,
    "letters a space can share its first byte with": lambda count: " ".join(["µ"] * count),
    "letters of three bytes": lambda count: " ".join(["ế"] * count),
    "two such letters": lambda count: " ".join(["ế", "ở"] * count),
    "kana": lambda count: " ".join(["ま"] * count),
    "signs": lambda count: " ".join(["—", "…"] * count),
    "letters with two lower cases": lambda count: " ".join(["\u017fs", "\u0131i"] * count),
    "nearly the same": lambda count: " ".join(["ha"] * count + ["ho"]),
}
MAKERS = {
    "Keywords": lambda phrase: Keywords([phrase]),
    "Exclude": lambda phrase: Exclude([phrase]),
    "Exclude parts": lambda phrase: Exclude([phrase], whole_word=False),
    "not EndsWith": lambda phrase: ~EndsWith([phrase]),
    "Ordered": lambda phrase: Ordered([phrase, phrase]),
    "alternatives": lambda phrase: Keywords([[phrase, f"{phrase} {phrase}", f"no {phrase}"]]),
}


@pytest.fixture
def states_met(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the number of states of each subset construction."""
    met: list[int] = []
    explore = construction.explore_one_by_one

    def counted(*arguments: object) -> object:
        states, table = explore(*arguments)  # type: ignore[arg-type]
        met.append(len(states))
        return states, table

    monkeypatch.setattr(construction, "explore_one_by_one", counted)
    return met


@pytest.mark.parametrize("repeat", REPETITIVE.values(), ids=REPETITIVE)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_states_grow_at_most_with_the_square_of_the_phrase(make, repeat, states_met: list[int]) -> None:  # noqa: ANN001
    for count in (4, 8):
        make(repeat(count)).automaton(Target(BYTES))
    once, twice = states_met[: len(states_met) // 2], states_met[len(states_met) // 2 :]
    assert sum(twice) <= 4 * sum(once)  # sixteen times and more where they doubled with each repetition


def test_forty_words_of_the_default_tokenizer(default_model, states_met: list[int]) -> None:  # noqa: ANN001
    phrase = " ".join(["ha"] * 40)
    kept = Keywords([phrase]).compile(default_model[1])
    assert max(states_met) < 400
    assert kept.num_states == 44


@pytest.mark.parametrize(
    "constraint",
    [
        WordCount(1, 99_999_999),
        WordCount(2_000_000_000),
        ~WordCount(0, 1_000_000_000),
        Keywords([" ".join(["ha"] * 5000)]),
        Keywords(["x" * 10_000]) & WordCount(1, 5),
        Exclude([f"word{number}" for number in range(5000)]),
        EndsWith(["x" * 10_000]),
        Ordered([" ".join(["ha"] * 1000)] * 4),
        Keywords([f"w{number}" for number in range(100)]),
    ],
    ids=lambda constraint: str(constraint)[:40],
)
def test_refused_with_the_name_and_the_size(constraint: Constraint) -> None:
    with pytest.raises(BudgetError, match=r"\d") as refusal:
        constraint.compile(BYTES, max_states=2000)
    assert "2,000" in str(refusal.value)
    assert refusal.value.hint
    assert len(str(refusal.value)) < 3000


def test_nothing_is_explored_beyond_the_limit(states_met: list[int]) -> None:
    with pytest.raises(BudgetError):
        Keywords([" ".join(["ha"] * 100)]).compile(BYTES, max_states=50)
    assert not states_met


def test_word_counts_up_to_the_limit() -> None:
    assert WordCount(1, 48).compile(BYTES, max_states=100).accepts(b"one two")
    with pytest.raises(BudgetError, match="max_states is 100"):
        WordCount(1, 50).compile(BYTES, max_states=100)
    with_prefix = WordCount(1, 50).compile(BYTES, prefix="one two three ", max_states=100)
    assert with_prefix.accepts(b"four")


def test_a_table_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctrlg.automata.exploration.MAX_ENTRIES", 20)
    with pytest.raises(BudgetError, match=r"dog.* transitions"):
        Keywords(["dog"]).compile(BYTES)


def test_a_long_prefix_and_suffix_are_read_once() -> None:
    dfa = Keywords(["dog"]).compile(BYTES, prefix="no cat " * 20_000, suffix=" no cat" * 20_000)
    assert dfa.accepts(b"dog")
    assert not dfa.accepts(b"do")


def test_the_doubt_about_a_character_ends_with_it() -> None:
    dfa = Exclude(["ế ế"]).compile(BYTES)
    assert dfa.accepts("ếế".encode())
    assert not dfa.accepts("ế\u2003ế".encode())
    assert not dfa.accepts("ế ế".encode())


def test_conflicts_are_named_within_the_same_limit() -> None:
    with pytest.raises(ConstraintError, match="dog"):
        (Keywords(["dog"]) & Exclude(["dog"]) & WordCount(1, 20)).compile(BYTES, max_states=500)
