"""Traces: the curve is the enumerated probability, the preferences are those of the search, results can be plotted."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, TinyConstraint, avoids, contains, random_hmm
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg import Generator, Keywords, WordCount, generate
from ctrlg.automata.dfa import DFA
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.errors import ArgumentError
from ctrlg.generation import prepared
from ctrlg.generation.compiled import CompiledConstraint
from ctrlg.generation.tracing import Trace, traced
from ctrlg.generation.tracing.figure import figure_of
from ctrlg.generation.tracing.trace import curve
from ctrlg.hmm import HMM
from ctrlg.vocabulary.token_bytes import Vocabulary

LETTERS = Vocabulary((b" a", b"b", b"c", b".", None), eos_token_id=EOS)
SMALL = tiny_language_model(VOCAB)
TOKENIZER = tiny_tokenizer()
MODEL = tiny_language_model(len(TOKENIZER))
END = int(TOKENIZER.eos_token_id)  # type: ignore[arg-type]
SHORT: dict[str, Any] = {"suffix": ".", "max_new_tokens": 9, "num_beams": 3}
CONSTRAINT = Keywords([["dog"], ["park"]]) & WordCount(2, 5)


@pytest.fixture
def hmm() -> HMM:
    torch.manual_seed(1)
    return HMM(4, len(TOKENIZER), END)


CASES = [
    (contains(0, 1), (3, EOS), (1, 4), (2,)),
    (avoids(2), (EOS,), (2, 3), ()),
    (contains(3), (3, EOS), (0, 4), (0, 0)),  # the suffix's first token is content as well
    (contains(1), (2, 2, EOS), (1, 3), ()),
]


@pytest.mark.parametrize(("dfa", "suffix", "token_range", "prefix"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_the_enumerated_probability(
    dfa: DFA, suffix: tuple[int, ...], token_range: tuple[int, int], prefix: tuple[int, ...], seed: int
) -> None:
    hmm = random_hmm(seed, states=4)
    truth = TinyConstraint(dfa, suffix, token_range, prefix)
    joint, start = truth.joint(hmm), hmm.after(prefix)
    processor = ConstraintLogitsProcessor(hmm.model, dfa, *token_range, [EOS, *prefix], prefix, suffix)
    constraint = CompiledConstraint(dfa, LETTERS, dfa, dfa, list(prefix), list(suffix), "", False)
    for text in truth.texts[:: max(1, len(truth.texts) // 8)]:
        trace = traced(SMALL, processor, constraint, text[: len(text) - len(suffix)])
        expected = [joint[text[:n]] / hmm.probability(text[:n], start) for n in range(len(text) + 1)]
        found = curve(trace)
        assert found is not None
        np.testing.assert_allclose(found, expected, rtol=2e-5)
        assert trace.steps[-1].satisfied == pytest.approx(0, abs=1e-6) and trace.steps[-1].part == "end"


def test_preferences_are_those_of_the_models(hmm: HMM) -> None:
    (result,) = Generator(MODEL, TOKENIZER, hmm)(CONSTRAINT, strength=1.5, temperature=0.7, prefix="the", **SHORT)
    trace = result.trace()
    suffix = TOKENIZER.encode(".")
    ids = [*result.token_ids, *suffix, END]
    assert [step.written.token_id for step in trace.steps] == ids
    assert trace.prefix + "".join(step.written.text for step in trace.steps) == result.text
    prompt = [END, *TOKENIZER.encode("the")]
    with torch.no_grad():
        scores = MODEL(torch.tensor([[*prompt, *ids]])).logits[0].double().softmax(dim=1)
    total = 0.0
    for place, step in enumerate(trace.steps):
        row = scores[len(prompt) + place - 1]
        assert step.alone == pytest.approx(float(row[step.written.token_id]), rel=1e-4)
        assert [token.token_id for token in step.preferred_alone] == row.topk(5).indices.tolist()
        assert step.preferred_alone[0].probability == pytest.approx(float(row.max()), rel=1e-4)
        assert 0 < step.written.probability <= 1 + 1e-6 and len(step.preferred_guided) <= 5
        guided = [token.probability for token in step.preferred_guided]
        assert guided == sorted(guided, reverse=True) and sum(guided) <= 1 + 1e-5
        total += math.log(step.alone)
    assert total == pytest.approx(result.total_log_prob, rel=1e-4)
    content = [step for step in trace.steps if step.part == "content"]
    assert len(content) == len(result.token_ids) and content[-1].tokens_needed == 0
    assert all(0 <= step.state < trace.num_states for step in trace.steps)
    # A token takes the constraint at most one token nearer to its end.
    needed = [step.tokens_needed for step in content]
    assert all(before - 1 <= after for before, after in pairwise(needed))  # type: ignore[operator]


def test_a_trace_uses_what_is_kept_and_makes_it_again_where_it_is_not(
    hmm: HMM, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    original = prepared.guide_of
    monkeypatch.setattr(prepared, "guide_of", lambda *arguments: made.append(1) or original(*arguments))
    generator = Generator(MODEL, TOKENIZER, hmm)
    (result,) = generator(CONSTRAINT, **SHORT)
    trace = result.trace()
    assert len(made) == 1
    (same,) = generate(MODEL, TOKENIZER, hmm, CONSTRAINT, **SHORT)
    assert same == result and same.trace() == trace and len(made) == 3


def test_a_prepared_constraint_is_ready(hmm: HMM, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    original = prepared.guide_of
    monkeypatch.setattr(prepared, "guide_of", lambda *arguments: made.append(1) or original(*arguments))
    generator = Generator(MODEL, TOKENIZER, hmm)
    generator.prepare(CONSTRAINT, suffix=".", max_new_tokens=9)
    assert len(made) == 1 and generator(CONSTRAINT, **SHORT) and len(made) == 1
    with pytest.raises(ArgumentError, match="prepare: max_new_tokens"):
        generator.prepare(CONSTRAINT, max_new_tokens=-1)


def test_copies_and_files_leave_the_models_behind(hmm: HMM) -> None:
    (result,) = Generator(MODEL, TOKENIZER, hmm)(CONSTRAINT, **SHORT)
    assert "_tracer" not in asdict(result) and "_tracer" not in repr(result)
    for copied in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert copied == result
        with pytest.raises(ArgumentError, match="lost the models"):
            copied.trace()


def test_plots(hmm: HMM, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (result,) = Generator(MODEL, TOKENIZER, hmm)(CONSTRAINT, prefix="$the", **SHORT)
    figure = result.plot(tmp_path / "trace.png")
    above, alone, guided = figure.axes
    values = curve(result.trace())
    assert values is not None
    np.testing.assert_allclose(above.lines[-1].get_ydata(), np.maximum(values, 1e-12))
    assert above.get_yscale() == "log" and alone.get_ylabel() != guided.get_ylabel()
    assert (tmp_path / "trace.png").stat().st_size > 10_000
    with pytest.raises(ArgumentError):
        result.plot(tmp_path / "trace.txt")


def test_the_mask_alone_has_no_curve() -> None:
    pytest.importorskip("matplotlib")
    (result,) = Generator(MODEL, TOKENIZER, None, eos_token_id=END)(CONSTRAINT, **SHORT)
    trace: Trace = result.trace()
    assert trace.satisfied is None and curve(trace) is None
    assert all(step.satisfied is None and step.preferred_guided for step in trace.steps)
    figure_of(trace).canvas.draw()
