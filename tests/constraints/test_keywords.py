"""What must occur: usual spellings count, parts of words and rarer spellings do not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ctrlg.automata.dfa import DFA
from ctrlg.constraints import Keywords, Ordered, WordCount
from ctrlg.errors import ArgumentError, ConstraintError
from ctrlg.vocabulary.token_bytes import Vocabulary


def accepts(dfa: DFA, vocabulary: Vocabulary, content: str) -> bool:
    (ids,) = vocabulary.spell([content])
    assert ids is not None
    return dfa.accepts(ids)


@pytest.mark.parametrize(
    "content",
    [
        "The dog ran",
        " the dog, ran",
        "Dog",
        "dog",
        " A Dog's",
        '"Dog',
        " (dog)",
        "\nDog",
        " hot dog-",
    ],
)
def test_usual_spellings_count(content: str, gpt2: Vocabulary) -> None:
    assert Keywords(["dog"]).holds(content)
    assert accepts(Keywords(["dog"]).compile(gpt2, suffix="."), gpt2, content)


@pytest.mark.parametrize("content", [" dogs", " hotdog", " dogma", " do g", " dog2", " dog_", " dogé", ""])
def test_other_words_do_not(content: str, vocabulary: Vocabulary) -> None:
    assert not Keywords(["dog"]).holds(content)
    assert not accepts(Keywords(["dog"]).compile(vocabulary), vocabulary, content)


def test_art_is_not_kept_by_party(vocabulary: Vocabulary) -> None:
    assert not accepts(Keywords(["art"]).compile(vocabulary), vocabulary, " party")
    assert accepts(Keywords(["art"], whole_word=False).compile(vocabulary), vocabulary, " party")


def test_the_suffix_may_continue_the_word(vocabulary: Vocabulary) -> None:
    keywords = Keywords(["dog"])
    for suffix, kept in ((".", True), ("s.", False), ("", True), (" s.", True), ("é", False), ("”", True)):
        assert accepts(keywords.compile(vocabulary, suffix=suffix), vocabulary, " the dog") == kept


def test_the_prefix_may_begin_or_hold_the_word(vocabulary: Vocabulary) -> None:
    keywords = Keywords(["dog"])
    for prefix, content, kept in (
        ("The ", "dog", True),
        ("hot", "dog", False),
        ("hot-", "dog", True),
        ("The do", "g", True),
        ("The dog", " ran", True),
        ("The dog", "s", False),
        ("My dog and", "", True),
    ):
        text = prefix + content
        assert keywords.holds(text) == kept
        assert accepts(keywords.compile(vocabulary, prefix=prefix), vocabulary, content) == kept, text


def test_phrases_and_alternatives(vocabulary: Vocabulary) -> None:
    keywords = Keywords([["hot dog", "park"], "the"])
    dfa = keywords.compile(vocabulary)
    for content, kept in (
        (" the hot dog", True),
        (" a park the", True),
        (" the dog", False),
        (" hot dog", False),
        (" the hot the dog", False),
    ):
        assert keywords.holds(content) == kept
        assert accepts(dfa, vocabulary, content) == kept


def test_order(vocabulary: Vocabulary) -> None:
    ordered = Ordered(["dog", ["park", "cat"], "dog"])
    dfa = ordered.compile(vocabulary)
    for content, kept in (
        (" dog cat dog", True),
        (" the dog dog a park, dog", True),
        (" dog cat", False),
        (" cat dog dog", False),
        (" dog cats dog", False),
    ):
        assert ordered.holds(content) == kept
        assert accepts(dfa, vocabulary, content) == kept, content


def test_kept_spans() -> None:
    keywords = Keywords([["dog", "dogs"], ["hot dog"]])
    text = "Dogs eat a hot dog; hotdogs do not."
    assert [text[a:b] for a, b in keywords.kept_spans(text)] == ["Dogs", "hot dog"]
    text = "the dog, the cat, the dog"
    assert Ordered(["cat", "dog"]).kept_spans(text) == [(13, 16), (22, 25)]
    assert Ordered(["cat", "bird"]).kept_spans(text) == [(13, 16)]


def test_real_sentences_are_recognised(shared_data: Path, gpt2: Vocabulary) -> None:
    """CommonGen's references keep their concepts, and the automaton sees it as the text check does."""
    with (shared_data / "commongen" / "validation.jsonl").open() as lines:
        sets = [json.loads(line) for line in lines][:990:110]
    held = seen = total = 0
    for concept_set in sets:
        keywords = Keywords(concept_set["concepts"], inflect=True)
        dfa = keywords.compile(gpt2)
        for reference in concept_set["references"]:
            total += 1
            held += keywords.holds(reference)
            seen += accepts(dfa, gpt2, reference)
    assert total > 30
    assert held >= 0.98 * total
    assert held >= seen >= 0.98 * held


def test_five_concepts_with_a_word_count_stay_small_and_quick(gpt2: Vocabulary) -> None:
    constraint = Keywords(["ski", "mountain", "skier", "snow", "jump"], inflect=True) & WordCount(8, 12)
    constraint.compile(gpt2, suffix=".")
    start = time.process_time()
    dfa = constraint.compile(gpt2, suffix=".")
    assert time.process_time() - start < 1.5  # seconds; 0.3 on an idle core
    assert dfa.num_states < 2500 and dfa.num_classes < 80
    text = " A skier skied down a snowy mountain, jumping in the snow"
    assert constraint.holds(text) and accepts(dfa, gpt2, text)
    assert not accepts(dfa, gpt2, " A skier skied down a snowy mountain, jumping")


def test_the_same_given_twice_is_one_constraint(synthetic: Vocabulary) -> None:
    assert Keywords(["dog"] * 3000) == Keywords(["dog"])
    twice = [["dog", "the  cat"], ["the cat", "DOG", "dog"], "the\tcat", "café", "cafe\u0301", "dog"]
    once = [["dog", "the  cat"], "the\tcat", "café", "cafe\u0301", "dog"]
    assert Keywords(twice).groups == Keywords(once).groups
    assert len(Keywords(["dog", "Dog", "dogs", ["dog", "dogs"]]).groups) == 3
    assert Keywords(["Dog", "dog"], inflect=True).forms == Keywords(["Dog"], inflect=True).forms
    assert Ordered(["dog", "dog"]).compile(synthetic).num_states > Ordered(["dog"]).compile(synthetic).num_states
    assert Ordered([["dog", "DOG"], "dog"]).groups == (("dog",), ("dog",))
    assert not Ordered(["dog", "dog"]).holds("a dog")


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match="groups is 'dog'"):
        Keywords("dog")
    with pytest.raises(ConstraintError, match="without phrases"):
        Keywords([["dog"], []])
    with pytest.raises(ConstraintError, match="is no phrase"):
        Ordered(["dog", " "])


def test_nothing_asked_for_is_always_kept(synthetic: Vocabulary) -> None:
    for constraint in (Keywords([]), Ordered([])):
        assert constraint.holds("")
        assert constraint.compile(synthetic).accepts([])
