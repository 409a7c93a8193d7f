"""genlm-control's own assertions about potentials, for ours. They run where genlm-control is."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import numpy as np
import pytest
from helpers.engines.worlds import tiny_world

from ctrlg import Keywords, WordCount
from ctrlg.engines.requests import Guiding, Request
from ctrlg.errors import VocabularyError

pytest.importorskip("genlm.control", reason="genlm-control is not installed: make test-engines")
Token: Any = importlib.import_module("genlm.backend.tokenization").Token

REQUEST = Request(Keywords([["dog"]]) & WordCount(1, 3), suffix=".", max_new_tokens=6)


def potential(with_hmm: bool) -> Any:
    from ctrlg.engines.genlm import ConstraintPotential

    world = tiny_world()
    guiding = Guiding(world.tokenizer, world.hmm if with_hmm else None)
    data = enumerate(guiding.vocabulary.token_bytes)
    return ConstraintPotential([Token(number, text) for number, text in data if text is not None], guiding, REQUEST)


def contexts(asked: Any) -> list[list[Any]]:
    """Contexts along a sampled text that keeps the constraint, and the whole text."""
    generator = np.random.default_rng(0)
    found: list[list[Any]] = [[]]
    while True:
        weights = asyncio.run(asked.logw_next(found[-1])).weights
        odds = np.exp(weights - weights.max())
        place = generator.choice(len(odds), p=odds / odds.sum())
        if place == len(odds) - 1:
            return found
        found.append([*found[-1], asked.vocab[place]])


@pytest.mark.parametrize("with_hmm", [True, False])
def test_a_constraint_is_a_consistent_potential(with_hmm: bool) -> None:
    asked = potential(with_hmm)
    found = contexts(asked)
    asyncio.run(asked.assert_contract(found))
    assert asyncio.run(asked.complete(found[-1])) == 0.0
    text = b"".join(token.byte_string for token in found[-1]).decode()
    assert REQUEST.constraint.holds(text) and text.endswith(".")
    assert all(np.isneginf(asyncio.run(asked.complete(context))) for context in found[:-1])


def test_a_prefix_is_the_probability_of_the_constraint() -> None:
    """The sum over all texts of one token and the end of text."""
    from ctrlg.engines.genlm import ConstraintPotential

    world = tiny_world()
    data = enumerate(world.guiding.vocabulary.token_bytes)
    tokens = [Token(number, text) for number, text in data if text is not None]
    asked = ConstraintPotential(tokens, world.guiding, Request(WordCount(1, 1), max_new_tokens=1))
    hmm = world.hmm
    alpha, beta = hmm.transition.to_dense(), hmm.emission.to_dense()
    total = 0.0
    for token in tokens:
        if not np.isneginf(asyncio.run(asked.complete([token]))):
            state = (hmm.initial * beta[:, token.token_id]) @ alpha
            total += float((state * beta[:, world.end]).sum())
    assert asyncio.run(asked.prefix([])) == pytest.approx(np.log(total), abs=1e-4)


def test_what_cannot_be_kept_has_no_weight() -> None:
    asked = potential(True)
    lost = [next(token for token in asked.vocab if token.byte_string == b".")] * 6
    assert np.isneginf(asyncio.run(asked.prefix(lost)))
    with pytest.raises(ValueError, match="cannot be kept"):
        asyncio.run(asked.logw_next(lost))
    with pytest.raises(VocabularyError, match="token_id"):
        type(asked)([b"a"], tiny_world().guiding, REQUEST)
