"""The guide under compression: against enumeration, and the study from a tiny language model to its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.decoding_oracle import EOS, VOCAB, TinyConstraint, TinyHMM, contains, random_hmm
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.distillation.sampling.samples import Samples
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.errors import ArgumentError, CtrlGError, DataError
from ctrlg.evaluation.concept_sets import ConceptSet
from ctrlg.evaluation.grid import MASK_ONLY, Grid
from ctrlg.hmm import HMM
from ctrlg.matrices import DenseMatrix
from ctrlg.quantization.unnormalised import UnnormalisedHMM
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.fidelity.figures import summaries, table
from studies.fidelity.guidance import GuidedText, divergences, frequent_keywords, guided, guided_text
from studies.fidelity.measures import Point, points
from studies.fidelity.study import Fidelity

WORDS = ["dog", "park"]
MOST = 4
CONSTRAINT = TinyConstraint(contains(1), (2, EOS), (1, MOST))
TEXT = (0, 3, 1, 0, 2, EOS)


def tiny_text(text: tuple[int, ...] = TEXT, seed: int = 0) -> GuidedText:
    """A text of the oracle's vocabulary, and a language model that is drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(len(text), VOCAB, generator=generator).log_softmax(dim=1)
    allowed = torch.isfinite(torch.from_numpy(joined_by_enumeration(random_hmm(0), text, scores)))
    return GuidedText(CONSTRAINT.dfa, CONSTRAINT.suffix, text, MOST, scores, allowed)


def joined_by_enumeration(hmm: TinyHMM, text: tuple[int, ...], scores: torch.Tensor) -> np.ndarray:
    """Log of p_LM(v) p(constraint, v | so far) / p(v | so far), normalised, before every token, float64 [T, V]."""
    ratios = CONSTRAINT.log_ratios(hmm)
    joined = np.array([scores[at].double().numpy() + ratios[text[:at]] for at in range(len(text))])
    weights = np.exp(np.nan_to_num(joined, nan=-np.inf))
    with np.errstate(divide="ignore"):
        return np.log(weights / weights.sum(1, keepdims=True))


@examples(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), number=st.integers(0, 10_000))
def test_divergences_are_those_of_the_enumerated_guidance(seed: int, number: int) -> None:
    chosen = CONSTRAINT.texts[number % len(CONSTRAINT.texts)]
    text = tiny_text(chosen, seed)
    first, second = random_hmm(seed), random_hmm(seed + 1)
    truth, other = (np.exp(joined_by_enumeration(hmm, chosen, text.log_probs)) for hmm in (first, second))
    found = divergences(guided(text, first.model).log_probs, guided(text, second.model).log_probs)
    kl = [sum(p * np.log(p / q) for p, q in zip(*rows, strict=True) if p) for rows in zip(truth, other, strict=True)]
    np.testing.assert_allclose(found.kl.numpy(), kl, atol=1e-5)
    np.testing.assert_allclose(found.variation.numpy(), np.abs(truth - other).sum(1) / 2, atol=1e-5)
    assert found.forbidden.tolist() == [0.0] * len(chosen)


def test_the_same_guide_does_not_move() -> None:
    log_probs = guided(tiny_text(), random_hmm(3).model).log_probs
    for values in divergences(log_probs, log_probs):
        assert values.tolist() == [0.0] * len(TEXT)


def test_what_the_other_forbids_is_infinite_and_weighed() -> None:
    reference = torch.tensor([[0.5, 0.3, 0.2, 0.0], [0.5, 0.5, 0.0, 0.0]]).log()
    other = torch.tensor([[0.5, 0.0, 0.5, 0.0], [0.25, 0.5, 0.0, 0.25]]).log()
    found = divergences(reference, other)
    assert found.kl[0] == torch.inf
    assert float(found.kl[1]) == pytest.approx(0.5 * np.log(2))
    assert found.forbidden.tolist() == pytest.approx([0.3, 0.0])
    assert found.variation.tolist() == pytest.approx([0.3, 0.25])


