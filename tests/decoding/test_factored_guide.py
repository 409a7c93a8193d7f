"""The guide of automata kept apart beside the exact one, token by token, on HMMs that are small enough to know all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, TinyHMM, avoids, contains, dfas, random_hmm
from helpers.random_inputs.parts import Parts, automata, nondeterministic, parts, settling
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ctrlg.automata.dfa import DFA
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.errors import BudgetError, UnsatisfiableError
from ctrlg.parts import NFA, Factored, sequence

PROMPT = [7, 7]
ROWS = 40  # of a batch
SUFFIXES = st.lists(st.integers(0, 3), max_size=3)
PREFIXES = st.lists(st.integers(0, 3), max_size=2)


def processor_of(
    hmm: TinyHMM | None, automaton: DFA | Factored, constraint: Parts, suffix: Sequence[int] = (), **options: Any
) -> ConstraintLogitsProcessor:
    model, least, most = hmm and hmm.model, constraint.least, constraint.most
    suffix = [*suffix, EOS]
    return ConstraintLogitsProcessor(
        model, automaton, least, most, PROMPT, suffix_ids=suffix, eos_token_id=EOS, mask=constraint.mask, **options
    )


def steps(processor: ConstraintLogitsProcessor) -> Iterator[torch.Tensor]:
    """Everything the processor allows to write, a batch for each number of tokens."""
    rows = torch.tensor([PROMPT])
    while len(rows):
        yield rows
        allowed = processor.log_ratio(rows).isneginf().logical_not().nonzero()[:ROWS]
        rows = torch.cat([rows[allowed[:, 0]], allowed[:, 1:]], dim=1)


def assert_same(ours: ConstraintLogitsProcessor, exact: ConstraintLogitsProcessor, *, whole: bool) -> None:
    """The same ratios wherever `ours` leads; where `whole`, the same tokens are allowed, else none besides."""
    for rows in steps(ours):
        found, expected = ours.log_ratio(rows), exact.log_ratio(rows)
        assert not found.isnan().any()
        if whole:
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        allowed = found > -math.inf
        torch.testing.assert_close(found[allowed], expected[allowed], atol=1e-5, rtol=0)


def possible(constraint: Parts) -> bool:
    """Whether some content in range is accepted."""
    return int(constraint.distances[constraint.whole.initial]) <= constraint.most


@st.composite
def one_clause(draw: st.DrawFn) -> Parts:
    """A core and one clause beside it."""
    part = draw(st.one_of(settling().map(NFA.of), dfas().map(DFA.minimize).map(NFA.of)))
    core = draw(st.lists(dfas().map(DFA.minimize), max_size=1))
    return draw(parts(clauses=[(part,), *((one,) for one in core)], most=4, most_nodes=1_000, masked=False))


@settings(deadline=None, max_examples=20)
@given(constraint=one_clause(), seed=st.integers(0, 10_000), suffix=SUFFIXES, prefix=PREFIXES)
def test_a_core_and_one_clause_are_exact(constraint: Parts, seed: int, suffix: list[int], prefix: list[int]) -> None:
    assume(possible(constraint) and len(constraint.factored.clauses) <= 1)
    hmm = random_hmm(seed)
    exact = processor_of(hmm, constraint.whole, constraint, suffix, prefix_ids=prefix)
    ours = processor_of(hmm, constraint.factored, constraint, suffix, prefix_ids=prefix)
    assert ours.log_probability == pytest.approx(exact.log_probability, abs=1e-5)
    assert_same(ours, exact, whole=False)


def is_one(token: int) -> DFA:
    """Accepts one token."""
    delta = np.full((3, VOCAB), 2, dtype=np.int32)
    delta[0, token] = 1
    return DFA(np.arange(VOCAB, dtype=np.int32), delta, 0, np.array([False, True, False]))


def from_the_end(place: int, token: int) -> NFA:
    """The place-th token from the end is this one; unambiguous."""
    step = DFA(np.zeros(VOCAB, np.int32), np.array([[1], [2], [2]]), 0, np.array([False, True, False]))
    return sequence([avoids(), is_one(token), *[step] * (place - 1)])


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("core", [None, contains(0), avoids(3)], ids=["alone", "keyword", "banned"])
def test_an_unambiguous_automaton_is_its_determinized_one(place: int, core: DFA | None) -> None:
    automaton = from_the_end(place, 1)
    clauses = [(automaton,)] + ([(core.minimize(),)] if core else [])
    for seed, suffix in ((0, []), (1, [1, 2]), (2, [1])):
        hmm = random_hmm(seed)
        constraint = Parts(tuple(clauses), avoids(), 0, 5, 1_000)
        assert len(constraint.factored.clauses) == 1
        exact = processor_of(hmm, constraint.whole, constraint, suffix)
        ours = processor_of(hmm, constraint.factored, constraint, suffix)
        assert ours.log_probability == pytest.approx(exact.log_probability, abs=1e-5)
        assert_same(ours, exact, whole=core is None)


@settings(deadline=None, max_examples=25)
@given(
    constraint=parts(most=4),
    seed=st.integers(0, 10_000),
    zeros=st.sampled_from([0.0, 0.0, 0.4]),
    suffix=SUFFIXES,
)
def test_several_clauses_are_at_most_the_core_and_0_only_where_no_way_is_known(
    constraint: Parts, seed: int, zeros: float, suffix: list[int]
) -> None:
    assume(possible(constraint))
    hmm = random_hmm(seed, zeros=zeros)
    ours = processor_of(hmm, constraint.factored, constraint, suffix)
    exact = processor_of(hmm, constraint.whole, constraint, suffix)
    core = processor_of(hmm, _core_of(constraint), constraint, suffix)
    assert ours.log_probability[0] <= core.log_probability[0] + 1e-5 <= 1e-4
    for rows in steps(ours):
        found = ours.log_ratio(rows)
        assert not found.isnan().any() and (found < math.inf).all()
        assert (found <= core.log_ratio(rows) + 1e-5).all()
        # Never allowed where the one automaton sees no way, and finite wherever the HMM sees one and it is known.
        truth = exact.log_ratio(rows)
        mask = processor_of(None, constraint.factored, constraint, suffix).log_ratio(rows) > -math.inf
        exact_mask = processor_of(None, constraint.whole, constraint, suffix).log_ratio(rows) > -math.inf
        assert (mask <= exact_mask).all()
        assert ((found > -math.inf) <= mask).all()
        assert (found[mask & (truth > -50)] > -math.inf).all()


def _core_of(constraint: Parts) -> DFA:
    core = constraint.factored.core
    return DFA(np.arange(VOCAB), core.delta[:, core.class_of], core.initial, core.accepting)


@settings(deadline=None, max_examples=20)
@given(constraint=parts(most=5), seed=st.integers(0, 100), suffix=SUFFIXES, guided=st.booleans(), soft=st.booleans())
def test_texts_are_kept_and_never_stuck(
    constraint: Parts, seed: int, suffix: list[int], guided: bool, soft: bool
) -> None:
    """Tokens sampled from what is allowed, whatever it weighs."""
    soft = soft and guided
    hmm = random_hmm(seed, zeros=0.3) if guided else None
    try:
        processor = processor_of(hmm, constraint.factored, constraint, suffix, soft_mask=soft)
    except (BudgetError, UnsatisfiableError):
        assert not possible(constraint)
        return
    assert possible(constraint)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.tensor([PROMPT] * 8)
    for _ in range(constraint.most + len(suffix) + 1):
        joined = processor(rows, torch.randn(len(rows), VOCAB, generator=generator))
        assert not joined.isnan().any() and (joined.exp().sum(dim=1) - 1).abs().max() < 1e-4
        chosen = torch.multinomial(joined.exp(), 1, generator=generator)
        rows = torch.cat([rows, chosen], dim=1)
    for row in rows[:, len(PROMPT) :].tolist() if not soft else ():
        text = row[: row.index(EOS)]
        content = text[: len(text) - len(suffix)]
        assert text[len(content) :] == suffix
        assert constraint.least <= len(content) <= constraint.most
        assert constraint.factored.accepts(content) and constraint.whole.accepts(content)


@settings(deadline=None, max_examples=8)
@given(constraint=parts(most=4), seed=st.integers(0, 1_000), suffix=SUFFIXES)
def test_read_again_and_in_parts_scores_are_the_same(constraint: Parts, seed: int, suffix: list[int]) -> None:
    assume(possible(constraint))
    hmm = random_hmm(seed)
    followed = processor_of(hmm, constraint.factored, constraint, suffix)
    in_parts = processor_of(hmm, constraint.factored, constraint, suffix, hmm_batch_size=3, table_bytes=1)
    rows = torch.tensor([PROMPT])
    for rows in steps(followed):
        fresh = processor_of(hmm, constraint.factored, constraint, suffix)
        expected = followed.log_ratio(rows)
        torch.testing.assert_close(fresh.log_ratio(rows.flip(0)).flip(0), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(in_parts.log_ratio(rows), expected, atol=1e-5, rtol=0)
    last = rows[0]
    lengths = range(len(PROMPT), len(last) + 1)
    expected = torch.cat([followed.log_ratio(last[None, :length]) for length in lengths])
    torch.testing.assert_close(followed.log_ratios(last), expected, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.one_of(automata(), nondeterministic()), min_size=2, max_size=3), st.integers(0, 1_000))
def test_alternatives_are_at_least_the_likeliest_of_them(several: list[DFA | NFA], seed: int) -> None:
    hmm = random_hmm(seed)
    clauses = [tuple(one if isinstance(one, NFA) else NFA.of(one) for one in several)]
    whole = Parts(tuple(clauses), avoids(), 0, 4, 0)
    assume(possible(whole))
    found = processor_of(hmm, whole.factored, whole).log_probability[0]
    for one in clauses[0]:
        alone = Parts(((one,),), avoids(), 0, 4, 0)
        if possible(alone):
            assert processor_of(hmm, alone.factored, alone).log_probability[0] <= found + 1e-5
