"""Look-ahead of automata kept apart: compiled against torch against the formula, and what is estimated against
enumeration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from helpers.automata_oracle import strings
from helpers.decoding_oracle import EOS, VOCAB, TinyHMM, avoids, contains, random_hmm
from torch import Tensor

from ctrlg.automata.dfa import DFA
from ctrlg.decoding.guides import guide_of
from ctrlg.look_ahead import factored
from ctrlg.look_ahead.scaled import ScaledRows
from ctrlg.parts import NFA, Factored, sequence
from ctrlg.parts.factored import Clause

Products = Callable[..., ScaledRows]
CLAUSES = [(0,), (1, 2, 3), (4,), (5, 6)]
WIDTH = 70


def random_rows(count: int, spread: float, seed: int) -> ScaledRows:
    """Rows with a largest entry of 1, small ones and zeros, and scales of some decades."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(count, WIDTH, generator=generator).pow(spread)
    values[torch.rand(count, WIDTH, generator=generator) < 0.2] = 0.0
    values /= values.amax(dim=1, keepdim=True)
    scale = -spread * torch.rand(count, generator=generator).double().numpy()
    return ScaledRows(values, scale)


def by_definition(
    predictive: Tensor,
    sequences: np.ndarray,
    rows: ScaledRows,
    core: np.ndarray,
    factors: np.ndarray,
    clauses: Sequence[Sequence[int]],
) -> np.ndarray:
    """a C_core prod_clauses (1 - prod_i (1 - min(1, C_i / C_core))) / exp(scale of C_core), one number at a time."""
    result = np.zeros((len(sequences), predictive.shape[1]))
    values = rows.values.double().numpy()
    for r in range(len(sequences)):
        for h in range(predictive.shape[1]):
            whole = values[core[r], h] if core[r] >= 0 else 0.0
            product = float(predictive[sequences[r], h]) * whole
            for clause in clauses:
                none = 1.0
                for place in clause:
                    row = factors[r, place]
                    if row >= 0 and whole > 0 and values[row, h] > 0:
                        share = np.log(values[row, h] / whole) + rows.log_scale[row] - rows.log_scale[core[r]]
                        none *= 1 - np.exp(min(0.0, share))
                product *= 1 - none
            result[r, h] = product
    return result


def unscaled(rows: ScaledRows) -> Tensor:
    return rows.values * torch.from_numpy(np.exp(rows.log_scale))[:, None]