def without_word(hmm: TinyHMM, token: int) -> UnnormalisedHMM:
    """The HMM with states that never write `token`."""
    emission = torch.from_numpy(hmm.emission).float().index_fill(1, torch.tensor([token]), 0.0)
    transition = torch.from_numpy(hmm.transition).float()
    initial = torch.from_numpy(hmm.initial).float()
    return UnnormalisedHMM(DenseMatrix(transition), DenseMatrix(emission), initial, EOS, "none", 1)


def test_where_the_guide_is_silent_the_mask_decides_as_in_the_decoder() -> None:
    text = tiny_text()
    hmm = without_word(random_hmm(0), token=1)  # the keyword: before it, no way is seen to keep the constraint
    found = guided(text, hmm)
    assert found.silent.tolist() == [True, True, True, False, False, False]
    alone = guided(text, None).log_probs
    torch.testing.assert_close(found.log_probs[:3], alone[:3])
    processor = ConstraintLogitsProcessor(hmm, CONSTRAINT.dfa, 1, MOST, [EOS], (), CONSTRAINT.suffix)
    ids = torch.tensor([[EOS, *TEXT[:-1]]])
    for at in range(len(TEXT)):
        decoder = processor(ids[:, : at + 1], text.log_probs[at : at + 1])[0]
        torch.testing.assert_close(found.log_probs[at].exp(), decoder.double().exp(), atol=1e-6, rtol=1e-5)


