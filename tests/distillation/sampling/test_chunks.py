"""Chunks: fair shares, batches, the same data after any interruption and with any number of processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import sampling_job
from helpers.sampling_job import EOS, PROMPTS, SETTINGS, VOCABULARY, tiny_language_model
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.distillation.sampling import chunks as drawing
from ctrlg.distillation.sampling.chunks import ChunkProgress, ChunkSettings, chunk_files, plan_batches, sample_chunks
from ctrlg.distillation.sampling.next_tokens import read_next_tokens
from ctrlg.distillation.sampling.output_layer import output_layer
from ctrlg.distillation.sampling.parts import Parts
from ctrlg.distillation.sampling.samples import SamplingSettings, continue_prompts, token_mask
from ctrlg.distillation.sampling.storage import EMBEDDINGS_SUFFIX, read_description, read_embeddings, read_sequences
from ctrlg.errors import ArgumentError, DataError, VocabularyError
from ctrlg.files.disk import temporary_name
from ctrlg.files.locks import Lock

MODEL = tiny_language_model()


class Interrupted(Exception):
    """Stands for whatever ends a job early."""


def draw(output: Path, wanted: ChunkSettings = SETTINGS, **options: Callable[[ChunkProgress], None]) -> list[Path]:
    return sample_chunks(MODEL, PROMPTS, EOS, wanted, output, **options)  # type: ignore[arg-type]


def content(folder: Path, name: str) -> dict[str, bytes]:
    """The bytes of all files of an output, by what follows its name."""
    return {file.name.removeprefix(name): file.read_bytes() for file in sorted(folder.glob(f"{name}*"))}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("drawing")
    draw(folder / "whole")
    return content(folder, "whole")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=100), st.integers(1, 60), st.integers(1, 5), st.integers(1, 9))
def test_batches_hold_every_row_once_and_prompts_of_one_length(
    lengths: list[int], chunk_size: int, total_chunks: int, batch_size: int
) -> None:
    wanted = ChunkSettings(chunk_size=chunk_size, total_chunks=total_chunks, batch_size=batch_size)
    shares: Counter[int] = Counter()
    for chunk in range(total_chunks):
        batches = plan_batches(lengths, wanted, chunk)
        assert sorted(row for batch in batches for row in batch) == list(range(chunk_size))
        for batch in batches:
            numbers = [(chunk * chunk_size + row) % len(lengths) for row in batch]
            assert 1 <= len(batch) <= batch_size
            assert len({lengths[number] for number in numbers}) == 1
            shares.update(numbers)
    counts = [shares[number] for number in range(len(lengths))]
    assert max(counts) - min(counts) <= 1


def test_each_row_continues_its_prompt(tmp_path: Path) -> None:
    """Of 40 prompts with 12 rows a chunk every one has its turn; drawn greedily, so that one can tell."""
    prompts = [[1 + number % 11] * (1 + number // 11 % 3) + [number % 7] for number in range(40)]
    greedy = SamplingSettings(3, top_k=1)
    wanted = ChunkSettings(greedy, chunk_size=12, total_chunks=7, batch_size=8)
    files = sample_chunks(MODEL, prompts, EOS, wanted, tmp_path / "drawn")
    rows = torch.cat([read_sequences(file) for file in files])
    middle = torch.full((3, 1), 0.5, dtype=torch.float64)
    alone = torch.zeros(1, dtype=torch.long)
    expected = [
        continue_prompts(MODEL, torch.tensor([prompt]), alone, middle, greedy, EOS).sequences[0] for prompt in prompts
    ]
    assert torch.equal(rows, torch.stack([expected[row % 40] for row in range(84)]))


def test_embeddings_are_in_the_order_of_the_rows(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    for name, data in uninterrupted.items():
        (tmp_path / f"drawn{name}").write_bytes(data)
    sequences = read_sequences(tmp_path / "drawn.1")
    mask = token_mask(sequences, EOS)
    embeddings = read_embeddings(tmp_path / "drawn.1.embeddings", mask)
    start = 0
    for row, sequence in enumerate(sequences):
        prompt = PROMPTS[(23 + row) % len(PROMPTS)]
        context = torch.tensor([[*prompt, *sequence.tolist()]])
        with torch.no_grad():
            hidden = MODEL.get_decoder()(context).last_hidden_state[0, len(prompt) - 1 : -1][mask[row]]
        torch.testing.assert_close(embeddings[start : start + len(hidden)].float(), hidden, rtol=5e-3, atol=5e-3)
        start += len(hidden)


def test_files_say_what_they_are(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    assert sorted(uninterrupted) == sorted(f".{chunk}{end}" for chunk in range(3) for end in ("", ".embeddings"))
    (tmp_path / "drawn").write_bytes(uninterrupted[".2"])
    description = read_description(tmp_path / "drawn")
    assert description["chunk"] == 2
    assert description["settings"].items() >= {"seed": 4, "eos_token_id": EOS, "max_new_tokens": 6}.items()
    assert chunk_files("runs/x", 1) == [Path("runs/x")]


@pytest.mark.parametrize("tokens", [0, 1, 60, 130, 200, 300])
def test_an_interrupted_job_ends_with_the_same_data(
    tmp_path: Path, uninterrupted: dict[str, bytes], tokens: int
) -> None:
    def interrupt(state: ChunkProgress) -> None:
        if state.tokens >= tokens:
            raise Interrupted

    with pytest.raises(Interrupted):
        draw(tmp_path / "drawn", progress=interrupt)
    draw(tmp_path / "drawn")
    assert content(tmp_path, "drawn") == uninterrupted


@pytest.mark.parametrize("step", ["before the join", "after the join", "between the renames", "while parts go"])
def test_a_job_interrupted_while_a_chunk_is_joined(
    tmp_path: Path, uninterrupted: dict[str, bytes], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, replaced, removed = Parts.join, Path.replace, Path.unlink

    def stopping_join(*arguments: object) -> None:
        if step == "after the join":
            join(*arguments)  # type: ignore[arg-type]
        raise Interrupted

    def stopping_replace(self: Path, target: str | Path) -> Path:
        if str(target) == str(tmp_path / "drawn.0"):
            raise Interrupted
        return replaced(self, target)

    def stopping_unlink(self: Path, missing_ok: bool = False) -> None:
        if self.name == "chunk-0-batch-2":
            raise Interrupted
        removed(self, missing_ok)

    with monkeypatch.context() as patch:
        if step.endswith("the join"):
            patch.setattr(Parts, "join", stopping_join)
        elif step == "between the renames":
            patch.setattr(Path, "replace", stopping_replace)
        else:
            patch.setattr(Path, "unlink", stopping_unlink)
        with pytest.raises(Interrupted):
            draw(tmp_path / "drawn")
    assert (tmp_path / "drawn.parts").is_dir()
    temporary_name(tmp_path / "drawn.parts" / "chunk-1-batch-0").write_bytes(b"half a file")
    draw(tmp_path / "drawn")
    assert content(tmp_path, "drawn") == uninterrupted


def test_finished_batches_are_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[object, ...]] = []
    original = drawing._sample_batch

    def counting(*arguments: object) -> object:
        if len(drawn) == 9:
            raise Interrupted
        drawn.append(arguments[4:6])
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(drawing, "_sample_batch", counting)
    with pytest.raises(Interrupted):
        draw(tmp_path / "drawn")
    before = list(drawn)
    drawn.clear()
    with pytest.raises(Interrupted):
        draw(tmp_path / "drawn")
    assert len(set(before + drawn)) == 18


def test_two_processes_draw_what_one_draws_even_when_one_is_killed(
    tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folders = os.pathsep.join(map(str, (Path(__file__).parents[3], Path(__file__).parents[2])))
    environment = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": folders}
    started = [
        subprocess.Popen(
            [sys.executable, sampling_job.__file__, str(tmp_path)],
            env=os.environ | environment | {"RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
        )
        for rank in ("0", "1")
    ]
    endings = []
    for process in started:
        _, errors = process.communicate(timeout=120)
        endings.append((process.returncode, errors.decode()))
    assert endings[0][0] == -9, endings[0][1]
    assert endings[1][0] != 0, "the other process should notice"
    assert content(tmp_path, "whole") == uninterrupted
    left = content(tmp_path / "killed.parts", "chunk")
    assert left, "the job should have been killed on the way"
    draw(tmp_path / "killed")
    assert content(tmp_path, "killed") == uninterrupted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, "seed was 4 and is 5"),
        ({"sampling": SamplingSettings(6, temperature=0.7)}, "temperature was 1.0 and is 0.7"),
        ({"batch_size": 7}, "batch_size was 4 and is 7"),
        ({"embeddings": False}, "embeddings was True and is False"),
    ],
)
def test_going_on_with_other_settings_is_refused(
    tmp_path: Path, uninterrupted: dict[str, bytes], change: dict[str, object], message: str
) -> None:
    def interrupt(state: ChunkProgress) -> None:
        if state.tokens > 30:
            raise Interrupted

    with pytest.raises(Interrupted):
        draw(tmp_path / "stopped", progress=interrupt)
    (tmp_path / "finished.0").write_bytes(uninterrupted[".0"])
    for output in ("stopped", "finished"):
        with pytest.raises(ArgumentError, match=message):
            draw(tmp_path / output, replace(SETTINGS, **change))  # type: ignore[arg-type]


def test_other_prompts_models_and_files_are_refused(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    (tmp_path / "drawn.0").write_bytes(uninterrupted[".0"])
    with pytest.raises(ArgumentError, match="prompts_sha256"):
        sample_chunks(MODEL, PROMPTS[::-1], EOS, SETTINGS, tmp_path / "drawn")
    with pytest.raises(ArgumentError, match="weights_sha256"):
        sample_chunks(tiny_language_model(1), PROMPTS, EOS, SETTINGS, tmp_path / "drawn")
    torch.save(torch.zeros(3, 3), tmp_path / "drawn.0")
    with pytest.raises(ArgumentError, match="other settings"):
        draw(tmp_path / "drawn")


def test_a_finished_job_goes_on_with_more_chunks(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    draw(tmp_path / "drawn", replace(SETTINGS, total_chunks=2))
    draw(tmp_path / "drawn")
    assert content(tmp_path, "drawn") == uninterrupted


def test_progress_ends_at_the_whole_and_counts_what_was_there(tmp_path: Path) -> None:
    states: list[ChunkProgress] = []
    draw(tmp_path / "drawn", replace(SETTINGS, total_chunks=2), progress=states.append)
    assert states[-1].sequences == states[-1].total == 46
    assert [state.sequences for state in states] == sorted(state.sequences for state in states)
    drawn = torch.cat([read_sequences(tmp_path / f"drawn.{chunk}") for chunk in range(2)])
    assert states[-1].tokens == int(token_mask(drawn, EOS).sum())
    states.clear()
    draw(tmp_path / "drawn", progress=states.append)
    assert states[0] == ChunkProgress(46, 69, 0)


@pytest.mark.parametrize(
    ("prompts", "error"),
    [([], DataError), ([[3], []], DataError), ([[VOCABULARY]], VocabularyError), ([[3] * 5000], ArgumentError)],
)
def test_prompts_the_model_cannot_read_are_refused(
    tmp_path: Path, prompts: list[list[int]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        sample_chunks(MODEL, prompts, EOS, SETTINGS, tmp_path / "drawn")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"chunk_size": 0}, {"total_chunks": 0}, {"batch_size": 0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ArgumentError):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


def test_torch_files_hold_the_same_draws_and_are_recognised(tmp_path: Path) -> None:
    wanted = replace(SETTINGS, embeddings=True, total_chunks=1)
    (ours,) = draw(tmp_path / "ours", wanted)
    (theirs,) = draw(tmp_path / "theirs", replace(wanted, file_format="pt"))
    sequences = torch.load(theirs, weights_only=True)
    assert torch.equal(sequences, read_sequences(ours)) and torch.equal(sequences, read_sequences(theirs))
    mask = token_mask(sequences, EOS)
    vectors = [read_embeddings(f"{file}{EMBEDDINGS_SUFFIX}", mask) for file in (ours, theirs)]
    assert torch.equal(*vectors)
    before = content(tmp_path, "theirs")
    draw(tmp_path / "theirs", replace(wanted, file_format="pt"))  # is finished: nothing is drawn or written again
    assert content(tmp_path, "theirs") == before
    with pytest.raises(ArgumentError, match="file_format was 'pt'"):
        draw(tmp_path / "theirs", wanted)
    with pytest.raises(ArgumentError, match="format is 'npy'"):
        replace(wanted, file_format="npy")


def test_nothing_of_others_is_removed_or_replaced(tmp_path: Path) -> None:
    (tmp_path / "drawn.parts").mkdir()
    (tmp_path / "drawn.parts" / "notes.txt").write_text("mine")
    with pytest.raises(ArgumentError, match=r"not written here: notes\.txt"):
        draw(tmp_path / "drawn")
    (tmp_path / "other.0.embeddings").write_text("mine")
    with pytest.raises(ArgumentError, match=r"other\.0\.embeddings holds data sampled with other settings"):
        draw(tmp_path / "other")
    (tmp_path / "third.1").mkdir()
    with pytest.raises(ArgumentError, match=r"third\.1 is a folder"):
        draw(tmp_path / "third")
    assert (tmp_path / "drawn.parts" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "other.0.embeddings").read_text() == "mine"


def test_two_jobs_do_not_draw_the_same(tmp_path: Path) -> None:
    with Lock(tmp_path / "drawn"), pytest.raises(ArgumentError, match=r"another process .* is sampling"):
        draw(tmp_path / "drawn")
    damaged = tmp_path / "damaged.parts"
    damaged.mkdir()
    (damaged / "settings.json").write_text("{")
    with pytest.raises(ArgumentError, match=r"settings\.json is damaged"):
        draw(tmp_path / "damaged")


def test_next_tokens_are_drawn_beside_the_sequences_which_stay_the_same(tmp_path: Path) -> None:
    plain = draw(tmp_path / "plain", replace(SETTINGS, embeddings=True))
    both = draw(tmp_path / "both", replace(SETTINGS, embeddings=True, embedded_chunks=1, next_tokens=5))
    for number, (first, second) in enumerate(zip(plain, both, strict=True)):
        sequences = read_sequences(second)
        assert torch.equal(sequences, read_sequences(first))
        assert Path(f"{second}{EMBEDDINGS_SUFFIX}").is_file() == (number == 0)
        mask = token_mask(sequences, EOS)
        drawn = read_next_tokens(second, mask, VOCABULARY)
        assert drawn.shape == (int(mask.sum()), 5)
        assert (drawn.diff(dim=1) >= 0).all()
    # Every place's own distribution: draws from the hidden states of the same places differ in their shifts alone.
    mask = token_mask(read_sequences(both[0]), EOS)
    drawn = read_next_tokens(both[0], mask, VOCABULARY)
    vectors = read_embeddings(f"{both[0]}{EMBEDDINGS_SUFFIX}", mask)
    probabilities = output_layer(MODEL)(vectors.float()).softmax(1)
    shares = torch.nn.functional.one_hot(drawn.long(), VOCABULARY).float().mean(1)
    assert (shares - probabilities).abs().max() < 1 / 5 + 0.01


def test_time_that_is_over_leaves_whole_chunks_and_the_job_goes_on_later(tmp_path: Path) -> None:
    done = sample_chunks(MODEL, PROMPTS, EOS, SETTINGS, tmp_path / "job", until=0.0)
    assert done == chunk_files(tmp_path / "job", SETTINGS.total_chunks)[:1]
    assert draw(tmp_path / "job") == chunk_files(tmp_path / "job", SETTINGS.total_chunks)
    draw(tmp_path / "whole")
    assert content(tmp_path, "job") == content(tmp_path, "whole")
