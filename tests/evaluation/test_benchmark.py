"""The benchmark from a tiny language model to a table: every setting, once, and again where it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.errors import ArgumentError, DataError
from ctrlg.evaluation import benchmark as module
from ctrlg.evaluation.benchmark import (
    BenchmarkSettings,
    concept_sets,
    float_hmm,
    run_benchmark,
)
from ctrlg.evaluation.grid import FLOAT, Grid, Setting
from ctrlg.evaluation.results import read_results
from ctrlg.evaluation.tables import markdown, norm_q_markdown, plot, rows_of
from ctrlg.hmm import HMM
from ctrlg.quantization import quantize

CONCEPTS = [("dog", "park"), ("run",), ("park", "run"), ("dog",), ("dog", "run"), ("park",)]
REFERENCES = ("The dog runs in the park.", "Dogs run.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, an HMM over its vocabulary, and six concept sets."""
    folder = tmp_path_factory.mktemp("benchmark")
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(1)
    HMM(4, len(tokenizer), eos).save_pretrained(folder / "hmm")
    lines = [
        json.dumps({"concept_set_idx": 10 * number, "concepts": concepts, "references": REFERENCES})
        for number, concepts in enumerate(CONCEPTS)
    ]
    (folder / "sets.jsonl").write_text("\n".join(lines))
    return folder


def settings(folder: Path, results: Path, **changes: Any) -> BenchmarkSettings:
    base = BenchmarkSettings(
        str(folder / "hmm"),
        str(folder / "model"),
        str(folder / "sets.jsonl"),
        str(results / "results.jsonl"),
        beams=2,
        limit=2,
        least_words=1,
        most_words=4,
        max_new_tokens=14,
    )
    return replace(base, **changes)


def test_a_stopped_benchmark_goes_on_and_ends_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid.parse("norm-q:8,3 none:2 integer:3 float32 mask-only")
    whole = run_benchmark(settings(folder, tmp_path / "whole"), grid).lines
    assert [(line["method"], line["bits"]) for line in whole[::2]] == [tuple(setting) for setting in grid]
    assert all(line["kept"] for line in whole)

    written = []

    def stop(done: int, total: int) -> None:
        written.append((done, total))
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_benchmark(settings(folder, tmp_path / "broken"), grid, stop)
    assert written[-1] == (5, 12)
    again = run_benchmark(settings(folder, tmp_path / "broken"), grid).lines
    shown = ("method", "bits", "mask", "seed", "concept_set_idx", "sentences", "bytes")
    assert [[line[name] for name in shown] for line in again] == [[line[name] for name in shown] for line in whole]

    def forbidden(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "load_language_model", forbidden)  # nothing is left to write
    assert len(run_benchmark(settings(folder, tmp_path / "whole"), grid).lines) == len(whole)


def test_all_ranked_sentences_are_written(folder: Path, tmp_path: Path) -> None:
    several = settings(folder, tmp_path, beams=4, limit=3, output=str(tmp_path / "results.json"))
    lines = run_benchmark(several, Grid.parse(FLOAT)).lines
    for line in lines:
        assert 1 < len(line["sentences"]) == len(set(line["sentences"])) <= 4
        assert line["kept"]
    assert json.loads((tmp_path / "results.json").read_text()) == [json.loads(json.dumps(line)) for line in lines]


def test_without_limits_on_words_texts_may_be_long_or_short(folder: Path, tmp_path: Path) -> None:
    member = concept_sets(settings(folder, tmp_path), 0)[0]
    assert member.constraint(0, None).holds("dog park") and member.constraint(0, None).holds("dog park " * 50)
    assert not member.constraint(3, None).holds("dog park") and not member.constraint(0, None).holds("dog")
    limits = {"least_words": 0, "most_words": None, "limit": 1}
    (line,) = run_benchmark(settings(folder, tmp_path, **limits), Grid.parse(FLOAT)).lines
    assert line["kept"] and line["settings"]["most_words"] is None


def test_another_model_or_data_set_is_not_mixed_in(folder: Path, tmp_path: Path) -> None:
    grid = Grid.parse("mask-only")
    run_benchmark(settings(folder, tmp_path, limit=1), grid)
    HMM(4, float_hmm(str(folder / "hmm")).vocab_size, 0).save_pretrained(tmp_path / "other")
    with pytest.raises(ArgumentError, match="written with other settings: hmm was"):
        run_benchmark(settings(folder, tmp_path, hmm=str(tmp_path / "other")), grid)
    sets = {"concept_set_idx": 0, "concepts": ["run"], "references": REFERENCES}
    (tmp_path / "sets.jsonl").write_text(json.dumps(sets))
    with pytest.raises(DataError, match="concept set 0 as dog, park, the data set as run"):
        run_benchmark(settings(folder, tmp_path, data=str(tmp_path / "sets.jsonl")), grid)


def test_a_soft_mask_is_told_apart_from_a_hard_one(folder: Path, tmp_path: Path) -> None:
    grid = Grid.parse("none:1")
    run_benchmark(settings(folder, tmp_path), grid)
    lines = run_benchmark(settings(folder, tmp_path, soft_mask=True), grid).lines
    assert [line["mask"] for line in lines] == ["hard", "hard", "soft", "soft"]
    assert [line["kept"] for line in lines][:2] == [True, True]
    with pytest.raises(ArgumentError, match="nothing would steer"):
        run_benchmark(settings(folder, tmp_path, soft_mask=True), Grid.parse("mask-only"))


