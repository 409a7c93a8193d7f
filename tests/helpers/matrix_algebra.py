"""What every StochasticMatrix has to satisfy: each operation equals its definition on `to_dense()` in float64."""

from __future__ import annotations

import abc

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.matrices import StochasticMatrix

SEEDS = st.integers(0, 2**31)


def for_every_matrix(max_examples: int) -> settings:
    """Settings of a test that several classes inherit, which hypothesis would otherwise refuse."""
    shared = [HealthCheck.differing_executors]
    return settings(deadline=None, max_examples=max_examples, suppress_health_check=shared)


@st.composite
def stochastic_matrices(draw: st.DrawFn) -> Tensor:
    """Rows of float32 that sum to 1: a background, possibly 0, and entries of many magnitudes on top of it.

    Some rows have no entry, some columns neither.
    """
    hidden_states, size = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 7, 60, 300, 700]))
    density = draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    rng = torch.Generator().manual_seed(draw(SEEDS))
    stored = torch.rand(hidden_states, size, generator=rng) < density
    background = draw(st.sampled_from([0.0, 1e-6, 1.0]))
    values = background + stored * 10 ** (-6 * torch.rand(hidden_states, size, generator=rng))
    values[values.sum(dim=1) == 0] = 1.0
    return values / values.sum(dim=1, keepdim=True)


def random_step(hidden_states: int, size: int, seed: int) -> ScoringStep:
    """Some states without probability, some weights tiny or 0, some next states dead, some sequences all dead."""
    rng = torch.Generator().manual_seed(seed)
    batch, height, classes = (int(torch.randint(1, most, (), generator=rng)) for most in (40, 50, 60))
    predictive = torch.rand(batch, hidden_states, generator=rng)
    predictive *= torch.rand(batch, hidden_states, generator=rng) < 0.7
    predictive[:, 0] += 0.01
    weights = torch.rand(height, hidden_states, generator=rng) * 10 ** (-36 * torch.rand(height, 1, generator=rng))
    weights[torch.rand(height, generator=rng) < 0.1] = 0
    row_of = torch.randint(-1, height, (batch, classes), generator=rng)
    row_of[torch.rand(batch, generator=rng) < 0.1] = -1
    class_of = torch.randint(0, classes, (size,), generator=rng)
    return ScoringStep(weights, predictive / predictive.sum(dim=1, keepdim=True), row_of, class_of)


def exact_scores(dense: Tensor, step: ScoringStep) -> Tensor:
    """The definition of `scores` in float64, -inf where numerator or denominator is 0."""
    weights = torch.cat([step.weights, torch.zeros(1, len(dense))]).double()
    masses = weights @ dense.double()
    numerator = masses[step.row_of[:, step.class_of.long()].long(), torch.arange(dense.shape[1])]
    denominator = step.predictive.double() @ dense.double()
    return (numerator.log() - denominator.log()).masked_fill((numerator == 0) | (denominator == 0), -torch.inf)


