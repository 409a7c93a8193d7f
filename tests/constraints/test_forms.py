"""Inflections, and to which concept a form belongs."""

from __future__ import annotations

import pytest

from ctrlg.constraints import Keywords
from ctrlg.constraints.forms import forms_of, inflections
from ctrlg.evaluation.metrics.success import covered


def test_all_inflections_of_the_lemma() -> None:
    assert {"ski", "skis", "skied", "skiing"} <= set(inflections("ski"))
    assert {"child", "children"} <= set(inflections("child"))
    assert {"good", "better", "best"} <= set(inflections("good"))
    assert inflections("dog")[0] == "dog"


def test_words_that_are_no_lemma_or_in_no_dictionary() -> None:
    assert {"dancing", "dance", "danced"} <= set(inflections("dancing"))
    assert {"blorp", "blorps", "blorped", "blorping"} <= set(inflections("blorp"))


def test_one_word_of_a_phrase_at_a_time() -> None:
    assert {"hot dog", "hot dogs", "hotter dog"} <= set(inflections("hot dog"))
    assert "hotter dogs" not in inflections("hot dog")


def test_a_concept_is_no_inflection_of_another() -> None:
    see, saw = forms_of([["see"], ["saw"]])
    assert "saw" in saw and "saw" not in see and "seen" in see
    leaf, leave = forms_of([["leaf"], ["leave"]])
    assert "leaves" not in leaf + leave and "leaf" in leaf and "left" in leave


def test_written_forms_stay_with_every_group_that_has_them() -> None:
    first, second = forms_of([["dog", "dogs"], ["dogs"]])
    assert "dogs" in first and "dogs" in second


def test_groups_are_disjoint_on_real_concepts() -> None:
    groups = forms_of([["ski"], ["skier"], ["mountain"], ["stand"], ["look"]])
    flat = [form for group in groups for form in group]
    assert len(flat) == len(set(flat))
    assert "skier" not in groups[0]


def test_keywords_with_inflections() -> None:
    keywords = Keywords(["see", "saw"], inflect=True)
    assert not keywords.holds("He saw it.")
    assert keywords.holds("He saw it and sees it.")
    assert Keywords(["dog"], inflect=True).holds("Two Dogs.")
    assert not Keywords(["dog"]).holds("Two Dogs.")


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("mother-in-law", {"mothers-in-law"}),
        ("passer-by", {"passers-by"}),
        ("man-of-war", {"men-of-war"}),
        ("runner-up", {"runners-up"}),
        ("push-up", {"push-ups"}),
        ("ice-skate", {"ice-skates", "ice-skated", "ice-skating"}),
        ("t-shirt", {"t-shirts"}),
        ("lie", {"lay", "lain", "lying", "lied"}),
        ("prove", {"proven", "proved"}),
        ("person", {"people", "persons"}),
        ("spokesperson", {"spokespeople", "spokespersons"}),
        ("businessperson", {"businesspeople"}),
        ("frenchwoman", {"frenchwomen"}),
        ("ox", {"oxen"}),
        ("chateau", {"chateaux"}),
        ("salesperson in a shop", {"salespeople in a shop"}),
        ("oxen", {"ox"}),
        ("lain", {"lie", "lying"}),
        ("mothers-in-law", {"mother-in-law"}),
    ],
)
def test_compounds_and_irregular_forms_count_for_constraint_and_judge(word: str, forms: set[str]) -> None:
    assert forms <= set(inflections(word))
    for form in forms:
        text = f"Now the {form} are here."
        assert Keywords([[word]], inflect=True).holds(text)
        assert covered(text, [word]) == [True]


def test_people_belong_to_people_where_both_are_asked_for() -> None:
    assert covered("Two people.", ["person", "people"]) == [False, True]
    assert "humen" not in inflections("human")


@pytest.mark.parametrize("word", ["-", "--", "-a", "a-", "-in-", "in-law", "a-b-c-d"])
def test_hyphens_anywhere_do_no_harm(word: str) -> None:
    assert inflections(word)[0] == word
