"""A study resumes, chooses by held-out texts, and says what it found."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.records import StudyLines
from normtweaking import sliding_window_perplexity
from normtweaking.grid import Grid
from normtweaking.tweaking.moments import channel_moments
from normtweaking.tweaking.tweaker import ModelTweaker
from studies.norm_tweaking.layer_deltas import layer_deltas, layer_moments, plot_layers
from studies.norm_tweaking.measures import COLUMNS, NormMeasures, Scheme, StudySettings, Wanted, Way
from studies.norm_tweaking.report import groups, plot_study, table

TOKENIZER = tiny_tokenizer()
EOS = int(TOKENIZER.eos_token_id)  # type: ignore[arg-type]
TEXT = torch.randint(len(TOKENIZER), (60,), generator=torch.Generator().manual_seed(1))
SETTINGS = StudySettings(
    held_out=3,
    length=10,
    passes=2,
    batch_size=2,
    layer_grid=Grid((1e-4, 1e-3), (1.0,)),
    end_to_end_grid=Grid((1e-3,), (0.0,)),
    window=20,
    stride=10,
)
SCHEMES = [Scheme(2, None), Scheme(3, 8)]
WAYS = [Way.parse(text) for text in ("distribution", "least-squares", "end-to-end", "moments+end-to-end")]


def study(folder: Path, *wanted: Any) -> NormMeasures:
    model = tiny_language_model(len(TOKENIZER), eos_token_id=EOS)
    return NormMeasures(model, TOKENIZER, TEXT, SETTINGS, Wanted(*wanted), folder / "a.jsonl")


def measured(folder: Path, *wanted: Any) -> list[dict[str, Any]]:
    """The lines of all combinations, those that are not there measured."""
    with StudyLines(folder / "a.jsonl", COLUMNS) as lines:
        measures = study(folder, *wanted)
        for key in measures.combinations():
            if key not in lines:
                lines.add(key, measures.measure(key))
        return lines.lines


def test_a_study_resumes_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = measured(tmp_path, SCHEMES, WAYS, [4, 2], [0, 1])
    assert len(lines) == 1 + 2 * (1 + 4 * 2 * 2)
    exact = lines[0]["perplexity"]
    assert exact == pytest.approx(
        sliding_window_perplexity(tiny_language_model(len(TOKENIZER), eos_token_id=EOS), TEXT, 20, 10).perplexity
    )
    for line in lines:
        if line["samples"]:
            assert line["score_tweaked"] <= line["score_quantized"] or not line["kept"]

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("studies.norm_tweaking.measures.sliding_window_perplexity", refuse)
    assert measured(tmp_path, SCHEMES, WAYS, [4, 2], [0, 1]) == lines
    found = groups(lines)
    assert len(found) == 2 * 4 * 2
    assert all(len(group.lines) == 2 for group in found)
    first = found[0]
    assert first.recovered[0] == pytest.approx(
        100 * (lines[1]["perplexity"] - lines[2]["perplexity"]) / (lines[1]["perplexity"] - exact)
    )
    assert first.recovered_nats[0] == pytest.approx(
        100 * math.log(lines[1]["perplexity"] / lines[2]["perplexity"]) / math.log(lines[1]["perplexity"] / exact)
    )
    assert table(lines).count("\n") == 1 + len(found)
    assert len(plot_study(lines).axes) == len(SCHEMES)
    with pytest.raises(DataError, match="one text"):
        groups([*lines, {**lines[0], "text": "other"}])


def test_tweak_ends_with_the_model_of_the_line(tmp_path: Path) -> None:
    wanted = (SCHEMES[:1], WAYS[2:3], [4], [0])
    *_, line = measured(tmp_path, *wanted)
    other = study(tmp_path, *wanted)
    other.tweak(SCHEMES[0], WAYS[2], 4, 0)
    assert sliding_window_perplexity(other.model, TEXT, 20, 10).perplexity == pytest.approx(line["perplexity"])
    assert other.held_out(4, 0).shape == (3, 10)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_a_search_has_found_is_not_made_again(tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    run = ModelTweaker.run
    monkeypatch.setattr(ModelTweaker, "run", lambda self, *rest, **kept: made.append(1) or run(self, *rest, **kept))
    *_, line = measured(tmp_path, SCHEMES[:1], [way], [4], [0])
    points = len(SETTINGS.layer_grid.learning_rates) if way == WAYS[0] else 1
    assert len(made) == points
    (tmp_path / "a.jsonl").unlink()  # the points of the search stay, the model that they gave does not
    *_, again = measured(tmp_path, SCHEMES[:1], [way], [4], [0])
    assert len(made) == points + 1
    assert again["perplexity"] == pytest.approx(line["perplexity"], rel=1e-6)
    assert {**again, "seconds": 0, "perplexity": 0} == {**line, "seconds": 0, "perplexity": 0}


def test_layer_deltas_are_those_of_hidden_states(tmp_path: Path) -> None:
    one, two = (tiny_language_model(len(TOKENIZER), seed, EOS, layers=2) for seed in (0, 1))
    tokens = TEXT.view(6, 10)
    deltas = layer_deltas(layer_moments(one, tokens, 4), layer_moments(two, tokens, 4))
    with torch.no_grad():
        states = [model(tokens, output_hidden_states=True).hidden_states[1] for model in (one, two)]
    expected = [channel_moments(state.double()) for state in states]
    torch.testing.assert_close(deltas.mean[0], (expected[0].mean - expected[1].mean).abs(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        deltas.variance[0], (expected[0].variance - expected[1].variance).abs(), rtol=1e-4, atol=1e-6
    )
    assert len(plot_layers(deltas, deltas, "a test").axes) == 2


@pytest.mark.parametrize("text", ["four", "4:", "4:x", "9", "4:1", ""])
def test_unknown_schemes_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        Scheme.parse(text)


@pytest.mark.parametrize("text", ["kl", "end-to-end+mse", "distribution+end-to-end", "moments+x", ""])
def test_unknown_ways_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        Way.parse(text)


def test_a_scheme_that_does_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="groups of 7"):
        study(tmp_path, [*SCHEMES, Scheme(4, 7)], WAYS, [4], [0])
