"""One automaton after another, where the seam is not known."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.automata_oracle import Plain, String, language, plains, same, strings
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata import DFA, contains, trivial
from ctrlg.automata import concatenation as module
from ctrlg.automata.algebra import constant, empty_string
from ctrlg.automata.concatenation import concatenate
from ctrlg.errors import BudgetError

quick = settings(deadline=None, max_examples=60)


def concatenated(first: set[String], second: set[String], symbols: int, longest: int) -> set[String]:
    return {
        string
        for string in strings(symbols, longest)
        if any(string[:cut] in first and string[cut:] in second for cut in range(len(string) + 1))
    }


@quick
@given(first=plains(), second=plains())
def test_then_splits_somewhere(first: Plain, second: Plain) -> None:
    expected = concatenated(first.language(), second.language(), 2, 6)
    assert language(first.dfa().then(second.dfa())) == expected


@settings(deadline=None, max_examples=40)
@given(first=plains(symbols=3, most_states=4), second=plains(symbols=3, most_states=4))
def test_then_over_three_symbols(first: Plain, second: Plain) -> None:
    expected = concatenated(first.language(5), second.language(5), 3, 5)
    assert language(first.dfa().then(second.dfa()), 5) == expected


@settings(deadline=None, max_examples=30)
@given(first=plains(most_states=3), second=plains(most_states=3), third=plains(most_states=3))
def test_laws(first: Plain, second: Plain, third: Plain) -> None:
    a, b, c = first.dfa(), second.dfa(), third.dfa()
    for left, right in [
        (a.then(b).then(c), a.then(b.then(c))),
        (a.then(empty_string(2)), a),
        (empty_string(2).then(a), a),
        (a.then(b | c), a.then(b) | a.then(c)),
        (a.then(~trivial(2)), ~trivial(2)),
        ((~trivial(2)).then(a), ~trivial(2)),
    ]:
        assert same(left.minimize(), right.minimize())


@pytest.mark.parametrize("limits", [{"_PAIR_WORK": 0}, {"_PAIR_WORK": 0, "_INCLUSION_WORK": 0}])
@quick
@given(first=plains(), second=plains(), anywhere=st.booleans())
def test_short_cuts_change_nothing(limits: dict[str, int], first: Plain, second: Plain, anywhere: bool) -> None:
    a, b = first.dfa(), second.dfa()
    if anywhere:
        b = trivial(2).then(b)
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in limits.items():
            patch.setattr(module, name, limit)
        plain_subsets = a.then(b)
    assert same(plain_subsets.minimize(), a.then(b).minimize())


@quick
@given(plain=plains(), anywhere=st.booleans())
def test_prefixes_that_keep_are_recognised(plain: Plain, anywhere: bool) -> None:
    dfa = (trivial(2).then(plain.dfa()) if anywhere else plain.dfa()).minimize()
    accepted = language(dfa)
    keeps = all((token, *string) in accepted for string in accepted if len(string) < 6 for token in range(2))
    assert module._any_prefix_keeps(dfa) or not anywhere
    assert keeps or not module._any_prefix_keeps(dfa)


def test_a_second_part_that_may_be_empty_after_one_that_may_go_on() -> None:
    """0, 1 or "2 3" somewhere, then no 4 until the end."""
    some, no_four = contains([[0], [1], [2, 3]], 5), constant(True, 5).forbid([4])
    ordered = some.then(no_four)
    for accepted in ([0], [0, 0], [4, 0], [4, 4, 2, 3, 2], [0, 4, 1], [0, 4, 2, 3]):
        assert ordered.accepts(accepted), accepted
    for refused in ([], [2], [4], [2, 4, 3], [3, 2]):
        assert not ordered.accepts(refused), refused
    # the first part takes in every 4, so only strings without one of its patterns are lost
    assert same(ordered.minimize(), some)


def test_a_first_part_that_is_not_absorbing() -> None:
    ends_in_one = DFA(np.arange(3), np.array([[0, 1, 0], [0, 1, 0]]), 0, np.array([False, True]))
    no_two = constant(True, 3).forbid([2])
    both = ends_in_one.then(no_two)
    assert language(both, 5) == {
        s for s in strings(3, 5) if any(s[i] == 1 and 2 not in s[i + 1 :] for i in range(len(s)))
    }


def test_words_that_overlap_the_seam() -> None:
    ordered = contains([[0, 1, 0]], 2).then(contains([[0, 1]], 2))
    assert not ordered.accepts([0, 1, 0, 1])
    assert ordered.accepts([0, 1, 0, 0, 1])
    assert ordered.shortest_length() == 5


def test_sets_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains of overlapping patterns need about the sum of their states, not a product of subsets."""
    some = contains([[0, 1, 0, 2], [1, 1]], 3)
    for _ in range(2):
        chain = some
        for _ in range(5):
            chain = chain.then(some)
        assert chain.num_states <= 6 * some.num_states
        monkeypatch.setattr(module, "_PAIR_WORK", 0)


def test_a_budget_of_states_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tenth symbol from the end: 2^10 states."""
    step = [[min(state + 1, 10)] * 2 for state in range(10)] + [[11, 11], [11, 11]]
    tenth = DFA(np.arange(2), np.array(step), 0, np.array([state == 9 for state in range(12)]))
    one_last = DFA(np.arange(2), np.array([[0, 1], [0, 1]]), 0, np.array([False, True]))
    with pytest.raises(BudgetError, match=r"concatenation of .* more than 300 states"):
        concatenate(one_last, tenth, max_states=300)
    assert concatenate(one_last, tenth).minimize().num_states == 2**10
    monkeypatch.setattr(module, "_SET_BYTES", 5000)
    with pytest.raises(BudgetError, match=r"concatenation of .* too many sets"):
        concatenate(one_last, tenth)
