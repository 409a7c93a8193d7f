"""Every token is predicted once, with the context that its window gives."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.decoders import VOCABULARY, decoder
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ctrlg.errors import ArgumentError, DataError
from normtweaking.perplexity import sliding_window_perplexity, windows

TOKENS = torch.randint(VOCABULARY, (41,), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def log_probability(tokens: Tensor) -> float:
    """Of the last token, given those before it, with nothing kept from earlier calls."""
    return decoder("llama")(tokens[None]).logits[0, -2].log_softmax(0)[tokens[-1]].item()


@settings(deadline=None)
@given(length=st.integers(2, 200), window=st.integers(2, 50), share=st.floats(0, 1))
def test_windows_predict_every_token_once(length: int, window: int, share: float) -> None:
    stride = 1 + int(share * (window - 2))
    cut = list(windows(length, window, stride))
    assert [token for part in cut for token in range(part.first, part.stop)] == list(range(1, length))
    assert all(part.start < part.first and part.stop - part.start <= window for part in cut)


def test_perplexity_is_that_of_single_predictions() -> None:
    found = sliding_window_perplexity(decoder("llama"), TOKENS, window=12, stride=5)
    starts = [0] * 11 + [start for start in (5, 10, 15, 20, 25) for _ in range(5)] + [30] * 4
    expected = sum(log_probability(TOKENS[start : token + 1]) for token, start in enumerate(starts, start=1)) / 40
    assert found.tokens == 40
    assert found.nats == pytest.approx(-expected, rel=1e-4)
    assert found.perplexity == pytest.approx(math.exp(-expected), rel=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "opt"])
def test_one_window_is_the_loss_of_transformers(name: str) -> None:
    model = decoder(name)
    with torch.no_grad():
        expected = model(TOKENS[None], labels=TOKENS[None]).loss.item()
    assert sliding_window_perplexity(model, TOKENS, window=64, stride=63).nats == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_is_refused() -> None:
    model = decoder()
    for window, stride in ((1, 1), (65, 8)):
        with pytest.raises(ArgumentError, match=f"window is {window}"):
            sliding_window_perplexity(model, TOKENS, window, stride)
    for stride in (0, 8):
        with pytest.raises(ArgumentError, match=f"stride is {stride}"):
            sliding_window_perplexity(model, TOKENS, 8, stride)
    with pytest.raises(DataError):
        sliding_window_perplexity(model, TOKENS[:1])