def test_seeds_draw_other_sets_and_zero_spreads_them(folder: Path, tmp_path: Path) -> None:
    few = settings(folder, tmp_path, limit=3)
    assert [each.number for each in concept_sets(few, 0)] == [0, 20, 40]
    drawn = [tuple(each.number for each in concept_sets(few, seed)) for seed in range(1, 8)]
    assert len(set(drawn)) > 1
    assert all(len(set(numbers)) == 3 and list(numbers) == sorted(numbers) for numbers in drawn)
    everything = settings(folder, tmp_path, limit=None)
    assert len(concept_sets(everything, 3)) == len(CONCEPTS)


def test_bytes_are_those_of_the_file_or_bits_times_entries(folder: Path) -> None:
    hmm = float_hmm(str(folder / "hmm"))
    entries = 4 * (4 + hmm.vocab_size)

    def stored(method: str, bits: int) -> int:
        setting = Setting(method, bits)
        return setting.stored_bytes(hmm, setting.guide(hmm))

    assert stored("row-max", 3) == -(-entries * 3 // 8)
    assert stored(FLOAT, 32) == 4 * entries
    assert stored("norm-q", 4) == quantize(hmm, "norm-q", 4).packed_nbytes
    assert 0 < stored("none", 3) == stored("integer", 3) < entries * 3 // 8  # the same codes, most of them 0
    assert stored("mask-only", 0) == 0


def test_a_compressed_hmm_is_unpacked(folder: Path, tmp_path: Path) -> None:
    packed = quantize(float_hmm(str(folder / "hmm")), "norm-q", 4)
    packed.save_pretrained(tmp_path / "packed")
    torch.testing.assert_close(float_hmm(str(tmp_path / "packed")).emission.to_dense(), packed.emission.to_dense())


@pytest.mark.parametrize("changes", [{"beams": 0}, {"limit": 0}, {"max_new_tokens": 0}, {"most_words": 0}])
def test_settings_out_of_range_are_refused(changes: dict[str, int], folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError):
        settings(folder, tmp_path, **changes)


def test_tables_and_figures_show_every_setting(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    grid = Grid.parse("norm-q:8,3 float32")
    lines = run_benchmark(settings(folder, tmp_path), grid).lines
    references = {each.number: each.references for each in concept_sets(settings(folder, tmp_path), 0)}
    rows = rows_of(lines, references)
    assert [(row.method, row.bits, row.kept, row.sentences) for row in rows] == [
        ("norm-q", 8, 2, 2),
        ("norm-q", 3, 2, 2),
        ("float32", 32, 2, 2),
    ]
    assert rows[0].scores["success"].value == 1
    mean = sum(line["log_prob"] for line in lines[:2]) / 2
    assert rows[0].scores["log_prob"].value == pytest.approx(mean)
    assert markdown(rows).count("\n") == 4
    assert "ROUGE-L (unstemmed)" in markdown(rows)
    _, _, first_row, *_ = norm_q_markdown(rows).splitlines()
    names = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "bleu_average", "cider", "rouge_l_stemmed")
    cells = [f"{rows[0].scores[name].value:.3f}" for name in ("constraints_accuracy", *names)]
    assert first_row == f"| norm-q | 8 | hard | {' | '.join(cells)} |"
    plot(rows, tmp_path / "figure.svg")
    assert "norm-q, hard mask" in (tmp_path / "figure.svg").read_text()
    foreign = [{"concept_set_idx": 0, "concepts": ["dog"], "sentences": ["A dog.", "No."]}]
    (first,) = rows_of(foreign, references, "theirs")
    (row,) = rows_of(foreign, references, "theirs", first_only=False)
    assert (first.scores["success"].value, first.sentences) == (1, 1)
    assert (row.method, row.bits, row.sentences, row.kept) == ("theirs", None, 2, None)
    assert row.scores["success"].value == 0.5
    assert "| theirs |" in markdown([row])
    with pytest.raises(DataError, match="no row says its bits"):
        plot([row], tmp_path / "none.svg")
    assert len(read_results(tmp_path / "results.jsonl")) == 6


def test_little_time_leaves_the_same_concept_sets_with_every_setting(folder: Path, tmp_path: Path) -> None:
    grid = Grid.parse("float32 norm-q:4 log-norm-q:2")
    whole = run_benchmark(settings(folder, tmp_path / "whole", limit=6, together=2), grid).lines
    shown = ("method", "bits", "concept_set_idx", "sentences", "bytes")
    wanted = sorted([line[name] for name in shown] for line in whole)

    hurried = settings(folder, tmp_path / "hurried", limit=6, together=2, seconds=1e-6)
    some = run_benchmark(hurried, grid).lines
    assert [line["concept_set_idx"] for line in some] == 3 * [0, 10]
    rest = run_benchmark(replace(hurried, seconds=1e6), grid).lines
    assert sorted([line[name] for name in shown] for line in rest) == wanted


def test_parts_are_together_the_whole(folder: Path, tmp_path: Path) -> None:
    several = settings(folder, tmp_path, limit=5, together=2, most_sentences=1)
    parts = [
        run_benchmark(
            replace(several, part=part, parts=2, output=str(tmp_path / f"{part}.jsonl")), Grid.parse(FLOAT)
        ).lines
        for part in range(2)
    ]
    assert [[line["concept_set_idx"] for line in part] for part in parts] == [[0, 10, 40], [20, 30]]
    assert all(len(line["sentences"]) == 1 for part in parts for line in part)
    with pytest.raises(ArgumentError, match="part 2 of 2"):
        replace(several, part=2, parts=2)