def test_keywords_are_the_most_frequent_single_words() -> None:
    sets = [ConceptSet(0, ("dog", "run", "hot dog"), ()), ConceptSet(1, ("run", "cat", "hot dog"), ())]
    assert frequent_keywords(sets, 3) == ["run", "cat", "dog"]
    with pytest.raises(DataError, match="4 keywords are asked for, the data has 3"):
        frequent_keywords(sets, 4)
    with pytest.raises(ArgumentError, match="0 keywords"):
        frequent_keywords(sets, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, an HMM over its vocabulary, sequences and concept sets."""
    folder = tmp_path_factory.mktemp("fidelity")
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(1)
    hmm = HMM(4, len(tokenizer), eos)
    hmm.save_pretrained(folder / "hmm")
    write_samples(folder / "test", Samples(hmm.sample(6, 8, torch.Generator().manual_seed(0)), None))
    sets = [{"concept_set_idx": 0, "concepts": WORDS, "references": ["A dog."]}]
    (folder / "sets.jsonl").write_text("\n".join(map(json.dumps, sets)))
    return folder


class Tiny(Fidelity):
    """The study, of shorter texts."""

    words = (1, 4)
    most_tokens = 12


GRID = points(Grid.product(["norm-q", "none", "log-norm-q"], [8, 2]), [1e-3])


def flags(folder: Path, output: Path, *more: str) -> list[str]:
    named = {"hmm": "hmm", "model": "model", "test": "test", "dataset_path": "sets.jsonl"}
    paths = [f"--{name}={folder / file}" for name, file in named.items()]
    grid = ["--methods", "norm-q", "none", "log-norm-q", "--bits", "8", "2", "--thresholds", "1e-3"]
    sizes = ["--keywords", "2", "--beams", "2", "--sequences", "4"]
    return [*paths, *grid, *sizes, "--output", str(output / "fidelity.jsonl"), *more]


def test_a_stopped_study_goes_on_and_ends_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(Tiny.run(flags(folder, tmp_path / "whole")).lines)
    assert len(whole) == 2 + 3 * len(GRID)
    path = tmp_path / "broken" / "fidelity.jsonl"
    path.parent.mkdir()
    written = (tmp_path / "whole" / "fidelity.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(written[:10]))  # as if stopped between two keywords of a point
    assert list(Tiny.run(flags(folder, tmp_path / "broken")).lines) == whole

    def forbidden(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr("studies.shared.study.load_language_model", forbidden)  # nothing is left to measure
    assert len(Tiny.run(flags(folder, tmp_path / "whole")).lines) == len(whole)


def test_tables_and_figures_show_every_point(folder: Path, tmp_path: Path) -> None:
    lines = Tiny.run(flags(folder, tmp_path)).lines
    rows = summaries(lines, WORDS)
    assert [row.point for row in rows] == [
        Point(MASK_ONLY, 0),
        *(Point("norm-q", bits) for bits in (8, 2)),
        *(Point("log-norm-q", bits) for bits in (8, 2)),
        Point("log-norm-q", 4, 1e-3),
        *(Point("none", bits) for bits in (8, 2)),
    ]
    by_point = {row.point: row for row in rows}
    mask, published, raw = (by_point[point] for point in (Point(MASK_ONLY, 0), Point("norm-q", 8), Point("none", 2)))
    assert (mask.bytes, mask.silent, mask.keywords) == (0, 0, 2)
    assert published.likelihood and published.kl is not None and published.infinite == 0
    every = [value for line in lines if line["part"] == "guidance" and line["method"] == "none" for value in line["kl"]]
    assert (raw.held_out_loss, raw.kl_sequence, raw.likelihood) == (None, None, False)
    assert any(value is None for value in every) == (raw.infinite > 0 or by_point[Point("none", 8)].infinite > 0)
    text = table(rows)
    assert text.count("\n") == len(GRID) + 1
    assert "| log-norm-q, threshold 0.001 | 4 |" in text
    assert "| none | 2 | 0.000 | - | - |" in text
    partial = [line for line in lines if (line["method"], line["keyword"]) != ("none", "dog")]
    assert Point("none", 2) not in [row.point for row in summaries(partial, WORDS)]
    assert [row.keywords for row in summaries(partial, ["park"])] == [1] * len(GRID)
    figures = ["--plot", str(tmp_path / "rate.svg"), "--guidance_plot", str(tmp_path / "guidance.svg")]
    Tiny.run(flags(folder, tmp_path, *figures))
    assert "the paper's 8 bits" in (tmp_path / "rate.svg").read_text()
    assert "the mask alone" in (tmp_path / "guidance.svg").read_text()
    with pytest.raises(DataError, match="no point is measured on all 3 keywords"):
        summaries(lines, [*WORDS, "run"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--keywords=0", "0 keywords"),
        ("--beams=0", "beams is 0"),
        ("--sequences=1", "sequences is 1"),
        ("--methods=nrm-q", "nrm-q"),
        ("--bits=17", "bits is 17"),
        ("--bits=0", "bits is 0"),
        ("--test=none", "no such data file"),
    ],
)
def test_wrong_inputs_are_named_before_any_work(given: str, message: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CtrlGError, match=message):
        Tiny.run(flags(folder, tmp_path, given))
    assert not (tmp_path / "fidelity.jsonl").exists() or not (tmp_path / "fidelity.jsonl").read_text()


def test_sequences_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    write_samples(tmp_path / "foreign", Samples(torch.full((2, 3), 40_000), None))
    with pytest.raises(DataError, match="holds token 40000"):
        Tiny.run(flags(folder, tmp_path, f"--test={tmp_path / 'foreign'}"))
    with pytest.raises(ArgumentError, match="threshold is -1"):
        points(Grid.product(["norm-q"], [8]), [-1.0])


def test_a_content_that_breaks_the_constraint_is_no_text() -> None:
    vocabulary = Vocabulary.of(tiny_tokenizer())
    model = tiny_language_model(vocabulary.vocab_size, eos_token_id=vocabulary.eos_token_id)
    dfa = ConceptSet(0, ("dog",), ()).constraint(1, 3).compile(vocabulary, suffix=".")
    with pytest.raises(DataError, match="is no content of the constraint"):
        guided_text(model, vocabulary, dfa, vocabulary.spell(["run"])[0] or (), [vocabulary.eos_token_id], 5)
