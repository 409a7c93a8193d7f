"""Ctrl-G's functions on lists of edges and on graphs whose states keep their names."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from helpers.automata_oracle import Plain, language, plains
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata import as_dfa
from ctrlg.compat import (
    DFA_concatenate_binary,
    DFA_merge_dead_states,
    DFA_merge_undistinguishable_states,
    DFA_minimize,
    DFA_prod_binary,
    DFA_remove_unreachable_states,
    DFA_size,
    edges2dict,
    edges2G,
    edges2states,
    set2npset,
)
from ctrlg.errors import ArgumentError, ConstraintError

quick = settings(deadline=None, max_examples=60)
FIRST, SECOND, NONE = np.array([True, False]), np.array([False, True]), np.array([], dtype=bool)


def same_graph(first: Any, second: Any) -> bool:
    def parts(graph: Any) -> tuple[Any, ...]:
        edges = sorted((repr((u, v)), mask.tolist()) for u, v, mask in graph["edges"])
        return edges, graph["initial_state"], set(graph["accept_states"])

    return parts(first) == parts(second)


def test_sets_become_masks() -> None:
    assert set2npset({0, 2}, 4).tolist() == [True, False, True, False]
    assert set2npset([], 2).tolist() == [False, False] and set2npset([1], 2).dtype == np.bool_


def test_views_of_a_list_of_edges() -> None:
    edges = [("a", "b", FIRST), ("a", "a", SECOND), ("b", ("c", 1), FIRST), ("d", "a", NONE)]
    assert edges2G(edges) == {"a": ["b", "a"], "b": [("c", 1)], "d": []}
    assert edges2G(edges, reverse=True) == {"b": ["a"], "a": ["a"], ("c", 1): ["b"]}
    assert edges2states(edges) == {"a", "b", ("c", 1), "d"}
    assert edges2dict(edges) == {("a", "b"): FIRST, ("a", "a"): SECOND, ("b", ("c", 1)): FIRST, ("d", "a"): NONE}


@quick
@given(plain=plains(), name=st.sampled_from(["int", "tuple"]))
def test_states_that_are_of_no_use_are_dropped_and_the_others_keep_their_names(plain: Plain, name: str) -> None:
    graph = plain.graph(name)
    if not graph["edges"]:
        return
    before = deepcopy(graph)
    reachable = DFA_remove_unreachable_states(graph)
    merged = DFA_merge_dead_states(graph)
    smallest = DFA_merge_undistinguishable_states(graph)
    assert same_graph(graph, before)
    for changed in (reachable, merged, smallest):
        assert language(as_dfa(changed, 2)) == plain.language()
    names = {graph["initial_state"], *edges2states(graph["edges"])}
    assert edges2states(reachable["edges"]) <= names
    assert edges2states(merged["edges"]) <= names | {-1}
    ends = [plain.end(string) for string in plain.language()]
    assert edges2states(merged["edges"]) >= {graph["edges"][0][0]} & set(ends)
    assert same_graph(smallest, DFA_minimize(graph))
    assert DFA_size(smallest)[0] <= DFA_size(merged)[0]


def test_dead_and_unreachable_states() -> None:
    edges = [("a", "a", FIRST), ("a", "lost", SECOND), ("lost", "lost", FIRST | SECOND), ("island", "a", FIRST)]
    graph = {"edges": edges, "initial_state": "a", "accept_states": {"a", "island"}}
    reachable = DFA_remove_unreachable_states(graph)
    assert same_graph(reachable, {"edges": edges[:3], "initial_state": "a", "accept_states": {"a"}})
    merged = DFA_merge_dead_states(graph)
    expected = [edges[0], edges[3], ("a", -1, SECOND), (-1, -1, FIRST | SECOND)]
    assert same_graph(merged, {"edges": expected, "initial_state": "a", "accept_states": {"a", "island"}})
    assert DFA_merge_dead_states(graph | {"accept_states": set()})["initial_state"] == -1


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(ArgumentError, match="named -1"):
        DFA_merge_dead_states({"edges": [(-1, -1, FIRST)], "initial_state": -1, "accept_states": {-1}})
    with pytest.raises(ArgumentError, match="no edges"):
        DFA_merge_dead_states({"edges": [], "initial_state": 0, "accept_states": {0}})
    for wrong in ([], {"edges": []}, 3):
        with pytest.raises(ConstraintError):
            DFA_remove_unreachable_states(wrong)


@quick
@given(first=plains(complete=True, most_states=3), second=plains(complete=True, most_states=3))
def test_functions_of_two_graphs(first: Plain, second: Plain) -> None:
    pair = first.graph(), second.graph("tuple")
    assert language(as_dfa(DFA_prod_binary(*pair))) == first.language() & second.language()
    assert language(as_dfa(DFA_prod_binary(*pair, mode="union"))) == first.language() | second.language()
    chained = language(as_dfa(DFA_concatenate_binary(*pair)), 4)
    parts = {head + tail for head in first.language(4) for tail in second.language(4)}
    assert chained == {string for string in parts if len(string) <= 4}
