"""A banned word cannot be written, by whatever tokens."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from ctrlg.automata.dfa import DFA
from ctrlg.constraints import Exclude
from ctrlg.errors import ArgumentError, ConstraintError, UnsatisfiableError
from ctrlg.vocabulary.token_bytes import Vocabulary


def smuggle(dfa: DFA, vocabulary: Vocabulary, words: list[str], texts: int, length: int) -> list[str]:
    """Texts of a random language model that does its best to write the words, under the automaton's mask."""
    draw = random.Random(0)
    text = " ".join(words)
    tempting = np.zeros(vocabulary.vocab_size, dtype=bool)
    for token, data in enumerate(vocabulary.token_bytes):
        piece = (data or b"").decode(errors="replace").lower().strip(" \n\t-_'\".,(\ufffd")
        tempting[token] = piece in text
    live = dfa.distances() < DFA.UNREACHABLE
    choices: dict[int, tuple[list[int], list[int]]] = {}
    spaces, cases = (" ", "", "\n"), (str, str.upper, str.capitalize)
    spelled = vocabulary.spell([space + case(word) for word in words for space in spaces for case in cases])
    written = []
    for _ in range(texts):
        state, ids, plan = dfa.initial, [], []
        while len(ids) < length or not dfa.accepting[state]:
            if state not in choices:
                allowed = live[dfa.delta[state]][dfa.class_of]
                choices[state] = np.flatnonzero(allowed & tempting).tolist(), np.flatnonzero(allowed).tolist()
            if not plan and draw.random() < 0.2:
                plan = list(draw.choice(spelled) or ())
            if plan and live[dfa.step(state, plan[0])]:
                ids.append(plan.pop(0))
            else:
                plan = []
                ids.append(draw.choice(choices[state][draw.random() < 0.2]))
            state = dfa.step(state, ids[-1])
        written.append(vocabulary.decode(ids))
    return written


@pytest.mark.parametrize("words", [["dog"], ["kiss", "hot dog"], ["café"]], ids=str)
def test_a_random_language_model_cannot_smuggle_it_in(words: list[str], vocabulary: Vocabulary) -> None:
    dfa = Exclude(words).compile(vocabulary)
    texts = smuggle(dfa, vocabulary, words, texts=2000, length=12)
    free = smuggle(Exclude(["zzz"]).compile(vocabulary), vocabulary, words, texts=200, length=12)
    for word in words:
        pattern = re.escape(word).replace(r"\ ", r"\s+")
        banned = re.compile(rf"\b{pattern}\b|(?<![a-z\u00c0-\u024f]){pattern}(?![a-z\u00c0-\u024f])", re.IGNORECASE)
        assert not [text for text in texts if banned.search(text)]
        assert len([text for text in free if banned.search(text)]) > 50, "the test would not notice"


def test_whole_words_under_the_lenient_reading() -> None:
    ban = Exclude(["dog", "7"])
    for text in (
        "A dog.",
        "DOG",
        "dog's",
        "hot-dog",
        "_dog_",
        "dog2",
        "\u201cdog\u201d",
        "at 7",
        "7th",
        "dog\ufffd",
        "dog\u0434",
    ):
        assert not ban.holds(text), text
    for text in ("dogs", "hotdog", "17", "70", "dogé", ""):
        assert ban.holds(text), text


def test_words_across_the_seams(vocabulary: Vocabulary) -> None:
    dfa = Exclude("dog").compile(vocabulary, prefix="a do", suffix="g")
    for content, allowed in (("", False), ("g", True), ("ug", True), ("g ", False), ("gs", True), ("t do", False)):
        (ids,) = vocabulary.spell([content])
        assert dfa.accepts(ids or ()) == allowed, content
    (banned,) = vocabulary.spell(["g a"])
    assert not dfa.accepts(banned or ())


def test_phrases_with_any_white_space(vocabulary: Vocabulary) -> None:
    dfa = Exclude("hot dog").compile(vocabulary)
    for content, allowed in (
        (" hot dog", False),
        (" hot \n\tDOG", False),
        (" hot\u00a0dog", False),
        (" hot, dog", True),
        (" hotdog", True),
        (" hot dogs", True),
    ):
        (ids,) = vocabulary.spell([content])
        assert dfa.accepts(ids or ()) == allowed, content


def test_letters_that_python_holds_equal_but_for_case(vocabulary: Vocabulary) -> None:
    dfa = Exclude("kiss").compile(vocabulary)
    for word in ("KISS", "\u212aiss", "ki\u017fs"):
        assert re.fullmatch("kiss", word, re.IGNORECASE)
        (ids,) = vocabulary.spell([word])
        assert not dfa.accepts(ids or ())


def test_composed_and_decomposed_accents_are_one() -> None:
    assert not Exclude("café").holds("a cafe\u0301 ")
    assert not Exclude("cafe\u0301").holds("a café ")


def test_scripts_without_spaces_have_no_inner_words() -> None:
    assert not Exclude("狗").holds("小狗跑")


def test_few_states(gpt2: Vocabulary) -> None:
    assert Exclude("dog").compile(gpt2).num_states == 6


def test_many_phrases(synthetic: Vocabulary) -> None:
    words = [a + b + c for a in "bcdfg" for b in "aeio" for c in "lmnprst"]
    dfa = Exclude(words).compile(synthetic)
    assert not any(dfa.accepts(ids or ()) for ids in synthetic.spell(words))


def test_the_same_given_twice_is_banned_once() -> None:
    assert Exclude(["dog", "Dog", "the cat", "the  cat"] * 1000) == Exclude(["dog", "the cat"])


def test_refusals(synthetic: Vocabulary) -> None:
    for phrases in ([""], ["dog", " "]):
        with pytest.raises(ConstraintError, match="is no phrase"):
            Exclude(phrases)
    with pytest.raises(ArgumentError, match=r"phrases\[0\] is 3"):
        Exclude([3])  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnsatisfiableError, match="never 'dog'") as refusal:
        Exclude("dog").compile(synthetic, prefix="My dog ")
    assert "prefix" in refusal.value.hint


def test_nothing_banned_is_always_kept(synthetic: Vocabulary) -> None:
    assert Exclude([]).holds("anything")
    assert Exclude([]).compile(synthetic).num_states == 2
