"""The decoding step that stays on the device: the host's numbers, and how often the host waits for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, contains, random_hmm
from helpers.pretend_device import synchronisations
from torch import Tensor

from ctrlg.automata.dfa import DFA
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.hmm import HMM

pytestmark = pytest.mark.usefixtures("float_kernels")
PROMPT = [7, 7]
STEPS = 5
CONSTRAINTS: dict[str, dict[str, Any]] = {
    "end of text": {"token_ranges": [[1, 4]]},
    "suffix": {"token_ranges": [[0, 3]], "suffix_ids": [2, EOS]},
    "suffix like the content": {"token_ranges": [[1, 3]], "suffix_ids": [1, 1, EOS], "prefix_ids": [0, 3]},
    "a range for each prompt": {"token_ranges": [[1, 1], [2, 4]], "suffix_ids": [3, EOS]},
    "a mask beside": {"token_ranges": [[2, 4]], "mask": contains(3)},
    "soft mask": {"token_ranges": [[1, 2]], "soft_mask": True},
    "strength": {"token_ranges": [[1, 3]], "suffix_ids": [3, EOS], "strength": 1.7},
    "temperature": {"token_ranges": [[1, 3]], "temperature": 0.6},
}


def processor_of(hmm: HMM | None, **options: Any) -> ConstraintLogitsProcessor:
    constraint: DFA = contains(1)
    return ConstraintLogitsProcessor(hmm, constraint, 0, 0, PROMPT, eos_token_id=EOS, **options)


def beams(tokens: Tensor, scores: Tensor, rng: torch.Generator) -> Tensor:
    """Rows of the next step: parents of the same prompt in another order, some twice, and tokens they may write."""
    half = len(tokens) // 2
    parents = torch.cat([torch.randint(0, half, (half,), generator=rng) + first for first in (0, half)])
    chosen = torch.multinomial(scores.softmax(dim=1)[parents], 1, generator=rng)
    return torch.cat([tokens[parents], chosen], dim=1)


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("guided", [True, False])
def test_every_step_of_a_search_equals_the_host_s(device: torch.device, name: str, guided: bool) -> None:
    if name == "soft mask" and not guided:
        pytest.skip("there is no soft mask without an HMM")
    hmm = random_hmm(5, zeros=0.2).model if guided else None
    on_host = processor_of(hmm, **CONSTRAINTS[name])
    there = None if hmm is None else HMM.of_parameters(hmm.alpha_exp, hmm.beta.exp(), hmm.initial, EOS).to(device)
    on_device = processor_of(there, **CONSTRAINTS[name])
    rng = torch.Generator().manual_seed(1)
    tokens = torch.tensor([PROMPT] * 8)
    for _ in range(STEPS):
        logits = torch.randn(len(tokens), VOCAB + 2, generator=rng)
        logits[0, 2], logits[1, 3] = torch.nan, torch.inf
        expected = on_host(tokens, logits)
        given_ids, given_logits = tokens.to(device), logits.to(device)
        with synchronisations() as syncs:
            result = on_device(given_ids, given_logits)
        assert result.device == given_logits.device
        torch.testing.assert_close(result.cpu(), expected, rtol=2e-5, atol=2e-5)
        tokens = beams(tokens, expected, rng)
        assert syncs.largest < VOCAB * len(tokens)


def test_the_host_waits_once_a_step_for_two_bits(device: torch.device) -> None:
    hmm = random_hmm(3).model.to(device)
    processor = processor_of(hmm, token_ranges=[[2, 6]], suffix_ids=[2, EOS])
    tokens, rng = torch.tensor([PROMPT] * 6), torch.Generator().manual_seed(0)
    for _ in range(4):
        given_ids, logits = tokens.to(device), torch.randn(6, VOCAB, generator=rng).to(device)
        with synchronisations() as syncs:
            result = processor(given_ids, logits)
        assert (syncs.number, syncs.largest) == (1, 2), list(syncs)
        tokens = beams(tokens, result.cpu(), rng)


def test_rows_that_come_from_elsewhere_are_read_again(device: torch.device) -> None:
    hmm = random_hmm(4).model
    on_host, on_device = (processor_of(model, token_ranges=[[1, 5]]) for model in (hmm, random_hmm(4).model.to(device)))
    texts = [[[0, 1], [1, 0]], [[3, 3, 1], [1, 1, 1]], [[1, 0, 2, 2], [0, 1, 2, 1]], [[0], [1]], [[], []]]
    for rows in texts:
        tokens = torch.tensor([[*PROMPT, *row] for row in rows])
        logits = torch.randn(2, VOCAB, generator=torch.Generator().manual_seed(len(rows[0])))
        result = on_device(tokens.to(device), logits.to(device))
        torch.testing.assert_close(result.cpu(), on_host(tokens, logits), rtol=2e-5, atol=2e-5)
