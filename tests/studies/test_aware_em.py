"""The interval study: its runs are those of the plain loop, its results come back, its figures are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.training_runs import EOS, VOCABULARY, make_run, quiet_train, settings_in

from ctrlg.distillation.em.log import read_log
from ctrlg.distillation.em.plot import plot_training
from ctrlg.distillation.em.settings import QuantizationSchedule
from ctrlg.distillation.em.step import em_step, per_token
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import ArgumentError, DataError
from ctrlg.hmm import HMM
from ctrlg.quantization.methods import quantize_distributions
from studies.aware_em.intervals import SeedStudy, StudyResult, StudyRun, StudySettings, random_model
from studies.aware_em.results import IntervalLines, plot_study, read_results, results_of
from studies.aware_em.study import Intervals

STEPS = 7
SETTINGS = StudySettings(hidden_states=4, steps=STEPS, training_sequences=40, batch_size=16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_run(tmp_path)
    return tmp_path


def study(folder: Path, runs: list[StudyRun], settings: StudySettings = SETTINGS) -> SeedStudy:
    training = read_sequences(folder / "samples" / "tiny.train.1")
    return SeedStudy(settings, 0, training, training, random_model(4, VOCABULARY, EOS, 0), runs)


def by_hand(folder: Path, interval: int | None, bits: int) -> tuple[float, float]:
    """Likelihood before and after the last quantisation, with EM on a model, step by step."""
    training = read_sequences(folder / "samples" / "tiny.train.1")
    rows = training[torch.randperm(len(training), generator=torch.Generator().manual_seed(0))[:40]]
    model, before = random_model(4, VOCABULARY, EOS, 0), 0.0
    for step in range(1, STEPS + 1):
        em_step(model, rows, SETTINGS.em)
        before = per_token(model, rows, 16)
        if step == STEPS or (interval is not None and step % interval == 0):
            transition, emission = model.transition.to_dense(), model.emission.to_dense()
            quantised = quantize_distributions(transition, emission, model.initial, "norm-q-max", bits)
            model = HMM.of_parameters(*quantised, EOS)
    return before, per_token(model, rows, 16)


@pytest.mark.parametrize("interval", [1, 3, 7, 50, None])
def test_a_run_is_em_with_quantisation_every_so_many_steps(folder: Path, interval: int | None) -> None:
    run = StudyRun("norm-q-max", 3, interval, "plain", 0)
    others = [StudyRun("norm-q", 2, 2, "plain", 0), run]
    result = study(folder, others).run(run)
    before, after = by_hand(folder, interval, 3)
    assert result.train_before == pytest.approx(before, abs=1e-3)
    assert result.train_after == pytest.approx(after, abs=1e-3)


def test_the_estimates_of_a_run_are_what_it_judges(folder: Path) -> None:
    run = StudyRun("norm-q", 3, 3, "plain", 0)
    mine = study(folder, [run])
    before, after = mine.estimates(run)
    for made, expected in zip(after, quantize_distributions(*before, "norm-q", 3), strict=True):
        torch.testing.assert_close(made, expected, rtol=0, atol=0)
    rows = read_sequences(folder / "samples" / "tiny.train.1")
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:40]]
    assert per_token(HMM.of_parameters(*after, EOS), rows, 16) == pytest.approx(mine.run(run).train_after)
    with pytest.raises(ArgumentError, match="needs 7 float steps"):
        mine.estimates(run._replace(interval=None))


def test_runs_of_different_initial_distributions_are_different_runs(folder: Path) -> None:
    plain = settings_in(folder).comparable()
    assert plain == settings_in(folder, quantization_initial=False).comparable()
    assert "quantization_initial" not in plain, "a run without quantisation goes on from a state of older versions"
    aware = {"quantization_step": 2, "bits": 4}
    usual = settings_in(folder, **aware).comparable()
    assert usual == settings_in(folder, **aware, quantization_initial=True).comparable()
    assert usual != settings_in(folder, **aware, quantization_initial=False).comparable()


def test_straight_through_at_full_rate_is_plain_and_otherwise_is_not(folder: Path) -> None:
    plain, through = (StudyRun("norm-q-max", 3, 2, variant, 0) for variant in ("plain", "straight-through"))
    whole = study(folder, [plain], StudySettings(4, STEPS, 40, 16, rate=1.0))
    assert whole.run(through) == pytest.approx(whole.run(plain))
    half = study(folder, [plain])
    assert half.run(through) != pytest.approx(half.run(plain), abs=1e-4)


def test_bits_are_annealed_evenly() -> None:
    schedule = QuantizationSchedule(2, "norm-q", 3, anneal_from=8)
    assert [schedule.bits_at(step, 10) for step in range(1, 11)] == [None, 7, None, 6, None, 5, None, 4, None, 3]
    assert [QuantizationSchedule(4, "norm-q", 3).bits_at(step, 5) for step in range(1, 6)] == [None] * 3 + [3, 3]


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no-variant"):
        SETTINGS.schedule(StudyRun("norm-q", 3, 1, "no-variant", 0))


def test_results_come_back_and_half_a_line_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    run, result = StudyRun("norm-q", 3, None, "plain", 0), StudyResult(-1.0, -2.0, -3.0, -4.0)
    values = {**result._asdict(), "seconds": 1.0}
    with IntervalLines(file, {"steps": 1}) as lines:
        assert lines.lines == []
        lines.add(run, values)
    assert '{"run": {"method": "norm-q", "bits": 3, "interval": null' in file.read_text()
    with file.open("a") as half:
        half.write('{"run": {"meth')
    other = run._replace(seed=1)
    with IntervalLines(file, {"steps": 1}) as lines:
        assert results_of(lines.lines) == {run: result} and run in lines and other not in lines
        lines.add(other, values)
    assert results_of(read_results(file)[1]) == {run: result, other: result}
    with pytest.raises(DataError, match="another steps"):
        IntervalLines(file, {"steps": 2})
    file.write_text('{"pair": 1}\n')
    with pytest.raises(DataError):
        read_results(file)


def test_the_figure_needs_results() -> None:
    results = {
        StudyRun("norm-q", bits, interval, "plain", seed): StudyResult(-1.0, -2.0, -3.0 - seed, -4.0 - bits)
        for bits in (3, 8)
        for interval in (1, 20, None)
        for seed in (0, 1)
    }
    assert len(plot_study(results).axes) == 2
    with pytest.raises(DataError):
        plot_study({})


def test_the_study_from_samples_to_its_figure(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = str(folder / "samples" / "tiny.train.1")
    given = ["--training", samples, "--test", samples, "--vocab_size", str(VOCABULARY), "--eos_token_id", str(EOS)]
    given += ["--hidden_states", "4", "--steps", "4", "--bits", "3", "--intervals", "2", "none", "--seeds", "0"]
    output = ["--output", str(tmp_path / "aware.jsonl"), "--plot", str(tmp_path / "aware.svg")]
    Intervals.run([*given, *output])
    table = capsys.readouterr().out
    assert table.startswith("| method | variant | bits | 2 | at the end |")
    assert "python -m studies.aware_em.study --training" in (tmp_path / "aware.svg").read_text()
    before = (tmp_path / "aware.jsonl").read_bytes()
    Intervals.run([*given, *output])
    Intervals.run(["--summarise", str(tmp_path / "aware.jsonl")])
    assert capsys.readouterr().out == 2 * table
    assert (tmp_path / "aware.jsonl").read_bytes() == before


def test_a_training_log_is_drawn_while_its_last_line_is_being_written(folder: Path) -> None:
    log = folder / "log.jsonl"
    quiet_train(settings_in(folder, quantization_step=2, bits=4, quantization_method="log-norm-q"))
    with log.open("a") as file:
        file.write('{"step": 7, "chec')
    settings, records = read_log(log)
    assert settings["quantization_step"] == 2 and records[-1].step == 6
    plot_training(log, folder / "training.svg", command="the command")
    drawn = (folder / "training.svg").read_text()
    assert "the command" in drawn
    with pytest.raises(ArgumentError, match=r"training\.txt"):
        plot_training(log, folder / "training.txt")
    (folder / "other").write_text("no log\n")
    with pytest.raises(DataError, match="no training log"):
        plot_training(folder / "other", folder / "training.svg")
