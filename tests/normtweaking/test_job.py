"""The command and the script's job on a small model in a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.command import shown_by
from helpers.decoders import TOKENIZER, difference, small_llama
from safetensors.torch import save_file

from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.locks import Lock
from ctrlg.loading.language_models import load_language_model
from normtweaking import RoundToNearest, TweakSettings
from normtweaking.grid import Grid
from normtweaking.job import Texts, TweakJob, quantizer_of, tweak_model
from normtweaking.measured import Measured, MeasuredText
from normtweaking.rounding.quantizers import KMeans


def test_a_model_is_tweaked_written_and_measured(tmp_path: Path) -> None:
    small_llama().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("the dog runs, and a cat sits. " * 4)
    options = f"--model {tmp_path / 'model'} --bits 3 --group-size 32 --samples 6 --length 8 --held-out 2"
    options += f" --grid-lr 1e-3 --gguf Q4_1 --perplexity {tmp_path / 'text.txt'} --window 16 --stride 8"
    options += " --scope end-to-end"
    shown = shown_by("tweak", str(tmp_path / "tweaked"), *options.split())
    for words in ("KL ", "lr 0.001, scale 1", "tweaked.gguf (Q4_1)", " quantised", "recovered"):
        assert words in shown
    in_memory, written = (load_language_model(tmp_path / name)[0] for name in ("tweaked", "tweaked.gguf"))
    assert difference(in_memory, written) < 0.05
    said = json.loads((tmp_path / "tweaked" / "norm_tweaking.json").read_text())
    assert said["settings"]["scope"] == "end-to-end"
    assert said["score_tweaked"] <= said["score_quantized"] or not said["kept"]


def test_examples_are_in_the_help() -> None:
    shown = shown_by("tweak", "--help")
    assert "Norm Tweaking" in shown
    assert "--grid-lr 1e-5" in shown


def test_quantizers_by_name(tmp_path: Path) -> None:
    assert quantizer_of("rtn", 3, 32, True, "") == RoundToNearest(3, 32, True)
    assert quantizer_of("k-means", 3, None, False, "") == KMeans(3)
    with pytest.raises(ArgumentError, match="'gptq' is unknown"):
        quantizer_of("gptq", 4, None, False, "")
    with pytest.raises(ArgumentError, match="without --weights"):
        quantizer_of("file", 4, None, False, "")


def test_a_format_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    small_llama().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    job = TweakJob(str(tmp_path / "model"), str(tmp_path / "tweaked"), RoundToNearest(4), gguf="Q5_K")
    with pytest.raises(ArgumentError, match="Q5_K"):
        tweak_model(job, print)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_grid_is_chosen_by_a_text_and_goes_on(tmp_path: Path) -> None:
    """Samples of the norm-tweaking repository's form; what the folder holds is what the table says is best."""
    small_llama().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("the dog runs, and a cat sits. " * 4)
    generator = torch.Generator().manual_seed(0)
    rows = {f"sample_{index}": torch.randint(200, (6 + index % 2,), generator=generator) for index in range(6)}
    save_file(rows, tmp_path / "data.safetensors")
    said: list[str] = []
    job = TweakJob(
        str(tmp_path / "model"),
        str(tmp_path / "tweaked"),
        RoundToNearest(3),
        TweakSettings(batch_size=2),
        Texts(data=str(tmp_path / "data.safetensors"), held_out=2),
        Grid((1e-2,), (1.0,)),
        grid_text=Measured(str(tmp_path / "text.txt"), tokens=40),
    )
    tweak_model(job, said.append)
    head = next(index for index, line in enumerate(said) if line.split() == ["lr", "scale", "perplexity"])
    table = [line.split() for line in said[head + 1 : head + 3]]
    assert {row[0] for row in table} == {"0", "0.01"}
    assert said[head + 3] == f"best: lr {table[0][0]}, scale 1, in {tmp_path / 'tweaked'}"
    best = MeasuredText(job.grid_text, *load_language_model(tmp_path / "tweaked"))
    assert best.perplexity(load_language_model(tmp_path / "tweaked")[0]) == pytest.approx(float(table[0][2]), rel=1e-4)
    (tmp_path / "tweaked").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="is missing"):
        tweak_model(job, said.append)


def test_a_text_that_cannot_choose_is_refused_before_any_work(tmp_path: Path) -> None:
    small_llama().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("the dog runs, and a cat sits. " * 4)
    job = TweakJob(str(tmp_path / "model"), str(tmp_path / "tweaked"), RoundToNearest(4))
    text = Measured(str(tmp_path / "text.txt"))
    grid = Grid((1e-3,), ())
    for wrong, error, words in (
        ({"grid_text": text}, ArgumentError, "there is no grid"),
        ({"grid_text": replace(text, text=str(tmp_path / "none.txt")), "grid": grid}, DataError, "none.txt"),
        ({"grid_text": replace(text, window=65), "grid": grid}, ArgumentError, "window is 65"),
    ):
        with pytest.raises(error, match=words):
            tweak_model(replace(job, **wrong), print)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "text.txt"}
    with pytest.raises(ArgumentError, match="stride is 8"):
        replace(text, window=8, stride=8)


def test_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "notes.txt").write_text("mine")
    (tmp_path / "new.gguf").write_text("mine")
    for output, gguf, message in (
        ("model", "", "would replace what it is made of"),
        ("model/../model/deeper", "", "would replace what it is made of"),
        ("thesis", "", "not written here"),
        ("new", "Q4_1", "no tweaked model beside it"),
    ):
        job = TweakJob(str(tmp_path / "model"), str(tmp_path / output), RoundToNearest(4), gguf=gguf)
        with pytest.raises(ArgumentError, match=message):
            tweak_model(job, print)
    with Lock(tmp_path / "new", name="job"), pytest.raises(ArgumentError, match="another process"):
        tweak_model(TweakJob(str(tmp_path / "model"), str(tmp_path / "new"), RoundToNearest(4)), print)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "new.gguf", "thesis"]
    assert (tmp_path / "new.gguf").read_text() == (tmp_path / "thesis" / "notes.txt").read_text() == "mine"