def assert_close(given: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(given.double(), expected.double(), rtol=tolerance, atol=tolerance)


class StochasticMatrixAlgebra(abc.ABC):
    """Every StochasticMatrix passes these; a new one gets them by naming itself."""

    @abc.abstractmethod
    def make(self, dense: Tensor) -> StochasticMatrix:
        """A matrix like this one; it need not be equal, the tests look at its `to_dense()`."""

    @for_every_matrix(25)
    @given(dense=stochastic_matrices())
    def test_rows_are_distributions(self, dense: Tensor) -> None:
        matrix = self.make(dense)
        assert matrix.shape == dense.shape
        assert matrix.to_dense().min() >= 0
        assert_close(matrix.to_dense().double().sum(dim=1), torch.ones(len(dense)))

    @for_every_matrix(40)
    @given(dense=stochastic_matrices(), batch=st.sampled_from([0, 1, 2, 16, 17, 50]), seed=SEEDS)
    def test_products_are_the_dense_products(self, dense: Tensor, batch: int, seed: int) -> None:
        matrix, rng = self.make(dense), torch.Generator().manual_seed(seed)
        x = torch.randn(batch, dense.shape[0], generator=rng)
        y = torch.rand(batch, dense.shape[1], generator=rng)
        assert_close(matrix.left(x), x.double() @ matrix.to_dense().double())
        assert_close(matrix.right(y), y.double() @ matrix.to_dense().double().T)
        assert_close(matrix.left(x.double()), x.double() @ matrix.to_dense().double(), 1e-6)

    @for_every_matrix(25)
    @given(dense=stochastic_matrices(), seed=SEEDS)
    def test_columns_and_rows_are_those_of_the_dense_matrix(self, dense: Tensor, seed: int) -> None:
        matrix, rng = self.make(dense), torch.Generator().manual_seed(seed)
        ids = torch.randint(-1, dense.shape[1], (9,), generator=rng)
        states = torch.randint(0, dense.shape[0], (5,), generator=rng)
        expected = matrix.to_dense()[:, ids.clamp(min=0)].T.masked_fill((ids < 0)[:, None], 1.0)
        assert_close(matrix.columns(ids), expected, 1e-7)
        assert_close(matrix.rows(states), matrix.to_dense()[states], 1e-7)
        assert matrix.columns(ids[:0]).shape == (0, dense.shape[0])

    @for_every_matrix(25)
    @given(dense=stochastic_matrices(), num_classes=st.integers(1, 9), seed=SEEDS)
    def test_class_sums_add_up_columns(self, dense: Tensor, num_classes: int, seed: int) -> None:
        matrix, rng = self.make(dense), torch.Generator().manual_seed(seed)
        class_of = torch.randint(0, num_classes, (dense.shape[1],), generator=rng)
        expected = torch.zeros(num_classes, dense.shape[0], dtype=torch.float64)
        expected.index_add_(0, class_of, matrix.to_dense().double().T)
        assert_close(matrix.class_sums(class_of, num_classes), expected)

    @for_every_matrix(60)
    @given(dense=stochastic_matrices(), seed=SEEDS)
    def test_scores_are_log_ratios(self, dense: Tensor, seed: int) -> None:
        matrix = self.make(dense)
        step = random_step(*matrix.shape, seed)
        scores = matrix.scores(step)
        assert not scores.isnan().any()
        assert_close(scores, exact_scores(matrix.to_dense(), step), 2e-5)

    @for_every_matrix(40)
    @given(dense=stochastic_matrices(), seed=SEEDS, in_place=st.booleans(), spread=st.sampled_from([0.0, 3.0, 300.0]))
    def test_add_scores_adds_and_sums(self, dense: Tensor, seed: int, in_place: bool, spread: float) -> None:
        matrix = self.make(dense)
        step = random_step(*matrix.shape, seed)
        rng = torch.Generator().manual_seed(seed + 1)
        logits = spread * torch.randn(len(step.predictive), dense.shape[1], generator=rng)
        logits[torch.rand(logits.shape, generator=rng) < 0.05] = -torch.inf
        expected = logits.double() + exact_scores(matrix.to_dense(), step)
        out = logits if in_place else torch.full_like(logits, torch.nan)
        joined, log_sum = matrix.add_scores(logits, step, out=out)
        assert joined is out
        assert_close(joined, expected, 2e-5)
        assert_close(log_sum, expected.logsumexp(dim=1), 2e-5)

    def test_scores_where_nothing_lives(self) -> None:
        matrix = self.make(torch.full((3, 300), 1 / 300))
        step = random_step(3, 300, 0)
        dead = step._replace(weights=step.weights[:0], row_of=torch.full_like(step.row_of, -1))
        assert (matrix.scores(dead) == -torch.inf).all()
        joined, log_sum = matrix.add_scores(torch.zeros(len(dead.predictive), 300), dead)
        assert (joined == -torch.inf).all()
        assert (log_sum == -torch.inf).all()
        nobody = step._replace(predictive=step.predictive[:0], row_of=step.row_of[:0])
        assert matrix.scores(nobody).shape == (0, 300)

    def test_no_support_is_no_chance_and_no_nan(self) -> None:
        matrix = self.make(torch.eye(4))
        certain = torch.eye(4)[:2]
        step = ScoringStep(
            torch.ones(1, 4), certain, torch.zeros(2, 1, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
        )
        assert_close(matrix.scores(step), certain.log())

    def test_scale_of_weights_only_shifts_scores(self) -> None:
        matrix = self.make(torch.tensor([[0.5, 0.25, 0.25], [0.9, 0.05, 0.05]]))
        step = random_step(2, 3, 3)
        tiny = step._replace(weights=torch.rand(len(step.weights), 2) * 1e-38)
        assert_close(matrix.scores(tiny), exact_scores(matrix.to_dense(), tiny), 1e-3)

    def test_half_precision_logits_are_taken(self) -> None:
        matrix, step = self.make(torch.full((3, 20), 1 / 20)), random_step(3, 20, 1)
        logits = torch.randn(len(step.predictive), 20)
        joined, _ = matrix.add_scores(logits.bfloat16(), step)
        assert joined.dtype == torch.float32
        assert_close(joined, logits.bfloat16() + matrix.scores(step))

    def test_refuses_what_does_not_fit(self) -> None:
        matrix, step = self.make(torch.full((3, 20), 1 / 20)), random_step(3, 20, 2)
        logits = torch.zeros(len(step.predictive), 20)
        for shape in ((2, 4), (3,), (1, 2, 3)):
            with pytest.raises(ArgumentError, match="x has shape"):
                matrix.left(torch.ones(shape))
            with pytest.raises(ArgumentError, match="y has shape"):
                matrix.right(torch.ones(shape))
        for ids in ([-2], [20]):
            with pytest.raises(VocabularyError, match="token ids"):
                matrix.columns(torch.tensor(ids))
        for states in ([-1], [3]):
            with pytest.raises(ArgumentError, match="row ids"):
                matrix.rows(torch.tensor(states))
        with pytest.raises(ArgumentError, match="classes"):
            matrix.class_sums(torch.full((20,), 2), 2)
        for wrong in (
            step._replace(row_of=step.row_of + len(step.weights)),
            step._replace(row_of=step.row_of - 1),
            step._replace(class_of=step.class_of - 1),
            step._replace(class_of=step.class_of[1:]),
            step._replace(class_of=step.class_of + step.row_of.shape[1]),
            step._replace(weights=step.weights[:, 1:]),
            step._replace(predictive=step.predictive[1:]),
        ):
            with pytest.raises(ArgumentError):
                matrix.scores(wrong)
            with pytest.raises(ArgumentError):
                matrix.add_scores(logits, wrong)
        with pytest.raises(ArgumentError, match="log_probs"):
            matrix.add_scores(logits[:, 1:], step)
        with pytest.raises(ArgumentError, match="out"):
            matrix.add_scores(logits, step, out=logits.double())

    def test_moves(self) -> None:
        matrix = self.make(torch.full((3, 20), 1 / 20))
        assert matrix.device == torch.device("cpu")
        assert_close(matrix.to("cpu").to_dense(), matrix.to_dense(), 0.0)
        assert matrix.to("meta").device == torch.device("meta")
