"""The script `sample_data.py`: Ctrl-G's flags and file names, in this process, with a tiny model of a folder."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from helpers.tiny_models import tiny_language_model, tiny_tokenizer

from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import read_description, read_embeddings, read_sequences

SCRIPT = Path(__file__).parents[3] / "distillation" / "sample_data.py"
TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_language_model(len(TOKENIZER), eos_token_id=TOKENIZER.eos_token_id).save_pretrained(folder)  # type: ignore[arg-type]
    TOKENIZER.save_pretrained(folder)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_ctrlgs_command_line(monkeypatch: pytest.MonkeyPatch, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text(json.dumps(["the dog", "run"]))
    run(
        monkeypatch,
        *("--model_name_or_path", model_folder, "--tokenizer_name_or_path", model_folder, "--bfloat16"),
        *("--input_file", tmp_path / "prompts.json", "--output_file", tmp_path / "out" / "drawn"),
        *("--chunk_size", 10, "--total_chunks", 2, "--batch_size", 4, "--max_new_tokens", 6, "--save_embeddings"),
        *("--cache_prompt_past_key_values", "--top_k", 50, "--top_p", 0.9, "--temperature", 0.8),
    )
    names = [f"drawn.{chunk}{end}" for chunk in range(2) for end in ("", ".embeddings")]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(names)
    sequences = read_sequences(tmp_path / "out" / "drawn.0")
    assert sequences.shape == (10, 6)
    read_embeddings(tmp_path / "out" / "drawn.0.embeddings", token_mask(sequences, TOKENIZER.eos_token_id))  # type: ignore[arg-type]
    settings = read_description(tmp_path / "out" / "drawn.1")["settings"]
    assert settings.items() >= {"dtype": "bfloat16", "top_k": 50, "top_p": 0.9, "temperature": 0.8}.items()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--float16", "--bfloat16"], "both given"),
        (["--chat_template"], "without --prompts"),
        (["--chat_template", "--input_file", "prompts.txt"], "no chat template"),
        (["--input_file", "nowhere.txt"], "nowhere.txt"),
        (["--eos_token", "<end>"], "no token '<end>'"),
        (["--top_p", "0"], "top_p is 0"),
        (["--tokenizer_name_or_path", "/nope"], "cannot load the tokenizer /nope"),
        (["--tokenizer_name_or_path", "/nope", "--model_name_or_path", "/none"], "cannot load the tokenizer /nope"),
        (["--device", "gpu"], "device 'gpu' cannot be used"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model_folder: Path,
    tmp_path: Path,
    flags: list[str],
    message: str,
) -> None:
    (tmp_path / "prompts.txt").write_text("the dog\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ending:
        run(monkeypatch, "--model_name_or_path", model_folder, "--output_file", "drawn", *flags)
    assert ending.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("drawn*"))
