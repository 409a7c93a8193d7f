"""Ctrl-G's names on its dictionaries, the cases it gets wrong among them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers.automata_oracle import Plain, language, plains, same, strings
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata import DFA, as_dfa, contains, trivial
from ctrlg.compat import (
    AhoCorasickBuilder,
    DFA_concatenate,
    DFA_minimize,
    DFA_negate,
    DFA_prod,
    DFA_size,
    DFAModel,
    EOSBuilder,
    KMPBuilder,
    TrivialBuilder,
)
from ctrlg.compat.graphs import as_graph
from ctrlg.errors import BudgetError, ConstraintError, CtrlGError, VocabularyError

quick = settings(deadline=None, max_examples=80)
names = st.sampled_from(["int", "tuple"])


def tokens(*ids: int, vocab_size: int = 2) -> np.ndarray:
    mask = np.zeros(vocab_size, dtype=bool)
    mask[list(ids)] = True
    return mask


def graph_language(graph: Any) -> set[tuple[int, ...]]:
    """Read along the edges, as the dictionary says."""
    accepted = set()
    for string in strings(2):
        state = graph["initial_state"]
        for token in string:
            following = [v for u, v, mask in graph["edges"] if u == state and mask[token]]
            assert len(following) == 1, "every token has one edge"
            state = following[0]
        if state in graph["accept_states"]:
            accepted.add(string)
    return accepted


@quick
@given(plain=plains(symbols=3), name=names)
def test_a_graph_is_read_as_it_is_written(plain: Plain, name: str) -> None:
    assert language(as_dfa(plain.graph(name), 3), 5) == plain.language(5)


@quick
@given(plain=plains(complete=True), name=names)
def test_functions_of_one_graph(plain: Plain, name: str) -> None:
    graph = plain.graph(name)
    assert graph_language(DFA_minimize(graph)) == plain.language()
    assert graph_language(DFA_negate(graph)) == set(strings(2)) - plain.language()
    assert same(as_dfa(as_graph(as_dfa(graph))).minimize(), as_dfa(graph).minimize())


@quick
@given(plain=plains(complete=False))
def test_a_complement_accepts_where_the_graph_breaks_off(plain: Plain) -> None:
    if plain.step:
        assert graph_language(DFA_negate(plain.graph())) == set(strings(2)) - plain.language()


@settings(deadline=None, max_examples=50)
@given(plain=st.lists(plains(most_states=3), min_size=1, max_size=3), name=names)
def test_functions_of_several_graphs(plain: list[Plain], name: str) -> None:
    graphs = [one.graph(name) for one in plain]
    languages = [one.language() for one in plain]
    assert graph_language(DFA_prod(graphs, vocab_size=2)) == set.intersection(*languages)
    assert graph_language(DFA_prod(graphs, mode="union", vocab_size=2)) == set.union(*languages)
    dfas = [one.dfa() for one in plain]
    chained = dfas[0]
    for other in dfas[1:]:
        chained = chained.then(other)
    assert graph_language(DFA_concatenate(graphs, vocab_size=2)) == language(chained)


def test_concatenation_where_the_seam_is_open() -> None:
    """0, 1 or "2 3", and then no 4: what comes after the first pattern may still belong to the first part."""
    no_four = {"edges": [(0, 0, ~tokens(4, vocab_size=5))], "initial_state": 0, "accept_states": [0]}
    ordered = as_dfa(DFA_concatenate([AhoCorasickBuilder(5).build([[0], [1], [2, 3]]), no_four]))
    for string in strings(5, 4):
        expected = 0 in string or 1 in string or (2, 3) in pairwise(string)
        assert ordered.accepts(string) == expected, string

    ends_in_one = {
        "edges": [("a", "b", tokens(1)), ("a", "a", tokens(0)), ("b", "b", tokens(1)), ("b", "a", tokens(0))],
        "initial_state": "a",
        "accept_states": {"b"},
    }
    then_zeros = {"edges": [(0, 0, tokens(0))], "initial_state": 0, "accept_states": {0}}
    assert graph_language(DFA_concatenate([ends_in_one, then_zeros])) == {s for s in strings(2) if 1 in s}


def test_patterns_alike_as_digits_are_both_kept() -> None:
    model = DFAModel(AhoCorasickBuilder(3000).build([[2310], [231]]), 3000)
    for token in (231, 2310):
        assert model.is_accept(model.next_state(model.initial_state, token))
    assert same(as_dfa(KMPBuilder(3000).build([231, 0])).minimize(), contains([[231, 0]], 3000))


def test_many_masks_tell_many_tokens_apart() -> None:
    edges = [(state, state + 1, tokens(state, vocab_size=40)) for state in range(20)]
    graph = {"edges": edges, "initial_state": 0, "accept_states": {20}}
    dfa = as_dfa(graph)
    assert dfa.num_classes == 21 and dfa.shortest_accepted() == list(range(20))


def test_a_state_without_edges_is_final() -> None:
    graph = {"edges": [(0, 1, tokens(1))], "initial_state": 0, "accept_states": {1}}
    assert graph_language(DFA_minimize(graph)) == {(1,)}
    assert graph_language(DFA_prod([graph, TrivialBuilder(None, 2).build()])) == {(1,)}
    alone = {"edges": [], "initial_state": "only", "accept_states": ["only"]}
    assert language(as_dfa(alone, 2)) == {()}
    assert graph_language(DFA_concatenate([alone, graph], vocab_size=2)) == {(1,)}
    with pytest.raises(ConstraintError, match="does not know its vocabulary"):
        as_dfa(alone)


def test_accept_states_may_be_anything_hashable_or_absent() -> None:
    edges = [("start", (0, "x"), tokens(0, 1)), ((0, "x"), "start", tokens(0))]
    graph = {"edges": edges, "initial_state": "start", "accept_states": [(0, "x"), "nowhere"]}
    assert graph_language(DFA_minimize(graph)) == {s for s in strings(2) if len(s) % 2 and not any(s[1::2])}


def test_empty_lists() -> None:
    assert graph_language(DFA_prod([], vocab_size=2)) == set(strings(2))
    assert graph_language(DFA_prod([], mode="union", vocab_size=2)) == set()
    assert graph_language(DFA_concatenate([], vocab_size=2)) == {()}
    assert DFA_prod([]) == DFA_prod([], mode="union") == DFA_concatenate([]) == []


def test_edges_that_share_tokens_are_refused() -> None:
    graph = {
        "edges": [("a", "b", tokens(0, 1)), ("a", "c", tokens(1))],
        "initial_state": "a",
        "accept_states": set(),
    }
    with pytest.raises(ConstraintError, match="token 1 leads from state 'a' to both 'b' and 'c'"):
        as_dfa(graph)
    graph["edges"] = [("a", "b", tokens(0, 1)), ("a", "b", tokens(1))]
    assert as_dfa(graph).num_states == 3, "twice the same edge is no contradiction"


@pytest.mark.parametrize(
    "graph",
    [
        None,
        [],
        {"edges": []},
        {"edges": [(0, 1)], "initial_state": 0, "accept_states": set()},
        {"edges": [(0, 1, [1, 0])], "initial_state": 0, "accept_states": set()},
        {"edges": [(0, 1, np.ones((2, 2), dtype=bool))], "initial_state": 0, "accept_states": set()},
        {"edges": [([0], 1, np.ones(2, dtype=bool))], "initial_state": 0, "accept_states": set()},
        {"edges": [(0, 1, tokens(0)), (1, 0, tokens(0, vocab_size=3))], "initial_state": 0, "accept_states": {0}},
    ],
)
def test_what_is_no_graph_is_refused(graph: Any) -> None:
    with pytest.raises(CtrlGError) as error:
        as_dfa(graph)
    assert error.value.hint


def test_sizes_count_what_is_written() -> None:
    graph = {
        "edges": [(0, 1, tokens(0)), (1, 1, tokens(1)), (0, 2, tokens(1))],
        "initial_state": 0,
        "accept_states": {3},
    }
    assert DFA_size(graph) == (4, 3)
    assert DFA_size(contains([[1]], 2)) == DFA_size(DFAModel(contains([[1]], 2), 2)) == (2, 3)


def test_end_of_text_is_final() -> None:
    graph = EOSBuilder(2, 1).build()
    assert graph_language(graph) == {s for s in strings(2) if (1, 0) not in pairwise(s)}
    with pytest.raises(VocabularyError, match="eos_token_id is 2"):
        EOSBuilder(2, 2)


def test_trivial_builder_accepts_everything() -> None:
    assert graph_language(TrivialBuilder(None, 2, eos_token_id=1).build()) == set(strings(2))


@quick
@given(plain=plains(), name=names)
def test_a_model_walks_its_graph(plain: Plain, name: str) -> None:
    model = DFAModel(plain.graph(name), 2)
    for string in strings(2, 4):
        state = model.initial_state
        for token in string:
            state = model.next_state(state, token)
        assert model.is_accept(state) == (state in model.accept_states) == (string in plain.language())
    assert model.num_states == model.dfa.num_states
    assert max(model.accept_states, default=0) < model.num_states


def test_a_model_is_a_module() -> None:
    dfa = contains([[0, 1]], 3)
    model = DFAModel(dfa, 3).to("cpu")
    assert isinstance(model, torch.nn.Module) and not list(model.parameters())
    assert model.dfa is dfa and as_dfa(model) is dfa and DFAModel(model, 3).dfa is dfa
    assert not model.is_accept(-1) and not model.is_accept(99)
    for wrong in (lambda: model.next_state(0, 3), lambda: model.next_state(7, 0), lambda: DFAModel(dfa, 4)):
        with pytest.raises(CtrlGError):
            wrong()


def test_graphs_automata_and_models_may_be_mixed() -> None:
    first, second = contains([[0]], 3), contains([[1]], 3)
    expected = first & second
    mixed = DFA_prod([AhoCorasickBuilder(3).build([[0]]), DFAModel(second, 3), trivial(3)])
    assert same(as_dfa(mixed).minimize(), expected.minimize())
    with pytest.raises(VocabularyError):
        DFA_prod([first, contains([[1]], 4)])


def test_masks_are_shared_and_cannot_be_overwritten() -> None:
    graph = as_graph(DFA(np.arange(2), np.array([[1, 0], [0, 1]]), 0, np.array([True, False])))
    masks = [mask for _, _, mask in graph["edges"]]
    assert len({id(mask) for mask in masks}) == 2 < len(masks)
    with pytest.raises(ValueError, match="read-only"):
        masks[0][0] = False


def test_too_large_a_product_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {"vocab_size": None, "max_states": 50}
    monkeypatch.setattr("ctrlg.automata.algebra.product.__wrapped__.__kwdefaults__", defaults)
    with pytest.raises(BudgetError, match="more than 50 states"):
        DFA_prod([KMPBuilder(20).build([2 * i, 2 * i + 1]) for i in range(6)])
