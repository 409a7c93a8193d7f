"""Texts of the model's own: where they begin, how they go on, and that a stopped job ends with the same data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from safetensors.torch import save_file

from ctrlg.distillation.sampling.samples import Samples
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.errors import ArgumentError, DataError
from ctrlg.vocabulary import Vocabulary
from normtweaking.texts.calibration import CalibrationData, calibration_from_text, text_ends
from normtweaking.texts.generation import CalibrationSettings, generate_calibration
from normtweaking.texts.languages import language_tokens, script_set

TOKENIZER = tiny_tokenizer()
EOS = int(TOKENIZER.eos_token_id)  # type: ignore[arg-type]
MODEL = tiny_language_model(len(TOKENIZER), eos_token_id=EOS)
SETTINGS = CalibrationSettings(samples=7, length=12, batch_size=3, seed=5)


class Interrupted(Exception):
    """Stands for whatever ends a job early."""


def test_a_stopped_job_ends_with_the_same_data(tmp_path: Path) -> None:
    whole = generate_calibration(MODEL, TOKENIZER, SETTINGS, tmp_path / "whole")

    def stop(tokens: int, total: int) -> None:
        if tokens > 50:
            raise Interrupted

    with pytest.raises(Interrupted):
        generate_calibration(MODEL, TOKENIZER, SETTINGS, tmp_path / "stopped", stop)
    assert (tmp_path / "stopped.parts").is_dir()
    seen: list[int] = []
    again = generate_calibration(
        MODEL, TOKENIZER, SETTINGS, tmp_path / "stopped", lambda done, total: seen.append(done)
    )
    assert min(seen) > 36  # the first batch of three rows was not drawn again
    assert torch.equal(again.tokens, whole.tokens)
    assert (tmp_path / "stopped").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not (tmp_path / "stopped.parts").exists()
    assert whole.tokens.shape == (7, 12)
    assert len(whole.tokens.unique(dim=0)) == 7


def test_data_of_other_settings_are_refused(tmp_path: Path) -> None:
    generate_calibration(MODEL, TOKENIZER, SETTINGS, tmp_path / "data")
    other = CalibrationSettings(samples=7, length=12, batch_size=3, seed=6)
    with pytest.raises(ArgumentError, match="seed was 5 and is 6"):
        generate_calibration(MODEL, TOKENIZER, other, tmp_path / "data")
    with pytest.raises(ArgumentError, match="weights_sha256"):
        stranger = tiny_language_model(len(TOKENIZER), seed=1, eos_token_id=EOS)
        generate_calibration(stranger, TOKENIZER, SETTINGS, tmp_path / "data")


def test_texts_go_on_greedily_and_begin_anew_after_an_end(tmp_path: Path) -> None:
    wanted = CalibrationSettings(samples=40, length=20, languages=("en",), greedy_tokens=3, batch_size=20)
    model = tiny_language_model(len(TOKENIZER), eos_token_id=EOS)
    model.generation_config.eos_token_id = [EOS, *range(150, 240)]  # none of them a letter; ends are frequent
    rows = generate_calibration(model, TOKENIZER, wanted, tmp_path / "data").tokens
    english = set(language_tokens(Vocabulary.of(TOKENIZER), ("en",)))
    with torch.no_grad():
        likeliest = model(rows).logits.argmax(-1)
    ends = torch.isin(rows, torch.tensor(model.generation_config.eos_token_id))
    starts = torch.cat([torch.ones_like(ends[:, :1]), ends[:, :-1]], 1)
    assert starts.sum() > 40  # some texts have ended
    assert set(rows[starts].tolist()) <= english
    followed = [
        (row, place)
        for row, start in starts.nonzero().tolist()
        for place in range(start + 1, min(start + 4, 20))
        if not starts[row, start + 1 : place + 1].any()
    ]
    assert all(rows[row, place] == likeliest[row, place - 1] for row, place in followed)
    assert (rows[:, 4:] != likeliest[:, 3:-1]).any()


def test_saved_and_loaded(tmp_path: Path) -> None:
    data = CalibrationData(torch.arange(12).view(4, 3), {"source": "somewhere"})
    data.save(tmp_path / "data.safetensors")
    loaded = CalibrationData.load(tmp_path / "data.safetensors")
    assert torch.equal(loaded.tokens, data.tokens)
    assert loaded.description == data.description
    most, last = loaded.split(1)
    assert torch.equal(torch.cat([most.tokens, last.tokens]), data.tokens)
    for held_out in (0, 4):
        with pytest.raises(ArgumentError, match="held out"):
            loaded.split(held_out)
    with pytest.raises(DataError):
        CalibrationData(torch.zeros(3, dtype=torch.long))


def test_cut_out_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("".join(chr(33 + number) for number in range(50)))
    tokens = TOKENIZER((tmp_path / "text").read_text())["input_ids"]
    data = calibration_from_text(TOKENIZER, tmp_path / "text", samples=4, length=6, seed=1)
    rows = [tokens[start : start + 6] for start in range(0, len(tokens) - 5, 6)]
    assert data.tokens.shape == (4, 6)
    assert all(row in rows for row in data.tokens.tolist())
    assert len(data.tokens.unique(dim=0)) == 4
    again = calibration_from_text(TOKENIZER, tmp_path / "text", samples=4, length=6, seed=1)
    assert torch.equal(again.tokens, data.tokens)
    with pytest.raises(DataError, match="holds 8 rows of 6 tokens, not 9"):
        calibration_from_text(TOKENIZER, tmp_path / "text", samples=9, length=6)
    with pytest.raises(DataError, match="no such data file"):
        calibration_from_text(TOKENIZER, tmp_path / "none", samples=1, length=6)


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        (" dog", {"ASCII"}),
        ("don't", {"ASCII"}),
        ("é", {"LATIN"}),
        ("中文", {"CJK"}),
        ("слово", {"CYRILLIC"}),
        ("aж", {"ASCII", "CYRILLIC"}),
        ("12", set()),
        ("", set()),
    ],
)
def test_scripts(text: str, scripts: set[str]) -> None:
    assert script_set(text.encode()) == scripts


def test_languages() -> None:
    vocabulary = Vocabulary((b" dog", "né".encode(), "中".encode(), b"\xe4\xb8", b"42", None, "中a".encode(), b"."), 5)
    assert language_tokens(vocabulary, ("en",)) == [0]
    assert language_tokens(vocabulary, ("fr",)) == [0, 1]
    assert language_tokens(vocabulary, ("en", "zh")) == [0, 2]
    assert language_tokens(vocabulary, ()) == [0, 1, 2, 3, 4, 6, 7]
    with pytest.raises(ArgumentError, match="no token of the vocabulary is of the language 'th'"):
        language_tokens(vocabulary, ("th",))
    with pytest.raises(ArgumentError, match="'xx' is unknown"):
        CalibrationSettings(languages=("xx",))


def test_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    for wrong in ({"samples": 0}, {"length": 1}, {"batch_size": 0}, {"seed": -1}, {"temperature": 0.0}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            CalibrationSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="rows of 1048576 tokens"):
        generate_calibration(MODEL, TOKENIZER, CalibrationSettings(length=1 << 20), tmp_path / "data")


def test_samples_of_unequal_lengths(tmp_path: Path) -> None:
    rows = [torch.arange(1, 1 + length) for length in (5, 3, 5, 2, 3, 5)]
    CalibrationData.of_rows(rows, {"source": "a test"}).save(tmp_path / "data")
    data = CalibrationData.load(tmp_path / "data")
    assert all(torch.equal(one, other) for one, other in zip(data.rows(), rows, strict=True))
    batches = [batch.tolist() for batch in data.batches(2)]
    assert sorted(len(row) for batch in batches for row in batch) == [2, 3, 3, 5, 5, 5]
    assert [tuple(batch.shape) for batch in data.batches(2)] == [(2, 5), (1, 5), (2, 3), (1, 2)]
    most, last = data.split(2)
    assert [len(row) for row in most.rows()] == [5, 3, 5, 2]
    assert [len(row) for row in last.rows()] == [3, 5]
    assert data.digest() != CalibrationData(data.tokens).digest()
    for lengths in ([5], [0, 3, 5, 2, 3, 5], [6, 3, 5, 2, 3, 5]):
        with pytest.raises(DataError, match="lengths are"):
            CalibrationData(data.tokens, lengths=torch.tensor(lengths))


def test_files_of_the_norm_tweaking_repository(tmp_path: Path) -> None:
    """Tensors in another order than their numbers, as twelve samples are; rows that ended early, filled up."""
    rows = {f"sample_{index}": torch.tensor([index + 1, 7, 0, 0, 0]) for index in range(12)}
    save_file(rows, tmp_path / "data.safetensors")
    data = CalibrationData.load(tmp_path / "data.safetensors")
    assert data.tokens[:, 0].tolist() == list(range(1, 13))
    assert data.without_padding({0}).tokens.tolist() == [[index + 1, 7, 0] for index in range(12)]
    assert data.without_padding({9}).digest() == data.digest()
    for name, wrong in (("other", torch.ones(3)), ("sample_1", torch.ones(3)), ("sample_1", torch.ones(1, 3).long())):
        save_file({"sample_0": torch.ones(3).long(), name: wrong}, tmp_path / "data.safetensors")
        with pytest.raises(DataError, match=name):
            CalibrationData.load(tmp_path / "data.safetensors")


def test_older_files_of_ours_can_be_read(tmp_path: Path) -> None:
    tokens = torch.arange(12).view(3, 4)
    write_samples(tmp_path / "data", Samples(tokens, None), {"seed": 3})
    loaded = CalibrationData.load(tmp_path / "data")
    assert torch.equal(loaded.tokens, tokens)
    assert loaded.description == {"seed": 3}


def test_padding_and_ends_are_what_the_model_says() -> None:
    model = tiny_language_model(len(TOKENIZER), eos_token_id=EOS)
    model.generation_config.eos_token_id, model.config.pad_token_id = [3, 4], 7
    assert text_ends(model) == {EOS, 3, 4, 7}
    padded = CalibrationData(torch.tensor([[1, 3, 7, 7], [1, 7, 2, 7], [7, 7, 7, 7], [1, 2, 2, 2]]))
    found = [row.tolist() for row in padded.without_padding(text_ends(model)).rows()]
    assert found == [[1, 3], [1, 7, 2, 7], [7], [1, 2, 2, 2]]
