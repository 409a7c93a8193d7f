"""Norm-Q's interval study: does EM that sees quantised parameters end better than quantising afterwards?

For every interval, number of bits and seed: EM with quantisation every so many steps and at the end (arXiv 2509.25439);
interval None is float EM quantised once, at the end. The float steps before a run's first quantisation are the same for
all runs of a seed and are taken once. Variants: *plain*; *annealed*, bits fall evenly from 8; *straight-through*, float
counts are kept, and what an E-step on quantised parameters counts is averaged into them:
`counts = (1 - rate) * counts + rate * counted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from ctrlg.arguments import Between, NonNegative, Positive, checked
from ctrlg.distillation.em.settings import QuantizationSchedule
from ctrlg.distillation.em.step import EMSettings, em_counts, mean_log_likelihood
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM, Parameters, maximize
from ctrlg.hmm.learning import Estimate, TotalCounts
from ctrlg.matrices import DenseMatrix
from ctrlg.quantization.methods import quantize_distributions

VARIANTS = ("plain", "annealed", "straight-through")
ANNEAL_FROM = 8  # bits


class StudyRun(NamedTuple):
    """One run. interval: EM steps between quantisations, None for one at the end. variant: one of VARIANTS."""

    method: str
    bits: int
    interval: int | None
    variant: str
    seed: int


class StudyResult(NamedTuple):
    """Mean log-likelihood, nats per token, of the last EM step's parameters before and after they are quantised."""

    train_before: float
    test_before: float
    train_after: float
    test_after: float


@checked
@dataclass(frozen=True)
class StudySettings:
    """What all runs share. steps: of EM. training_sequences: sampled from those given, by seed. rate: of
    straight-through averaging, in (0, 1]. Raises ArgumentError for values out of range."""

    hidden_states: Positive = 128
    steps: Positive = 50
    training_sequences: Positive = 5000
    batch_size: Positive = 512
    pseudocount: NonNegative = 0.001
    rate: Annotated[float, Between(above=0, most=1)] = 0.5

    @property
    def em(self) -> EMSettings:
        """What a single step is told: exact EM, without dropout."""
        return EMSettings(self.batch_size, 0.0, self.pseudocount)

    def schedule(self, run: StudyRun) -> QuantizationSchedule:
        """When a run quantises, and to how many bits. Raises ArgumentError for what is out of range."""
        if run.variant not in VARIANTS:
            raise ArgumentError(f"variant is {run.variant!r}", hint=f"one of {', '.join(VARIANTS)}")
        anneal_from = ANNEAL_FROM if run.variant == "annealed" else None
        interval = self.steps if run.interval is None else run.interval
        return QuantizationSchedule(interval, run.method, run.bits, anneal_from)

    def float_steps(self, run: StudyRun) -> int:
        """Steps a run takes before it first quantises."""
        return min(self.schedule(run).interval, self.steps)


def random_model(hidden_states: int, vocab_size: int, eos_token_id: int, seed: int) -> HMM:
    """A random HMM that is the same for the same seed; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # a GPU's, which torch.manual_seed seeds too, is not restored
        return HMM(hidden_states, vocab_size, eos_token_id)


class SeedStudy:
    """The runs of one seed: its training rows, its first model, and its float EM, remembered where runs leave it.

    training, test: sequences int64 [n, T]. start: the first model. runs: that will be asked for.
    """

    def __init__(
        self,
        settings: StudySettings,
        seed: int,
        training: Tensor,
        test: Tensor,
        start: HMM,
        runs: Sequence[StudyRun],
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._training = training[torch.randperm(len(training), generator=generator)[: settings.training_sequences]]
        self._settings, self._test, self._eos = settings, test, start.eos_token_id
        self._float: dict[int, TotalCounts] = {}
        wanted = {settings.float_steps(run) for run in runs}
        parameters = start.inference_parameters
        for step in range(1, max(wanted, default=0) + 1):
            counts = self._count(parameters)
            parameters = _parameters(self._maximise(counts))
            if step in wanted:
                self._float[step] = counts

    @property
    def tokens(self) -> int:
        """Predicted tokens of the training rows."""
        return int(token_mask(self._training, self._eos).sum())

    def run(self, run: StudyRun) -> StudyResult:
        """Take the steps of a run after the float ones, and judge its end."""
        before, after = self.estimates(run)
        return StudyResult(*self._judge(before), *self._judge(after))

    def estimates(self, run: StudyRun) -> tuple[Estimate, Estimate]:
        """What the last EM step of a run estimates, and the same quantised. Raises ArgumentError for a run that was not
        asked for when the study was made, if its float steps are not there."""
        settings, schedule = self._settings, self._settings.schedule(run)
        first = settings.float_steps(run)
        if first not in self._float:
            raise ArgumentError(f"{run} needs {first} float steps", hint=f"there are {sorted(self._float)}")
        counts = self._float[first]
        before = after = self._maximise(counts)
        for step in range(first, settings.steps + 1):
            if step > first:
                counted = self._count(_parameters(after))
                averaged = run.variant == "straight-through" and after is not before
                counts = _averaged(counts, counted, settings.rate) if averaged else counted
                before = after = self._maximise(counts)
            bits = schedule.bits_at(step, settings.steps)
            if bits is not None:
                after = Estimate(*quantize_distributions(*before, run.method, bits))
        return before, after

    def _count(self, parameters: Parameters) -> TotalCounts:
        return em_counts(parameters, self._training, self._eos, self._settings.em)

    def _maximise(self, counts: TotalCounts) -> Estimate:
        return maximize(counts, self._settings.pseudocount)

    def _judge(self, estimate: Estimate) -> tuple[float, float]:
        """Nats per token on the training and the test rows."""
        model = HMM.of_parameters(*estimate, self._eos)
        batch_size = self._settings.batch_size
        return (
            mean_log_likelihood(model, self._training, batch_size).per_token,
            mean_log_likelihood(model, self._test, batch_size).per_token,
        )


def _parameters(estimate: Estimate) -> Parameters:
    return Parameters(DenseMatrix(estimate.transition), DenseMatrix(estimate.emission), estimate.initial)


def _averaged(counts: TotalCounts, counted: TotalCounts, rate: float) -> TotalCounts:
    return counts._replace(
        initial=torch.lerp(counts.initial, counted.initial, rate),
        transition=torch.lerp(counts.transition, counted.transition, rate),
        emission=torch.lerp(counts.emission, counted.emission, rate),
    )
