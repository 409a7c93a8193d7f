"""Random constraints of every kind, alone and inside of each other."""

from __future__ import annotations

from hypothesis import strategies as st

from ctrlg.constraints import (
    AllOf,
    AnyOf,
    Constraint,
    EndsWith,
    Exclude,
    Keywords,
    Not,
    OneLine,
    OneSentence,
    Ordered,
    WordCount,
)

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda text: text.strip())
PHRASES = st.lists(WORDS, min_size=1, max_size=3)
GROUPS = st.lists(WORDS | PHRASES, max_size=4)
PLAIN: st.SearchStrategy[Constraint] = st.one_of(
    st.builds(Keywords, GROUPS, st.booleans(), st.booleans()),
    st.builds(Ordered, GROUPS, st.booleans(), st.booleans()),
    st.builds(Exclude, WORDS | st.lists(WORDS, max_size=3), st.booleans()),
    st.builds(EndsWith, WORDS | PHRASES),
    st.integers(0, 40).flatmap(
        lambda least: st.builds(WordCount, st.just(least), st.none() | st.integers(least, least + 40))
    ),
    st.builds(OneLine),
    st.builds(OneSentence),
)
CONSTRAINTS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=8,
)
