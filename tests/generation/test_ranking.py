from __future__ import annotations

import pytest
import torch
from helpers.tiny_models import tiny_language_model

from ctrlg.errors import ArgumentError
from ctrlg.generation import extract_generated_ids, rank_generated_ids, ranking, score_generated_ids

MODEL = tiny_language_model(11)
CONTENTS = [(1, 2), (3, 4, 5, 6), (7,), (), (9, 9, 9)]
PROMPT, SUFFIX = [0, 5], [8, 10]


def token_log_probs(tokens: list[int]) -> list[float]:
    with torch.no_grad():
        logits = MODEL(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
    return [float(logits[i - 1, tokens[i]]) for i in range(1, len(tokens))]


@pytest.mark.parametrize("suffix_only", [False, True])
@pytest.mark.parametrize("cap", [None, 1])
@pytest.mark.parametrize("penalty", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("prompt", [PROMPT, []])
def test_scores_are_those_of_one_sequence_at_a_time(
    suffix_only: bool, cap: int | None, penalty: float, prompt: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "LOGIT_BYTES", 4 * 11 * 8 * 2)  # two sequences at a time
    contents = CONTENTS if prompt else [content for content in CONTENTS if content]
    found = score_generated_ids(MODEL, contents, prompt, SUFFIX, suffix_only, cap, penalty)
    for content, scored in zip(contents, found, strict=True):
        suffix = SUFFIX[:cap]
        logs = token_log_probs([*prompt, *content, *suffix])
        counted = logs[-len(suffix) :] if suffix_only else logs[max(0, len(prompt) - 1) :]
        assert scored.token_ids == content
        assert scored.total == pytest.approx(sum(counted), abs=1e-4)
        assert scored.log_prob == pytest.approx(sum(counted) / len(counted) ** penalty, abs=1e-4)
    ranked = rank_generated_ids(MODEL, contents, prompt, SUFFIX, suffix_only, cap, penalty)
    assert ranked == [one.token_ids for one in sorted(found, key=lambda one: one.log_prob, reverse=True)]


def test_nothing_to_rank() -> None:
    assert rank_generated_ids(MODEL, [], PROMPT, SUFFIX) == []
    with pytest.raises(ArgumentError, match="no token to score"):
        rank_generated_ids(MODEL, [()], PROMPT, [])
    with pytest.raises(ArgumentError, match="no token to score"):
        rank_generated_ids(MODEL, [(1,)], PROMPT, [], suffix_logits_only=True)


EXTRACTED = {
    "ended": ([0, 5, 1, 2, 8, 10], (1, 2)),
    "ended and padded": ([0, 5, 1, 2, 8, 10, 10, 10], (1, 2)),
    "padded with something else": ([0, 5, 1, 8, 10, 3, 3], (1,)),
    "content that looks like the suffix": ([0, 5, 8, 8, 10], (8,)),
    "suffix alone": ([0, 5, 8, 10], ()),
    "nothing": ([0, 5], ()),
    "end of text alone": ([0, 5, 10], ()),
    "cut off in the suffix": ([0, 5, 1, 8], (1,)),
    "cut off before it": ([0, 5, 1, 1], (1, 1)),
}


@pytest.mark.parametrize("name", EXTRACTED)
def test_contents_are_taken_out(name: str) -> None:
    row, content = EXTRACTED[name]
    assert extract_generated_ids([row], [0, 5], [8, 10], 10) == [content]
    assert extract_generated_ids([row], [0, 5], [8], 10) == [content]


def test_the_longest_beginning_of_a_suffix_is_cut() -> None:
    rows = [[0, 3, 3, 3, 10], [0, 1, 3, 3], [0, 1, 3], [0, 3, 1]]
    assert extract_generated_ids(rows, [0], [3, 3, 10], 10) == [(3,), (1,), (1,), (3, 1)]
    assert extract_generated_ids(rows, [0], [], 10) == [(3, 3, 3), (1, 3, 3), (1, 3), (3, 1)]


def test_a_prompt_that_is_the_end_of_text_token_stays_apart() -> None:
    assert extract_generated_ids([[10, 1, 8, 10, 10], [10, 10]], [10], [8, 10], 10) == [(1,), ()]
