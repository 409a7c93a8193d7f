"""From samples to an HMM: clusters, counts, EM, files; on a tiny model, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.sampling_job import EOS, VOCABULARY, tiny_language_model
from torch.testing import assert_close

from ctrlg.distillation.em.step import (
    EMSettings,
    drop_tokens,
    em_step,
    parse_schedule,
    per_token,
    shared_batches,
)
from ctrlg.distillation.first_hmm.clusters import train_centroids
from ctrlg.distillation.first_hmm.latent import assign_states
from ctrlg.distillation.first_hmm.state_counts import StateCounts
from ctrlg.distillation.processes import Processes
from ctrlg.distillation.sampling.samples import Samples, SamplingSettings, sample, token_mask
from ctrlg.distillation.sampling.storage import (
    EMBEDDINGS_SUFFIX,
    read_description,
    read_embeddings,
    read_sequences,
    write_samples,
)
from ctrlg.errors import ArgumentError, DataError
from ctrlg.hmm import HMM, Prior

STATES = 8


@pytest.fixture(scope="module")
def samples() -> Samples:
    settings = SamplingSettings(max_new_tokens=10)
    return sample(tiny_language_model(), [EOS], 600, settings, EOS, torch.Generator().manual_seed(0), embeddings=True)


def first_hmm(samples: Samples, soft: bool) -> HMM:
    assert samples.embeddings is not None
    centroids = train_centroids(samples.embeddings.float().numpy(), STATES - 1, iterations=20, seed=0)
    states = assign_states(samples.sequences, samples.embeddings, centroids, EOS)
    counts = StateCounts(STATES, VOCABULARY, EOS, tiny_language_model().get_output_embeddings() if soft else None)
    counts.add(samples.sequences, states)
    counts.add_soft_emissions(samples.embeddings, states)
    return HMM.of_parameters(*counts.estimate(0.001), EOS)


@pytest.mark.parametrize("soft", [True, False])
def test_em_improves_on_the_first_hmm(samples: Samples, soft: bool) -> None:
    hmm = first_hmm(samples, soft)
    prior = Prior(hmm.emission.to_dense().clone(), 5.0) if soft else None
    before = per_token(hmm, samples.sequences, 64)
    for step in range(4):
        em_step(hmm, samples.sequences, EMSettings(batch_size=100), prior, step=step)
    assert per_token(hmm, samples.sequences, 64) > before + 0.01


def test_padding_is_left_out_without_changing_the_likelihood(samples: Samples) -> None:
    hmm = first_hmm(samples, soft=True)
    tokens = int(token_mask(samples.sequences, EOS).sum())
    whole = float(hmm.log_likelihood(samples.sequences).sum()) / tokens
    assert per_token(hmm, samples.sequences, 64) == pytest.approx(whole, abs=1e-3)


def test_files_come_back(samples: Samples, tmp_path: Path) -> None:
    write_samples(tmp_path / "drawn", samples)
    sequences = read_sequences(tmp_path / "drawn")
    assert torch.equal(sequences, samples.sequences)
    embeddings = read_embeddings(tmp_path / f"drawn{EMBEDDINGS_SUFFIX}", token_mask(sequences, EOS))
    assert samples.embeddings is not None
    assert torch.equal(embeddings, samples.embeddings)


def test_torch_files_are_read_by_torch_and_come_back(samples: Samples, tmp_path: Path) -> None:
    assert samples.embeddings is not None
    mask = token_mask(samples.sequences, EOS)
    written = [tmp_path / "first", tmp_path / "second"]
    for path in written:
        write_samples(path, samples, {"settings": {"seed": 3}}, "pt", mask)
    for end, dtype in (("", torch.int64), (EMBEDDINGS_SUFFIX, samples.embeddings.dtype)):
        first, second = (Path(f"{path}{end}") for path in written)
        assert first.read_bytes() == second.read_bytes(), "equal data are equal files"
        assert read_description(first) == {"settings": {"seed": 3}}
        tensor = torch.load(first, weights_only=True)
        assert tensor.dtype == dtype and tensor.shape[:2] == samples.sequences.shape
    dense = torch.load(f"{written[0]}{EMBEDDINGS_SUFFIX}", weights_only=True)
    assert torch.equal(dense[mask], samples.embeddings) and not dense[~mask].any()
    assert torch.equal(read_sequences(written[0]), samples.sequences)
    assert torch.equal(read_embeddings(f"{written[0]}{EMBEDDINGS_SUFFIX}", mask), samples.embeddings)
    with pytest.raises(ArgumentError, match="without their mask"):
        write_samples(tmp_path / "third", samples, file_format="pt")
    torch.save(samples.sequences, tmp_path / "foreign")
    assert read_description(tmp_path / "foreign") == {}


def test_ctrlg_files_are_read_without_unpickling_code(samples: Samples, tmp_path: Path) -> None:
    torch.save(samples.sequences, tmp_path / "old")
    assert torch.equal(read_sequences(tmp_path / "old"), samples.sequences)
    mask = token_mask(samples.sequences, EOS)
    padded = torch.zeros(*mask.shape, 16)
    assert samples.embeddings is not None
    padded[mask] = samples.embeddings.float()
    torch.save(padded, tmp_path / "old.embeddings")
    assert_close(read_embeddings(tmp_path / "old.embeddings", mask), samples.embeddings.float())
    torch.save(["text"], tmp_path / "evil")
    with pytest.raises(DataError, match="not a tensor"):
        read_sequences(tmp_path / "evil")


def test_foreign_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tensor")
    for name in ("text", "nowhere"):
        with pytest.raises(DataError, match=name):
            read_sequences(tmp_path / name)


def test_schedules() -> None:
    assert parse_schedule("10,1;5,2") == [(10, 1), (5, 2)]
    for wrong in ("", "10", "0,1", "a,b"):
        with pytest.raises(ArgumentError):
            parse_schedule(wrong)


def test_processes_share_the_batches_of_one(samples: Samples) -> None:
    alone = list(shared_batches(samples.sequences, EOS, 50, Processes(0, 1, torch.device("cpu"))))
    parts = [
        list(shared_batches(samples.sequences, EOS, 50, Processes(rank, 5, torch.device("cpu")))) for rank in range(5)
    ]
    assert sum(map(len, alone)) == len(samples.sequences)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for number, batch in enumerate(alone):
        assert torch.equal(batch, parts[number % 5][number // 5])


def test_dropout_spares_end_of_text_and_repeats_with_its_seed(samples: Samples) -> None:
    dropped = drop_tokens(samples.sequences, 0.3, EOS, seed=1)
    changed = dropped != samples.sequences
    assert 0.2 < changed[samples.sequences != EOS].float().mean() < 0.4
    assert (dropped[changed] == -1).all()
    assert torch.equal(dropped, drop_tokens(samples.sequences, 0.3, EOS, seed=1))
