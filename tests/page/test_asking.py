"""What visitors type becomes a constraint, or a message at the field that causes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.tiny_models import tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg import Exclude, Keywords, OneLine, OneSentence, Ordered, WordCount
from ctrlg.constraints import AllOf, EndsWith
from ctrlg.page.asking import LONGEST_BEFORE, Refused, asked, fitted
from ctrlg.page.fields import FIELDS, Around, Built, Control, Field, register
from ctrlg.page.jobs import Stopped
from ctrlg.page.spacing import with_space_after
from ctrlg.vocabulary.token_bytes import Vocabulary

VOCABULARY = Vocabulary.of(tiny_tokenizer())


def request(include: Any = (), exclude: Any = (), before: str = "", after: str = "", **values: Any) -> dict[str, Any]:
    fields = {
        "include": {"phrases": list(include), "inflect": False} | values.get("include_more", {}),
        "exclude": {"phrases": list(exclude)},
        "length": values.get("length", {"least": 1, "most": 5}),
        "style": {"sentence": values.get("sentence", False)},
    }
    return {"before": before, "after": after, "number": 2, "fields": fields}


def problems_of(given: Any) -> dict[str, str]:
    with pytest.raises(Refused) as refused:
        fitted(asked(given), VOCABULARY)
    assert isinstance(refused.value, Stopped)
    return refused.value.problems


def test_fields_build_a_constraint() -> None:
    made = asked(request(["dog|puppy", "park"], ["cat"], before="The dog"))
    assert made.shown == Keywords([["dog", "puppy"], ["park"]]) & Exclude(["cat"]) & WordCount(3, 7) & OneLine()
    assert made.constraint == made.shown and made.number == 2 and made.max_new_tokens == 16
    assert made.notes == {"include": "Already in your text, so not needed again: dog."}
    ordered = asked(request(["dog", "park"], include_more={"ordered": True, "inflect": True}, sentence=True))
    assert ordered.parts["include"] == Ordered(["dog", "park"], inflect=True)
    assert ordered.parts["style"] == OneLine() & OneSentence()
    assert asked({}).parts == {"style": OneLine() & OneSentence()} and asked(None).number == 3
    assert asked(request(length={"least": None, "most": None})).shown == OneLine()


def test_a_text_of_several_sentences_is_left_its_form() -> None:
    made = asked(request(before="A dog. A cat", sentence=True))
    assert made.parts["style"] == OneLine() and "several sentences" in made.notes["style"]
    made = asked(request(before="A dog.\nA cat", sentence=True))
    assert "style" not in made.parts and "line breaks" in made.notes["style"]
    made = asked(request(before="A dog,", after=" in the park.", sentence=True))
    assert made.parts["style"] == OneLine() & OneSentence() and not made.notes


def test_spaces_at_the_gap() -> None:
    made = asked(request(before="the ", after="dog."))
    assert (made.prefix, made.suffix) == ("the", " dog.")
    dfa = made.constraint.compile(VOCABULARY, prefix=made.prefix, suffix=made.suffix)
    with_space, without = VOCABULARY.spell([" run", "s"])
    assert with_space is not None and without is not None
    assert dfa.accepts(with_space) and not dfa.accepts(without)
    assert asked(request(before="the", after=", dog.")).spacing is None
    space = with_space_after("the")
    assert space.holds("the dog") and not space.holds("there")
    broken = (~space).compile(VOCABULARY, prefix="the")
    assert broken.accepts(without) and not broken.accepts(with_space)


WRONG = [
    (request(["dog"], ["dog"]), {"include", "exclude"}, "together with"),
    (request(["dog"] * 3 + [f"w{n}" for n in range(10_000)]), {"include"}, "10,003 phrases are too many"),
    (request(["x" * 200]), {"include"}, "200 characters"),
    (request(["do\x00g"]), {"include"}, "U+0000"),
    (request(["do\ud800g"]), {"include"}, "half a character"),
    (request(["|"]), {"include"}, "without a word"),
    (request(["狗"] * 1, length={"least": 1, "most": 2}, before="\x1b"), {"before"}, "U+001B"),
    (request(before="x" * (LONGEST_BEFORE + 1)), {"before"}, "at most 4,000"),
    (request(before="dog " * 10_000), {"before"}, "40,000 characters"),
    (request(after="dog " * 1_000), {"after"}, "at most 400"),
    (request(exclude=["dog"], before="The dog"), {"exclude"}, "your own text"),
    (request(length={"least": 6, "most": 2}), {"length"}, "must not be larger"),
    (request(length={"least": -1, "most": 2}), {"length"}, "whole number"),
    (request(length={"least": 1.5, "most": 2}), {"length"}, "whole number"),
    (request(length={"least": 1, "most": "?"}), {"length"}, "whole number"),
    (request(length={"least": 0, "most": 0}), {"length"}, "at most 0 words"),
    (request(["dog", "park", "run"], length={"least": 1, "most": 2}), {"include", "length"}, "together with"),
    (request([f"word{n}" for n in range(30)], length={"least": 1, "most": 60}), {"include"}, "states"),
    ({"number": 99}, {"number"}, "1 to 8"),
    ({"number": True}, {"number"}, "1 to 8"),
    ({"before": 5, "after": None}, {"before", "after"}, "no text"),
    ({"fields": {"include": {"phrases": "dog"}}}, {"include"}, "no list"),
    ({"fields": {"include": {"phrases": [5]}}}, {"include"}, "no text"),
    ({"fields": {"style": {"sentence": "yes"}}}, {"style"}, "neither yes nor no"),
]


@pytest.mark.parametrize(("wrong", "places", "said"), WRONG, ids=[said for *_, said in WRONG])
def test_what_is_wrong_is_said_at_its_field(wrong: Any, places: set[str], said: str) -> None:
    problems = problems_of(wrong)
    assert set(problems) == places
    assert all(message.endswith(".") and not message[0].islower() for message in problems.values())
    assert any(said in message or said.capitalize() in message for message in problems.values()), problems
    assert max(map(len, problems.values())) < 700


def test_rare_words_get_tokens_enough() -> None:
    made = asked(request(["zzzzzzzzzzzzzzzzzzzzzzzz"], length={"least": 1, "most": 2}))
    assert fitted(made, VOCABULARY).max_new_tokens > made.max_new_tokens


@settings(max_examples=150, deadline=None)
@given(
    given=st.recursive(
        st.none() | st.booleans() | st.integers(-3, 70) | st.floats() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["before", "after", "fields", "number", *FIELDS, "phrases", "least", "most", "sentence"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    )
)
def test_anything_is_a_request_or_a_message(given: Any) -> None:
    try:
        made = asked(given)
    except Refused as refused:
        assert refused.problems and all(refused.problems.values())
    else:
        assert isinstance(made.constraint.holds("a dog"), bool) and made.max_new_tokens > 0


@pytest.fixture
def ending() -> Iterator[Field]:
    """A field that another room registers."""

    def build(values: Any, around: Around) -> Built:
        return Built(EndsWith(values["phrase"]) if values["phrase"] else None)

    field = Field("ending", "How it ends", (Control("text", "phrase", "The text ends with", "A phrase."),), build)
    register(field)
    yield field
    del FIELDS["ending"]


def test_a_field_that_is_registered_takes_part(ending: Field) -> None:
    made = asked({"fields": {"ending": {"phrase": "the park"}, "style": {"sentence": False}}})
    assert made.shown == AllOf((OneLine(), EndsWith("the park")))
    assert set(problems_of({"fields": {"ending": {"phrase": "x\x07"}}})) == {"ending"}
