"""The predictive state under matrices whose rows do not sum to 1: it may be lost, never NaN, and no scale piles up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ctrlg.automata.dfa import DFA
from ctrlg.decoding.sequences import SequenceReader
from ctrlg.look_ahead.content import content_automaton
from ctrlg.matrices import DenseMatrix
from ctrlg.quantization import UnnormalisedHMM

EOS, VOCAB = 0, 4
ANYTHING = DFA(np.zeros(VOCAB, dtype=np.int32), np.array([[0]], dtype=np.int32), 0, np.array([True]))


def predictive(transition: Tensor, emission: Tensor, prefix: tuple[int, ...], generated: list[int]) -> Tensor:
    """[H] after the prefix and the generated tokens."""
    states = len(transition)
    initial = torch.full((states,), 1 / states)
    hmm = UnnormalisedHMM(DenseMatrix(transition), DenseMatrix(emission), initial, EOS, method="none", bits=4)
    reader = SequenceReader(hmm, content_automaton(ANYTHING, EOS), (EOS,), prefix)
    sequences = reader.read(np.array([generated], dtype=np.int64), np.zeros(1, dtype=np.int64))
    assert sequences.predictive is not None
    return sequences.predictive[0]


def test_where_every_path_is_lost_the_state_is_zero() -> None:
    transition, emission = torch.zeros(2, 2), torch.full((2, VOCAB), 0.25)
    assert torch.equal(predictive(transition, emission, (1, 2), []), torch.zeros(2))
    assert torch.equal(predictive(transition, emission, (1,), [2, 3]), torch.zeros(2))


def test_the_scale_of_rows_does_not_pile_up_over_tokens_that_no_state_writes() -> None:
    transition, emission = torch.tensor([[3e6, 1e6], [0.0, 4e6]]), torch.zeros(2, VOCAB)
    long = predictive(transition, emission, (1,) * 20, [2] * 20)
    torch.testing.assert_close(long / long.sum(), torch.tensor([0.0, 1.0]), rtol=0, atol=1e-4)


def test_it_is_that_of_normalised_rows_where_all_have_one_scale() -> None:
    rng = torch.Generator().manual_seed(0)
    transition = torch.softmax(torch.randn(3, 3, generator=rng), dim=1)
    emission = torch.softmax(torch.randn(3, VOCAB, generator=rng), dim=1)
    scaled = predictive(5 * transition, 0.1 * emission, (1, 3), [2, 2, 1])
    torch.testing.assert_close(scaled, 5 * predictive(transition, emission, (1, 3), [2, 2, 1]), rtol=1e-5, atol=0)
