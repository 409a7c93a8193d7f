"""Sizes are compared with the model's context and the free memory before any work, and refused with the numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ctrlg import devices as memory
from ctrlg.automata import trivial
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.errors import ArgumentError, BudgetError
from ctrlg.generation.limits import require_context, require_memory


def a_model(**config: Any) -> Any:
    settings = SimpleNamespace(**config)
    output = SimpleNamespace(weight=torch.empty(1000, 1))
    return SimpleNamespace(config=settings, dtype=torch.float32, device="cpu", get_output_embeddings=lambda: output)


ATTENTION = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "num_key_value_heads": 2}


def test_more_tokens_than_positions() -> None:
    model = a_model(max_position_embeddings=100)
    require_context(model, 60, 40)
    with pytest.raises(ArgumentError, match=r"60 tokens and 41 more .* 100 positions") as refusal:
        require_context(model, 60, 41)
    assert "lower max_new_tokens by 1" in refusal.value.hint
    with pytest.raises(ArgumentError) as refusal:
        require_context(model, 25_000, 40)
    assert "shorten the prompt" in refusal.value.hint


@pytest.mark.parametrize("config", [{}, {"max_position_embeddings": None}], ids=str)
def test_a_model_without_positions_takes_any_number(config: dict[str, Any]) -> None:
    require_context(a_model(**config), 10**6, 10**7)


@pytest.mark.parametrize("config", [{}, ATTENTION], ids=["recurrent", "attention"])
def test_rows_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**9)
    model = a_model(**config)
    require_memory(model, 1, 100, 100)
    for rows in (10**9, 10**40):
        with pytest.raises(ArgumentError, match=r"do not fit into memory.* 1\.0 GB are free") as refusal:
            require_memory(model, 1, rows, 100)
        fitting = int(refusal.value.hint.split()[0].replace(",", ""))
        require_memory(model, 1, fitting, 100)
    with pytest.raises(ArgumentError):
        require_memory(model, 10**6, 100, 100)


def test_keys_and_values_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**9)
    require_memory(a_model(), 1, 1, 10**7)
    with pytest.raises(ArgumentError, match="10,000,000 tokens"):
        require_memory(a_model(**ATTENTION), 1, 1, 10**7)


def test_where_nobody_knows_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    require_memory(a_model(), 1, 10**9, 100)


@pytest.mark.parametrize("tokens", [10**7, 2 * 10**9])
def test_a_constraint_does_not_look_ahead_without_an_end(tokens: int) -> None:
    with pytest.raises(BudgetError, match=f"{tokens:,}") as refusal:
        ConstraintLogitsProcessor(None, trivial(10), 1, tokens, [0], eos_token_id=9)
    assert "or less" in refusal.value.hint
