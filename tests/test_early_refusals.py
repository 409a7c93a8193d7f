"""What can be refused at the start is, and a refusal leaves nothing behind that refuses the corrected command."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.random_hmms import random_hmm
from helpers.tiny_models import END_OF_TEXT, tiny_language_model, tiny_tokenizer
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ctrlg.distillation import pipeline
from ctrlg.distillation.pipeline import RECORD, distill
from ctrlg.distillation.pipeline_settings import DistillationSettings
from ctrlg.distillation.sampling.samples import Samples
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.errors import ArgumentError, CtrlGError, DataError, VocabularyError
from ctrlg.evaluation import benchmark
from ctrlg.evaluation.benchmark import BenchmarkSettings, run_benchmark
from ctrlg.evaluation.grid import Grid as MethodGrid
from ctrlg.figures import check_figure_path
from ctrlg.files.outputs import check_input_file, check_output_file
from ctrlg.files.records import StudyLines
from ctrlg.quantization.quantize import least_bytes, quantize
from normtweaking import RoundToNearest
from normtweaking import job as tweaking
from normtweaking.grid import Grid
from normtweaking.job import Measured, Texts, TweakJob, tweak_model

QUIET = Console(quiet=True)


def save_model(folder: Path, tokenizer: Any) -> Path:
    end = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    tiny_language_model(len(tokenizer), seed=1, eos_token_id=end, layers=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), tiny_tokenizer())


@pytest.fixture(scope="module")
def word_piece_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = {word: number for number, word in enumerate([END_OF_TEXT, "[UNK]", "dog", "##s", "the"])}
    tokenizer = Tokenizer(models.WordPiece(vocab=words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, unk_token="[UNK]")
    return save_model(tmp_path_factory.mktemp("word-piece"), fast)


def settings(model: Path, output: Path, **changed: Any) -> DistillationSettings:
    small: dict[str, Any] = {"hidden_states": 4, "sequences": 60, "held_out": 20, "max_new_tokens": 6, "soft_steps": 1}
    small |= {"one_hot_steps": 1, "next_tokens": 4, "batch_size": 50}
    small |= changed
    return DistillationSettings(model=str(model), output=output, **small)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"model": "word-piece"}, VocabularyError, "neither the bytes nor the spaces"),
        ({"max_bytes": 10}, ArgumentError, "max_bytes is 10"),
        ({"hidden_states": 400}, DataError, "too few for 400 states"),
        ({"sequences": 9, "max_new_tokens": 1, "hidden_states": 3}, DataError, "too few for 3 states"),
        ({"prompts": "nowhere.txt"}, DataError, "nowhere.txt"),
        ({"eos_token": "</s>"}, VocabularyError, "</s>"),
    ],
)
def test_a_distillation_is_refused_before_it_samples(
    changed: dict[str, Any],
    error: type[CtrlGError],
    message: str,
    model_folder: Path,
    word_piece_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_work(*_: object, **__: object) -> None:
        raise AssertionError("sampling began")

    monkeypatch.setattr(pipeline, "sample_chunks", no_work)
    model = word_piece_folder if changed.pop("model", "") else model_folder
    with pytest.raises(error, match=message):
        distill(settings(model, tmp_path / "job", **changed), QUIET)
    assert not (tmp_path / "job" / RECORD).exists()


def test_what_an_earlier_program_recorded_does_not_refuse_the_correction(model_folder: Path, tmp_path: Path) -> None:
    """A record without results: the settings of what nothing was made with may change."""
    job = settings(model_folder, tmp_path / "job")
    recorded = vars(job) | {"output": "", "model": "gpt2", "hidden_states": 512, "sequences": 5}
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / RECORD).write_text(json.dumps({"settings": recorded, "seconds": {}}))
    result = distill(job, QUIET)
    assert result.hmm.hidden_states == 4
    with pytest.raises(ArgumentError, match="hidden_states 4, not 5"):
        distill(replace(job, hidden_states=5), QUIET)


def test_the_default_budget_holds_a_small_vocabulary(model_folder: Path, tmp_path: Path) -> None:
    result = distill(settings(model_folder, tmp_path), QUIET)
    assert result.outcome.float_bytes // 100 < result.outcome.file_bytes
    assert result.hmm.packed_nbytes <= pipeline.DEFAULT_ABOVE_LEAST * least_bytes(4, result.hmm.vocab_size, 5)


def test_more_states_than_the_held_out_sequences_constraint_are_refused_before_training_data(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sequence of the held-out data ends at once, so the training data will hold next to no tokens."""
    drawn: list[str] = []

    def watched(model: Any, prompts: Any, eos: int, job: Any, output: Path, **options: Any) -> None:
        drawn.append(output.name)
        output.parent.mkdir(exist_ok=True)
        write_samples(output, Samples(torch.full((job.chunk_size, 6), eos), None))

    monkeypatch.setattr(pipeline, "sample_chunks", watched)
    with pytest.raises(DataError, match="0 vectors are too few for 200 states"):
        distill(settings(model_folder, tmp_path, hidden_states=200), QUIET)
    assert drawn == ["data.dev", "data.test"]


