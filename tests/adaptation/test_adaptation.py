"""Domain adaptation: the blockwise loss is the plain one, broken runs end as whole ones, every output opens again."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from safetensors.torch import load_file
from torch.testing import assert_close

from ctrlg.adaptation import training as adaptation
from ctrlg.adaptation.adapters import merge_adapter, with_adapter, with_new_adapter
from ctrlg.adaptation.figure import plot_adaptation
from ctrlg.adaptation.log import read_log
from ctrlg.adaptation.sentences import end_of_text_id
from ctrlg.adaptation.training import AdaptationSettings, AdaptationStep, adapt
from ctrlg.distillation import token_loss as token_loss_module
from ctrlg.distillation.token_loss import has_plain_head, held_out_loss, token_loss
from ctrlg.errors import ArgumentError, CheckpointError, DataError
from ctrlg.files.disk import temporary_name
from ctrlg.loading.language_models import load_language_model
from ctrlg.loading.opening import save_language_model

TOKENIZER = tiny_tokenizer()
VOCABULARY = len(TOKENIZER)
EOS = end_of_text_id(TOKENIZER)
ROWS = [[EOS, *TOKENIZER.encode(f"the dog run{'s' * (n % 3)} in the park {n % 7}"), EOS] for n in range(60)]
TRAINING, HELD_OUT = ROWS[:48], ROWS[48:]
SETTINGS = AdaptationSettings(rank=2, learning_rate=0.02, warmup=2, batch_size=8, epochs=2.0, evaluate_every=4)


def model_of(dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    return tiny_language_model(VOCABULARY, seed, eos_token_id=EOS).to(dtype)


def with_dropout() -> Any:
    model = model_of()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.3
    return model


class Broken(Exception):
    """Stands for a kill."""


def breaks_at(steps: int) -> Any:
    def report(step: AdaptationStep) -> None:
        if step.step == steps:
            raise Broken

    return report


@pytest.mark.parametrize("all_weights", [True, False])
def test_the_blockwise_loss_and_its_gradients_are_the_plain_ones(
    all_weights: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_loss_module, "BLOCKS", {"cpu": 7})
    gradients = []
    for blockwise in (True, False):
        model = model_of().double().requires_grad_(all_weights)
        model.get_input_embeddings().requires_grad_(True)
        loss = token_loss(model, ROWS[:9], blockwise)
        (3 * loss).backward()
        gradients.append((loss.detach().float(), [p.grad for p in model.parameters() if p.requires_grad]))
    assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-6)


def test_padding_and_batches_change_no_held_out_loss() -> None:
    model = model_of()
    alone = [(token_loss(model, [row]).item(), len(row) - 1) for row in HELD_OUT]
    mean = sum(loss * count for loss, count in alone) / sum(count for _, count in alone)
    assert held_out_loss(model, HELD_OUT, 5) == pytest.approx(mean, rel=1e-5)


def test_a_model_that_changes_its_logits_is_noticed() -> None:
    model = model_of()
    assert has_plain_head(model)
    plain = model.forward

    def scaled(*arguments: Any, **options: Any) -> Any:
        output = plain(*arguments, **options)
        output.logits = output.logits * 0.5
        return output

    model.forward = scaled
    assert not has_plain_head(model)


def test_an_adapter_in_half_precision_learns_with_float32_masters() -> None:
    trainable = with_new_adapter(model_of(torch.bfloat16), rank=2)
    assert {weight.dtype for weight in trainable.weights.values()} == {torch.bfloat16}
    assert {master.dtype for master in trainable.masters.values()} == {torch.float32}
    token_loss(trainable.model, TRAINING[:8]).backward()
    trainable.gather_gradients()
    assert any(float(master.grad.abs().max()) > 0 for master in trainable.masters.values() if master.grad is not None)


@pytest.mark.parametrize("kind", ["adapter", "bfloat16", "full", "dropout"])
def test_a_broken_run_ends_as_an_unbroken_one(kind: str, tmp_path: Path) -> None:
    full = kind == "full"
    settings = AdaptationSettings(
        rank=2, full=full, learning_rate=0.01, warmup=2, batch_size=8, epochs=2.0, evaluate_every=4, save_every=3
    )

    def run(folder: Path, report: Any = lambda step: None) -> Any:
        model = (
            with_dropout() if kind == "dropout" else model_of(torch.bfloat16 if kind == "bfloat16" else torch.float32)
        )
        return adapt(model, TRAINING, HELD_OUT, folder, settings, TOKENIZER, report=report)

    whole = run(tmp_path / "whole")
    assert whole.steps == 12
    assert whole.best_loss < whole.loss_before - 0.1
    for steps in (2, 3, 4, 10) if kind == "adapter" else (7,):
        with pytest.raises(Broken):
            run(tmp_path / "broken", breaks_at(steps))
    assert run(tmp_path / "broken") == whole
    weights = "model/model.safetensors" if full else "adapter/adapter_model.safetensors"
    for file in (weights, "log.jsonl"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "broken" / file).read_bytes()
    states = [load_file(tmp_path / folder / "resume.safetensors") for folder in ("whole", "broken")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_the_merged_model_is_the_adapted_one(tmp_path: Path) -> None:
    save_language_model(model_of(), TOKENIZER, tmp_path / "base", EOS)
    base, _ = load_language_model(tmp_path / "base")
    result = adapt(base, TRAINING, HELD_OUT, tmp_path, SETTINGS)
    merge_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged", EOS)
    merged, tokenizer = load_language_model(tmp_path / "merged")
    assert tokenizer.eos_token_id == merged.config.eos_token_id == EOS
    assert held_out_loss(merged, HELD_OUT, 8) == pytest.approx(result.best_loss, abs=2e-3)


def test_full_fine_tuning_writes_a_model_that_opens(tmp_path: Path) -> None:
    settings = AdaptationSettings(full=True, learning_rate=0.01, warmup=1, batch_size=8, evaluate_every=4)
    cut_first = [TRAINING[0][:-1], *TRAINING[1:]]
    result = adapt(model_of(), cut_first, HELD_OUT, tmp_path, settings, TOKENIZER)
    model, _ = load_language_model(tmp_path / "model")
    assert model.config.eos_token_id == EOS
    assert held_out_loss(model, HELD_OUT, 8) == pytest.approx(result.best_loss, rel=1e-5)


def test_going_on_from_an_adapter_begins_where_it_ended(tmp_path: Path) -> None:
    first = adapt(model_of(), TRAINING, HELD_OUT, tmp_path / "first", SETTINGS)
    adapter = tmp_path / "first" / "adapter"
    second = adapt(model_of(), TRAINING, HELD_OUT, tmp_path / "second", SETTINGS, initial_adapter=adapter)
    assert second.loss_before == pytest.approx(first.best_loss, abs=2e-3)
    assert second.best_loss < first.best_loss


def test_training_stops_when_patience_is_at_its_end(tmp_path: Path) -> None:
    settings = AdaptationSettings(rank=2, learning_rate=1e-30, batch_size=4, evaluate_every=2, patience=2)
    result = adapt(model_of(), TRAINING, HELD_OUT, tmp_path, settings)
    assert (result.best_step, result.steps, result.planned_steps) == (0, 4, 12)
    assert adapt(model_of(), TRAINING, HELD_OUT, tmp_path, settings) == result


def test_the_log_holds_every_step_and_is_drawn(tmp_path: Path) -> None:
    adapt(model_of(), TRAINING, HELD_OUT, tmp_path, SETTINGS)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "training_loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "held_out_loss" in line] == [0, 4, 8, 12]
    plot_adaptation(read_log(tmp_path / "log.jsonl"), tmp_path / "loss.svg")
    assert "pytest" in (tmp_path / "loss.svg").read_text()
    (tmp_path / "foreign.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="no log"):
        read_log(tmp_path / "foreign.jsonl")


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    adapt(model_of(), TRAINING, HELD_OUT, tmp_path, SETTINGS)
    for rows, settings, named in (
        (TRAINING, AdaptationSettings(rank=3), "rank"),
        (TRAINING[1:], SETTINGS, "data"),
    ):
        with pytest.raises(CheckpointError, match=f"other settings.*{named}"):
            adapt(model_of(), rows, HELD_OUT, tmp_path, settings)
    (tmp_path / "resume.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cannot go on"):
        adapt(model_of(), TRAINING, HELD_OUT, tmp_path, SETTINGS)


@pytest.mark.parametrize(("model", "named"), [(model_of(seed=1), "weights"), (model_of(torch.bfloat16), "dtype")])
@pytest.mark.parametrize("full", [False, True])
def test_a_run_goes_on_with_no_other_model_of_the_same_shapes(
    model: Any, named: str, full: bool, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, full=full, epochs=0.5)
    adapt(model_of(), TRAINING, HELD_OUT, tmp_path, settings, TOKENIZER)
    with pytest.raises(CheckpointError, match=f"other settings.*{named}"):
        adapt(copy.deepcopy(model), TRAINING, HELD_OUT, tmp_path, settings, TOKENIZER)
    adapt(model_of(), TRAINING, HELD_OUT, tmp_path, settings, TOKENIZER)


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    temporary_name(tmp_path / "adapter").mkdir()
    temporary_name(tmp_path / "resume.safetensors").write_bytes(b"half")
    adapt(model_of(), TRAINING, HELD_OUT, tmp_path, SETTINGS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter", "log.jsonl", "resume.safetensors"]


def test_foreign_adapters_are_refused(tmp_path: Path) -> None:
    adapt(model_of(), TRAINING, HELD_OUT, tmp_path, SETTINGS)
    other = tiny_language_model(VOCABULARY, eos_token_id=EOS)
    other.model.layers[0].mlp.up_proj = torch.nn.Linear(16, 40, bias=False)
    with pytest.raises(CheckpointError, match="does not fit this language model"):
        with_adapter(other, tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="holds no adapter"):
        with_adapter(model_of(), tmp_path / "nowhere")


def test_what_cannot_be_trained_is_refused_at_once(tmp_path: Path) -> None:
    full = AdaptationSettings(full=True)
    with pytest.raises(DataError, match="no training"):
        adapt(model_of(), [], HELD_OUT, tmp_path)
    with pytest.raises(ArgumentError, match="float16"):
        adapt(model_of(torch.float16), TRAINING, HELD_OUT, tmp_path)
    with pytest.raises(ArgumentError, match="tokenizer"):
        adapt(model_of(), TRAINING, HELD_OUT, tmp_path, full)
    with pytest.raises(ArgumentError, match="cannot go on from the adapter"):
        adapt(model_of(), TRAINING, HELD_OUT, tmp_path, full, TOKENIZER, initial_adapter=tmp_path)
    with pytest.raises(ArgumentError, match="wrong_layer"):
        adapt(model_of(), TRAINING, HELD_OUT, tmp_path, AdaptationSettings(target_modules=("wrong_layer",)))
    with pytest.raises(ArgumentError, match="cannot make the folder"):
        (tmp_path / "file").touch()
        adapt(model_of(), TRAINING, HELD_OUT, tmp_path / "file" / "output")
    refused: list[dict[str, Any]] = [{"rank": 0}, {"epochs": 0.0}, {"patience": -1}, {"alpha": 0.0}, {"warmup": 0}]
    for wrong in refused:
        with pytest.raises(ArgumentError, match=r"is (0|-1|nan)"):
            AdaptationSettings(**wrong)


def test_a_loss_that_is_no_longer_finite_ends_the_run(tmp_path: Path) -> None:
    model = model_of()
    model.model.norm.weight.data.fill_(torch.nan)
    with pytest.raises(ArgumentError, match="the loss is nan at step 1"):
        adapt(model, TRAINING, HELD_OUT, tmp_path, SETTINGS)
    assert load_file(tmp_path / "adapter" / "adapter_model.safetensors")


def test_the_learning_rate_is_zero_when_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    monkeypatch.setattr(adaptation.time, "monotonic", lambda: float(next(seconds)))
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda optimizer: (rates.append(optimizer.param_groups[0]["lr"]), step(optimizer))[1],
    )
    result = adapt(model_of(), TRAINING, HELD_OUT, tmp_path, replace(SETTINGS, epochs=99.0, warmup=1, seconds=20.0))
    assert 3 < result.steps < 20 < result.planned_steps
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
