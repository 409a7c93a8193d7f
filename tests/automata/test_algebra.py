"""Products, unions and complements against sets of strings, and the laws they obey."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.automata_oracle import Plain, language, plains, same, strings
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata import DFA, contains, product, trivial
from ctrlg.automata.algebra import empty_string
from ctrlg.errors import ArgumentError, BudgetError, ConstraintError, VocabularyError

quick = settings(deadline=None, max_examples=80)


@quick
@given(first=plains(), second=plains())
def test_operators_are_set_operations(first: Plain, second: Plain) -> None:
    a, b = first.dfa(), second.dfa()
    assert language(a & b) == first.language() & second.language()
    assert language(a | b) == first.language() | second.language()
    assert language(~a) == set(strings(2)) - first.language()


@quick
@given(plain=st.lists(plains(symbols=3, most_states=3), min_size=1, max_size=4))
def test_several_at_once(plain: list[Plain]) -> None:
    dfas = [one.dfa() for one in plain]
    languages = [one.language(4) for one in plain]
    assert language(product(dfas), 4) == set.intersection(*languages)
    assert language(product(dfas, "union"), 4) == set.union(*languages)


@settings(deadline=None, max_examples=30)
@given(first=plains(), second=plains(), third=plains())
def test_laws(first: Plain, second: Plain, third: Plain) -> None:
    a, b, c = first.dfa(), second.dfa(), third.dfa()
    for left, right in [
        (~(a & b), ~a | ~b),
        (~(a | b), ~a & ~b),
        (a & a, a),
        (a | a, a),
        (~~a, a),
        (a & b, b & a),
        (a | b, b | a),
        ((a & b) & c, a & (b & c)),
        (a & (b | c), (a & b) | (a & c)),
        (a & (a | b), a),
        (a & ~a, ~trivial(2)),
        (a | ~a, trivial(2)),
    ]:
        assert same(left.minimize(), right.minimize())


@quick
@given(first=plains(most_states=4), second=plains(most_states=4))
def test_only_pairs_that_matter_become_states(first: Plain, second: Plain) -> None:
    """Pairs in which one part can accept no more, or in a union no longer refuse, are one state."""
    a, b = first.dfa(), second.dfa()

    def open_states(dfa: DFA) -> int:
        return int((dfa.distances() < DFA.UNREACHABLE).sum())

    assert (a & b).num_states <= open_states(a) * open_states(b) + 1
    assert (a | b).num_states <= open_states(~a) * open_states(~b) + 1


def test_what_is_dead_in_one_part_is_dead() -> None:
    long, short = contains([[0, 1, 0, 1]], 2), empty_string(2)
    for both in (long & short, short & long, ~(~long | ~short), ~(~short | ~long)):
        assert both.num_states == 2
    zeros = DFA(np.arange(2), np.array([[1, 4], [2, 4], [3, 4], [4, 4], [4, 4]]), 0, np.arange(5) == 3)
    for both in (zeros & contains([[1]], 2), contains([[1]], 2) & zeros):
        assert both.num_states == 5


def test_joint_classes_are_the_distinct_pairs() -> None:
    first, second = contains([[3]], 1000), contains([[3], [5]], 1000)
    both = first & second
    assert both.num_classes == 3
    assert both.accepts([3]) and not both.accepts([5])


def test_many_classes_join_as_few_do() -> None:
    """Beyond the size of the dense table of pairs."""
    tokens = np.arange(5000)
    shifted = DFA(tokens, (np.arange(5000) % 7 == 0).astype(int)[None].repeat(2, 0), 0, np.array([False, True]))
    mirrored = DFA(tokens[::-1], (np.arange(5000) % 5 == 0).astype(int)[None].repeat(2, 0), 0, np.array([False, True]))
    both = shifted & mirrored
    assert [token for token in range(5000) if both.accepts([token])] == [
        token for token in range(5000) if token % 7 == 0 and (4999 - token) % 5 == 0
    ]


def test_products_of_nothing() -> None:
    assert same(product([], vocab_size=3), trivial(3))
    assert same(product([], "union", vocab_size=3), ~trivial(3))
    for mode in ("intersection", "union"):
        with pytest.raises(ConstraintError, match="does not know its vocabulary"):
            product([], mode)


def test_a_budget_of_states_is_kept() -> None:
    parts = [contains([[2 * i, 2 * i + 1]], 20) for i in range(8)]
    assert product(parts, max_states=10_000).accepts(range(20))
    with pytest.raises(BudgetError, match=r"product of DFA\(.* needs more than 500 states"):
        product(parts, max_states=500)


def test_what_cannot_be_combined_is_refused() -> None:
    for combine in (
        lambda: trivial(2) & trivial(3),
        lambda: trivial(2) | trivial(3),
        lambda: trivial(2).then(trivial(3)),
        lambda: product([trivial(2)], vocab_size=3),
    ):
        with pytest.raises(VocabularyError, match=r"2 and 3 tokens|3 and 2 tokens"):
            combine()
    with pytest.raises(ArgumentError, match="mode is 'and'"):
        product([trivial(2)], "and")  # pyright: ignore[reportArgumentType]
    with pytest.raises(VocabularyError, match="vocab_size is 0"):
        trivial(0)
