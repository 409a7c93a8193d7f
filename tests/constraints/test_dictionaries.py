"""Constraints as dictionaries: every kind comes back from JSON, and what is wrong is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from constraint_strategies import CONSTRAINTS
from hypothesis import given, settings
from hypothesis import strategies as st

import ctrlg
from ctrlg.arguments import checked
from ctrlg.automata.dfa import DFA
from ctrlg.constraints import (
    AllOf,
    Constraint,
    Keywords,
    Not,
    OneLine,
    WordCount,
)
from ctrlg.constraints.base import Target
from ctrlg.constraints.dictionaries import MOST_LEVELS, kinds
from ctrlg.errors import ConstraintError


def through_json(constraint: Constraint) -> Constraint:
    return Constraint.from_dict(json.loads(json.dumps(constraint.to_dict())))


@settings(max_examples=300, deadline=None)
@given(constraint=CONSTRAINTS)
def test_comes_back_from_json_as_it_was(constraint: Constraint) -> None:
    back = through_json(constraint)
    assert back == constraint and hash(back) == hash(constraint) and str(back) == str(constraint)


def test_every_public_kind_takes_part() -> None:
    exported = {name for name in ctrlg.constraints.__all__ if name not in ("Constraint",)}
    assert exported <= set(kinds())
    assert not [name for name in kinds() if name.startswith("_")]


def test_what_is_written() -> None:
    constraint = Keywords(["dog", ["park", "beach"]], inflect=True) & ~WordCount(6)
    keywords = {"kind": "Keywords", "groups": [["dog"], ["park", "beach"]], "inflect": True, "whole_word": True}
    count = {"kind": "Not", "constraint": {"kind": "WordCount", "lo": 6, "hi": None}}
    assert constraint.to_dict() == {"kind": "AllOf", "constraints": [keywords, count]}


def test_fields_with_a_default_may_be_left_out() -> None:
    assert Constraint.from_dict({"kind": "Keywords", "groups": ["dog", ("park",)]}) == Keywords(["dog", "park"])
    assert WordCount.from_dict({"kind": "WordCount", "lo": 3}) == WordCount(3)
    assert Constraint.from_dict({"kind": "OneLine"}) == OneLine()


def test_as_many_levels_as_constraints_may_have() -> None:
    deep: Constraint = WordCount(3)
    for level in range(MOST_LEVELS):
        deep = AllOf((deep,)) if level % 2 else Not(deep)
    assert through_json(deep) == deep


def inside(levels: int, kind: str = "AllOf") -> dict[str, Any]:
    mapping: dict[str, Any] = {"kind": "OneLine"}
    for _ in range(levels):
        mapping = {"kind": kind, "constraints": [mapping]} if kind == "AllOf" else {"kind": kind, "constraint": mapping}
    return mapping


LO = {"kind": "WordCount", "lo": 3}
WRONG: list[tuple[Any, str]] = [
    (None, "constraint is None"),
    ([LO], "constraint is a list"),
    ("Keywords", "constraint is 'Keywords'"),
    ({}, "constraint has no 'kind'"),
    ({"kind": 3}, "constraint.kind is 3"),
    ({"kind": ["OneLine"]}, "constraint.kind is a list"),
    ({"kind": "Constraint"}, "constraint.kind is 'Constraint'"),
    ({"kind": "_Phrases", "groups": ["dog"]}, "constraint.kind is '_Phrases'"),
    ({"kind": "HMM"}, "constraint.kind is 'HMM'"),
    ({"kind": "Keyword", "groups": ["dog"]}, "constraint.kind is 'Keyword'"),
    ({"kind": "Keywords"}, "constraint: Keywords lacks its field 'groups'"),
    ({"kind": "Keywords", "groups": ["dog"], "inflected": True}, "constraint: Keywords has no field 'inflected'"),
    ({"kind": "Keywords", "groups": "dog"}, "constraint.groups is 'dog'"),
    ({"kind": "Keywords", "groups": {"dog": 1}}, "constraint.groups is a dict"),
    ({"kind": "Keywords", "groups": ["dog", [3]]}, r"constraint.groups\[1\]\[0\] is 3"),
    ({"kind": "Keywords", "groups": [[]]}, "constraint: a group without phrases"),
    ({"kind": "Keywords", "groups": ["dog"], "inflect": 1}, "constraint.inflect is 1"),
    ({"kind": "Keywords", "groups": ["\udc80"]}, r"constraint.groups\[0\]"),
    ({"kind": "EndsWith", "phrases": " "}, "constraint: "),
    ({**LO, "lo": "3"}, "constraint.lo is '3'"),
    ({**LO, "lo": True}, "constraint.lo is True"),
    ({**LO, "lo": -1}, "constraint.lo is -1"),
    ({**LO, "lo": 10**400}, "constraint.lo is a very large number|constraint.lo is 1000"),
    ({**LO, "hi": 2}, "constraint: 3 to 2 is no range"),
    ({**LO, "hi": float("nan")}, "constraint.hi is nan"),
    ({**LO, "hi": b"4"}, "constraint.hi is b'4'"),
    ({**LO, 5: 4}, "constraint has the key 5"),
    ({"kind": "AllOf", "constraints": [LO, {**LO, "lo": None}]}, r"constraint.constraints\[1\].lo is None"),
    ({"kind": "AllOf", "constraints": LO}, "constraint.constraints is "),
    ({"kind": "AllOf", "constraints": "OneLine"}, "constraint.constraints is 'OneLine'"),
    ({"kind": "AnyOf", "constraints": [{"kind": "Not", "constraint": 5}]}, r"constraints\[0\].constraint is 5"),
    ({"kind": "Not", "constraint": None}, "constraint.constraint is None"),
    ({"kind": "Not", "constraint": [LO]}, "constraint.constraint is a list"),
    (inside(MOST_LEVELS + 1), "more than 100 levels deep"),
    (inside(MOST_LEVELS + 1, "Not"), "more than 100 levels deep"),
    (inside(100_000), "levels deep"),
    ({"kind": "Exclude", "phrases": ["dog"] * 100_001}, "more than 100,000 values"),
    ({"kind": "Exclude", "phrases": ["dog" * 400_000]}, "more than 1,000,000 characters"),
]


@pytest.mark.parametrize(("mapping", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_is_refused_with_its_place(mapping: Any, said: str) -> None:
    with pytest.raises(ConstraintError, match=said) as refused:
        Constraint.from_dict(mapping)
    assert refused.value.hint and len(str(refused.value)) < 1000


def test_a_dictionary_that_holds_itself_is_refused() -> None:
    mapping: dict[str, Any] = {"kind": "Not"}
    mapping["constraint"] = mapping
    with pytest.raises(ConstraintError, match="levels deep"):
        Constraint.from_dict(mapping)


def test_a_class_reads_its_own_kind_only() -> None:
    with pytest.raises(ConstraintError, match=r"constraint.kind is 'WordCount'") as refused:
        Keywords.from_dict(LO)
    assert "Keywords" in refused.value.hint


@settings(max_examples=200, deadline=None)
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=8)
        | st.sampled_from(["Not", "AllOf"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["kind", "constraints", "constraint", "groups", "lo"]), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_constraint_or_refused(value: Any) -> None:
    try:
        assert isinstance(Constraint.from_dict(value), Constraint)
    except ConstraintError as error:
        assert error.hint


def own_kind(make: Callable[[type], type]) -> type[Constraint]:
    class MadeInATest(Constraint):
        """A kind as another room may add it."""

        schema: dict[str, Any]
        inner: Constraint | None = None
        more: tuple[Constraint, ...] = ()

        def holds(self, text: str) -> bool:
            return not text

        def automaton(self, target: Target, kept: bool = True) -> DFA:
            raise NotImplementedError

    return make(MadeInATest)


def test_a_new_kind_takes_part_by_being_a_dataclass() -> None:
    kind: Any = own_kind(lambda made: checked(dataclass(frozen=True)(made)))
    schema = {"kind": "object", "properties": {"name": {"kind": "OneLine"}}}  # plain values: "kind" means nothing here
    constraint = kind(schema, Not(OneLine()), [WordCount(3)])
    assert through_json(constraint) == constraint
    assert through_json(kind({})) == kind({})
    with pytest.raises(ConstraintError, match=r"constraint.more\[0\].kind is 'x'"):
        Constraint.from_dict({"kind": "MadeInATest", "schema": {}, "more": [{"kind": "x"}]})


def test_what_cannot_take_part_says_why() -> None:
    kind: Any = own_kind(lambda made: made)
    with pytest.raises(ConstraintError, match="is no dataclass") as refused:
        kind().to_dict()
    assert "dataclass" in refused.value.hint
    kind = own_kind(dataclass(frozen=True))
    with pytest.raises(ConstraintError, match=r"MadeInATest.schema\['at'\] is an object"):
        kind({"at": object()}).to_dict()
    with pytest.raises(ConstraintError, match="MadeInATest"):
        Constraint.from_dict({"kind": "MadeInATest"})

    class OneLine(Constraint):
        """Another class of a name that is taken."""

        def holds(self, text: str) -> bool:
            return True

        def automaton(self, target: Target, kept: bool = True) -> DFA:
            raise NotImplementedError

    with pytest.raises(ConstraintError, match="OneLine is not known"):
        OneLine().to_dict()
