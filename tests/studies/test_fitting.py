"""EM until held-out likelihood falls."""

from __future__ import annotations

import pytest
import torch

from ctrlg.distillation.em.step import EMSettings, per_token
from ctrlg.errors import ArgumentError
from ctrlg.hmm import HMM
from studies.data.fitting import fit

STATES, VOCABULARY, EOS = 6, 20, 0


def model_and_data() -> tuple[HMM, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    truth = HMM(STATES, VOCABULARY, EOS)
    truth.update_params(truth.alpha_exp, torch.log_softmax(3 * torch.randn(STATES, VOCABULARY), 1), truth.gamma)
    rows = truth.sample(90, 10, generator)
    rows[(rows == EOS).cumsum(1) > 0] = EOS
    return HMM(STATES, VOCABULARY, EOS), rows[:60], rows[60:]


def test_the_best_model_is_kept_and_the_first_left_alone() -> None:
    first, training, held_out = model_and_data()
    before = first.beta.clone()
    seen: list[float] = []
    best = fit(first, training, held_out, EMSettings(16), 0.0, report=lambda step, value: seen.append(value))
    assert torch.equal(first.beta, before)
    assert best.held_out == max(seen) == seen[best.steps - 1] > per_token(first, held_out, 16)
    assert best.held_out == pytest.approx(per_token(best.model, held_out, 16))
    assert len(seen) == best.steps + 1 and seen[-1] <= best.held_out  # it stopped after the first that was no better


def test_a_strong_prior_holds_the_emissions() -> None:
    first, training, held_out = model_and_data()
    held = fit(first, training, held_out, EMSettings(16), 1e6, most_steps=2).model
    free = fit(first, training, held_out, EMSettings(16), 0.0, most_steps=2).model
    moved = [float((model.beta.exp() - first.beta.exp()).abs().max()) for model in (held, free)]
    assert moved[0] < 1e-3 < moved[1]


def test_no_step_is_refused() -> None:
    with pytest.raises(ArgumentError, match="most_steps is 0"):
        fit(*model_and_data(), EMSettings(16), 0.0, most_steps=0)