def problem(
    seed: int, spread: float = 3.0
) -> tuple[Tensor, np.ndarray, ScaledRows, np.ndarray, np.ndarray, list[tuple[int, ...]]]:
    generator = np.random.default_rng(seed)
    rows = random_rows(9, spread, seed)
    predictive = torch.rand(3, WIDTH, generator=torch.Generator().manual_seed(seed))
    sequences = generator.integers(0, 3, 40)
    core = generator.integers(-1, 4, 40)
    factors = generator.integers(-1, 9, (40, 7))
    factors[:10, 0] = core[:10]  # alternatives that accept whatever follows
    return predictive, sequences, rows, core, factors, CLAUSES


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is not written holds NaN."""
    monkeypatch.setattr(torch, "empty", lambda *size, **options: torch.full(size, float("nan"), **options))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("spread", [1.0, 30.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_products_are_the_same_compiled_in_torch_and_by_definition(seed: int, spread: float) -> None:
    arguments = problem(seed, spread)
    compiled = factored.factored_products(*arguments)
    plain = factored.factored_products_in_torch(*arguments)
    # Shares that add up to nearly nothing lose digits in 1 - (1 - p); by definition most of all.
    np.testing.assert_allclose(unscaled(compiled), by_definition(*arguments), rtol=1e-6, atol=1e-14)
    torch.testing.assert_close(compiled.values, plain.values, rtol=1e-12, atol=0)
    np.testing.assert_allclose(compiled.log_scale, plain.log_scale, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(compiled.values.numpy().max(axis=1), np.isfinite(compiled.log_scale), rtol=1e-12)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("products", [factored.factored_products, factored.factored_products_in_torch])
def test_empty_rows(products: Products) -> None:
    predictive, _, rows, _, _, _ = problem(0)
    none = np.zeros(0, dtype=np.int64)
    empty = products(predictive, none, rows, none, np.zeros((0, 7), np.int64), CLAUSES)
    assert empty.values.shape == (0, WIDTH) and len(empty.log_scale) == 0
    # Without clauses the core speaks alone.
    first = np.array([0, 1, 2])
    alone = products(predictive, first, rows, np.array([1, -1, 2]), np.zeros((3, 0), np.int64), [])
    torch.testing.assert_close(unscaled(alone)[0], predictive[0].double() * rows.values[1])
    assert (alone.values[1] == 0).all() and np.isfinite(alone.log_scale).tolist() == [True, False, True]
    # No alternative is left of a clause; or only rows of zeros.
    dead = ScaledRows(torch.stack([rows.values[0], torch.zeros(WIDTH)]), np.array([0.0, -np.inf]))
    for factors in ([[-1, -1]], [[1, 1]], [[-1, 1]]):
        for clauses in ([(0, 1)], [(0,)], [(0,), (1,)]):
            gone = products(predictive, first[:1], dead, first[:1], np.array(factors), clauses)
            assert (gone.values == 0).all() and (gone.log_scale == -np.inf).all()
    gone = products(predictive, first[:1], dead, np.array([1]), np.array([[0]]), [(0,)])
    assert (gone.values == 0).all()


@pytest.mark.parametrize("products", [factored.factored_products, factored.factored_products_in_torch])
@pytest.mark.parametrize("height", [-800.0, -300.0, 0.0, 300.0])
def test_scales_of_any_height_take_each_other_away(products: Products, height: float) -> None:
    predictive, sequences, rows, core, factors, clauses = problem(2)
    expected = products(predictive, sequences, rows, core, factors, clauses)
    moved = ScaledRows(rows.values, rows.log_scale + height)
    found = products(predictive, sequences, moved, core, factors, clauses)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-9, atol=0)
    np.testing.assert_allclose(found.log_scale, expected.log_scale, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("products", [factored.factored_products, factored.factored_products_in_torch])
@pytest.mark.parametrize("apart", [-900.0, -500.0, 500.0, 900.0])
def test_rows_far_apart_give_numbers(products: Products, apart: float) -> None:
    """An alternative far below the core has no share, one above it, as of many runs, a whole one."""
    values = torch.tensor([[1.0, 0.5, 0.0, 1e-30], [0.0, 1e-30, 1.0, 1.0]])
    rows = ScaledRows(values, np.array([0.0, apart]))
    first, whole = np.zeros(1, dtype=np.int64), values[0].double()
    for clauses, factors in (([(0,)], [[1]]), ([(0, 1)], [[1, 1]])):
        found = products(torch.ones(1, 4), first, rows, first, np.array(factors), clauses)
        assert found.values.isfinite().all() and not np.isnan(found.log_scale).any()
        if apart > 0:
            torch.testing.assert_close(unscaled(found)[0], torch.where(values[1] > 0, whole, 0.0))
        else:
            assert (unscaled(found) <= 1e-100).all()


@pytest.mark.parametrize("products", [factored.factored_products, factored.factored_products_in_torch])
def test_forty_unlikely_clauses_still_tell_hidden_states_apart(products: Products) -> None:
    """Each of e^-50, all of them together of e^-2000, which no float64 holds."""
    values = torch.stack([torch.ones(4), torch.tensor([1.0, 0.5, 0.9, 0.0])])
    rows = ScaledRows(values, np.array([0.0, -50.0]))
    first = np.zeros(1, dtype=np.int64)
    found = products(torch.ones(1, 4), first, rows, first, np.full((1, 40), 1), [(place,) for place in range(40)])
    torch.testing.assert_close(found.values[0], values[1].double() ** 40)
    np.testing.assert_allclose(found.log_scale, [-2000.0])


def enumerated(hmm: TinyHMM, accepts: Callable[[tuple[int, ...]], bool | int], most: int) -> np.ndarray:
    """p(accepted content of at most so many tokens, then end of text | z) for each hidden state, [H]."""
    total = np.zeros(len(hmm.initial))
    for text in strings(EOS, most):
        if times := int(accepts(text)):
            for state, start in enumerate(np.eye(len(total))):
                total[state] += times * hmm.probability((*text, EOS), start)
    return total


def estimate(hmm: TinyHMM, clauses: Sequence[Clause], most: int, most_nodes: int = 0) -> float:
    parts = Factored.of(clauses, VOCAB, most_nodes)
    guide = guide_of(hmm.model, parts, None, [EOS], [[0, most]], EOS)
    return guide.log_probability(torch.from_numpy(hmm.initial).float()[None], (0, most))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_estimate_is_the_formula(seed: int) -> None:
    """The core accepts everything; two keywords, and a third or a fourth one."""
    hmm = random_hmm(seed)
    one, two, three, four = contains(1), contains(2), contains(3, 0), contains(0, 0, 1)
    clauses = [(one,), (two,), (three, four)]
    whole = enumerated(hmm, lambda text: True, 5)
    shares = [enumerated(hmm, part.accepts, 5) / whole for part in (one, two, three, four)]
    either = 1 - (1 - shares[2]) * (1 - shares[3])
    expected = np.log(float(hmm.initial @ (whole * shares[0] * shares[1] * either)))
    assert estimate(hmm, clauses, 5) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_of_a_core_and_one_clause_the_estimate_is_the_probability(seed: int) -> None:
    hmm = random_hmm(seed)
    core, part = avoids(0), contains(1)
    both = enumerated(hmm, lambda text: core.accepts(text) and part.accepts(text), 5)
    expected = np.log(float(hmm.initial @ both))
    for clause in (NFA.of(part), sequence([avoids(1), only(1), avoids()])):
        assert estimate(hmm, [(core,), (clause,)], 5, 1_000) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_of_an_ambiguous_automaton_it_is_the_expected_number_of_runs_at_most_the_core(seed: int) -> None:
    hmm = random_hmm(seed)
    # A token 1 at some place: as many runs as the content has of it.
    ambiguous = sequence([avoids(), only(1), avoids()])
    runs = enumerated(hmm, lambda text: text.count(1), 4)
    whole = enumerated(hmm, lambda text: True, 4)
    expected = np.log(float(hmm.initial @ np.minimum(runs, whole)))
    exact = np.log(float(hmm.initial @ enumerated(hmm, contains(1).accepts, 4)))
    found = estimate(hmm, [(ambiguous,)], 4)
    assert found == pytest.approx(expected, abs=1e-5)
    assert exact - 1e-6 <= found <= np.log(float(hmm.initial @ whole)) + 1e-6


def only(token: int) -> DFA:
    """Accepts one token."""
    delta = np.full((3, VOCAB), 2, dtype=np.int32)
    delta[0, token] = 1
    return DFA(np.arange(VOCAB, dtype=np.int32), delta, 0, np.array([False, True, False]))