@pytest.mark.parametrize("bits", [1, 5, 8])
@pytest.mark.parametrize(("states", "vocabulary"), [(2, 5), (8, 300), (64, 2000)])
def test_the_least_budget_can_be_met(bits: int, states: int, vocabulary: int) -> None:
    hmm = random_hmm(states, vocabulary)
    least = least_bytes(states, vocabulary, bits)
    assert quantize(hmm, "log-norm-q", bits, max_bytes=least).packed_nbytes <= least
    if vocabulary == 2000:
        with pytest.raises(ArgumentError, match="the smallest result takes"):
            quantize(hmm, "log-norm-q", bits, max_bytes=least - 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output": "file"}, "is no folder"),
        ({"output": "file/below"}, "cannot make the folder"),
        ({"perplexity": Measured("nowhere.txt")}, "nowhere.txt"),
        ({"perplexity": Measured("folder")}, "folder"),
        ({"texts": Texts(data="nowhere.safetensors")}, "nowhere.safetensors"),
        ({"texts": Texts(text="nowhere.txt")}, "nowhere.txt"),
        ({"texts": Texts(samples=4, held_out=4)}, "4 of 4 samples held out"),
        ({"gguf": "Q5_K"}, "Q5_K"),
        ({"output": "taken", "gguf": "Q4_1"}, "taken.gguf is a folder"),
        ({"output": "taken", "grid": Grid((1e-3,), ())}, "taken.grid.jsonl is a folder"),
    ],
)
def test_tweak_looks_at_its_files_before_it_loads_a_model(
    changed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_work(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(tweaking, "load_language_model", no_work)
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    for folder in ("folder", "taken.gguf", "taken.grid.jsonl"):
        Path(folder).mkdir()
    job = replace(TweakJob("gpt2", "out", RoundToNearest(4)), **changed)
    with pytest.raises(CtrlGError, match=message):
        tweak_model(job, lambda line: None)
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize("output", ["folder", "file/below.jsonl"])
def test_benchmark_looks_at_its_output_before_it_opens_an_hmm(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_work(*_: object, **__: object) -> None:
        raise AssertionError("an HMM was opened")

    monkeypatch.setattr(benchmark, "load_hmm", no_work)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "sets.jsonl").write_text(json.dumps({"concept_set_idx": 1, "concepts": ["dog"], "references": ["A."]}))
    chosen = BenchmarkSettings("default", "default", str(tmp_path / "sets.jsonl"), str(tmp_path / output))
    with pytest.raises(ArgumentError, match=r"is a folder|cannot make the folder"):
        run_benchmark(chosen, MethodGrid.parse("float32"))


def test_figures_are_refused_before_the_work_they_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.png").mkdir()
    for name, message in (("a.gif", "cannot plot into"), ("folder.png", "is a folder"), ("a", "cannot plot into")):
        with pytest.raises(ArgumentError, match=message):
            check_figure_path(tmp_path / name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="not installed: matplotlib") as refused:
        check_figure_path(tmp_path / "a.png")
    assert "ctrlg[distill]" in refused.value.hint


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert check_output_file(tmp_path / "new" / "file") == tmp_path / "new" / "file"
    assert check_input_file(tmp_path / "file", "it") == tmp_path / "file"
    with pytest.raises(ArgumentError) as refused:
        check_output_file(tmp_path)
    assert refused.value.hint
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError):
            check_input_file(path, "it")
    with pytest.raises(ArgumentError, match="is a folder"):
        StudyLines(tmp_path, ("name",))
