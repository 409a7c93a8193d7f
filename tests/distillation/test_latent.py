"""The first HMM: many files give what one file gives, memory stays with one chunk, clusters waste no state."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.sampling_job import EOS, VOCABULARY, tiny_language_model
from helpers.tiny_models import tiny_tokenizer
from torch.testing import assert_close

from ctrlg.distillation.first_hmm import latent
from ctrlg.distillation.first_hmm.clusters import nearest_centroids, share_of_sample, train_centroids
from ctrlg.distillation.first_hmm.figure import plot_states
from ctrlg.distillation.first_hmm.latent import (
    Distillation,
    LatentSettings,
    SampledFile,
    assign_states,
    latent_variable_distillation,
    paired_files,
)
from ctrlg.distillation.first_hmm.state_counts import StateCounts
from ctrlg.distillation.first_hmm.torch_k_means import SPLIT_STEP, _split_heavy, lloyd
from ctrlg.distillation.sampling.samples import Samples, SamplingSettings, sample, token_mask
from ctrlg.distillation.sampling.storage import write_samples
from ctrlg.errors import ArgumentError, DataError, VocabularyError

STATES = 8
SETTINGS = LatentSettings(STATES, VOCABULARY, EOS)


@pytest.fixture(scope="module")
def samples() -> Samples:
    settings = SamplingSettings(max_new_tokens=10)
    return sample(tiny_language_model(), [EOS], 300, settings, EOS, torch.Generator().manual_seed(0), embeddings=True)


def chunks_of(samples: Samples, folder: Path, sizes: Sequence[int]) -> list[SampledFile]:
    assert samples.embeddings is not None
    lengths = token_mask(samples.sequences, EOS).sum(1).cumsum(0)
    files, row, token = [], 0, 0
    for number, size in enumerate(sizes):
        end = int(lengths[row + size - 1])
        part = Samples(samples.sequences[row : row + size], samples.embeddings[token:end])
        write_samples(folder / f"chunk.{number}", part)
        files.append(SampledFile.of(folder / f"chunk.{number}"))
        row, token = row + size, end
    return files


def head() -> Any:
    return tiny_language_model().get_output_embeddings()


@pytest.mark.parametrize("soft", [True, False])
def test_many_files_give_what_one_file_gives(samples: Samples, soft: bool, tmp_path: Path) -> None:
    output_layer = head() if soft else None
    results: list[Distillation] = []
    for name, sizes in (("joined", [300]), ("parted", [120, 1, 179])):
        (tmp_path / name).mkdir()
        files = chunks_of(samples, tmp_path / name, sizes)
        whole = LatentSettings(STATES, VOCABULARY, EOS, vectors_per_state=1000)
        results.append(latent_variable_distillation(files, whole, output_layer))
    joined, parted = results
    assert torch.equal(joined.cluster_sizes, parted.cluster_sizes)
    assert torch.equal(joined.hmm.alpha_exp, parted.hmm.alpha_exp)
    assert torch.equal(joined.hmm.gamma, parted.hmm.gamma)
    assert_close(joined.hmm.beta.exp(), parted.hmm.beta.exp(), rtol=1e-5 if soft else 0, atol=1e-7 if soft else 0)


def test_counts_add_up(samples: Samples, tmp_path: Path) -> None:
    assert samples.embeddings is not None
    mask = token_mask(samples.sequences, EOS)
    centroids = train_centroids(samples.embeddings.float().numpy(), STATES - 1, 5, 0)
    states = assign_states(samples.sequences, samples.embeddings, centroids, EOS)
    counts = StateCounts(STATES, VOCABULARY, EOS)
    counts.add(samples.sequences, states)
    counts.add(samples.sequences, states)
    assert counts.hard is not None
    assert int(counts.initial.sum()) == 2 * len(samples.sequences)
    assert int(counts.cluster_sizes.sum()) == 2 * int(mask.sum())
    assert int(counts.hard[:, :-1].sum()) == 2 * int((samples.sequences[mask] != EOS).sum())
    assert int(counts.hard[EOS, :-1].sum()) == 0
    assert int(counts.transition.sum()) == 2 * int((mask[:, 1:] & mask[:, :-1]).sum())
    for row, token, state in zip(mask.nonzero()[:, 0].tolist(), samples.sequences[mask], states, strict=True):
        assert (token == EOS) == (state == STATES - 1), row
    estimate = counts.estimate(0.0)
    assert estimate.transition[-1].tolist() == [0.0] * (STATES - 1) + [1.0]
    assert estimate.emission[-1].tolist() == [float(token == EOS) for token in range(VOCABULARY)]


def test_soft_emissions_are_the_mean_softmax_without_end_of_text(samples: Samples) -> None:
    assert samples.embeddings is not None
    states = torch.arange(len(samples.embeddings)) % STATES
    counts = StateCounts(STATES, VOCABULARY, EOS, head())
    counts.add_soft_emissions(samples.embeddings, states)
    rows = counts.estimate(0.0).emission
    logits = head()(samples.embeddings.float()).detach()
    logits[:, EOS] = -torch.inf
    for state in range(STATES - 1):
        assert_close(rows[state], logits.softmax(1)[states == state].mean(0), rtol=1e-4, atol=1e-5)
    assert rows[-1, EOS] == 1


def test_only_one_chunk_is_in_memory(samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = chunks_of(samples, tmp_path, [30] * 10)
    read: list[weakref.ref[Any]] = []
    most = 0
    plain = latent.read_embeddings

    def watched(path: Any, mask: Any) -> Any:
        nonlocal most
        embeddings = plain(path, mask)
        read.append(weakref.ref(embeddings))
        most = max(most, sum(reference() is not None for reference in read))
        return embeddings

    monkeypatch.setattr(latent, "read_embeddings", watched)
    few = LatentSettings(STATES, VOCABULARY, EOS, vectors_per_state=20)
    latent_variable_distillation(files, few)
    assert (len(read), most) == (20, 1)


def test_the_sample_is_bounded_uniform_and_fixed_by_its_seed() -> None:
    sizes = [5, 0, 12, 3]
    drawn = [share_of_sample(sizes, 8, seed) for seed in range(4000)]
    assert all(sum(map(len, shares)) == 8 for shares in drawn)
    assert all(len(set(share.tolist())) == len(share) for shares in drawn for share in shares)
    often = [np.bincount(np.concatenate([s[k] for s in drawn]), minlength=size) for k, size in enumerate(sizes)]
    # 4000 draws of 8 of 20: each member is expected 1600 times, standard deviation 31.
    assert all(1440 < count < 1760 for counts in often for count in counts)
    for first, second in zip(drawn[3], share_of_sample(sizes, 8, 3), strict=True):
        assert first.tolist() == second.tolist()
    assert [len(share) for share in share_of_sample(sizes, 100, 0)] == sizes


def test_the_same_seed_gives_the_same_hmm(samples: Samples, tmp_path: Path) -> None:
    files = chunks_of(samples, tmp_path, [100, 200])
    few = LatentSettings(STATES, VOCABULARY, EOS, vectors_per_state=20)
    first, second = (latent_variable_distillation(files, few) for _ in range(2))
    assert torch.equal(first.hmm.beta, second.hmm.beta)
    other = LatentSettings(STATES, VOCABULARY, EOS, vectors_per_state=20, seed=1)
    assert not torch.equal(first.hmm.beta, latent_variable_distillation(files, other).hmm.beta)


def test_a_vector_that_occurs_often_takes_one_centroid() -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    vectors[::2] = 0.5
    centroids = train_centroids(vectors, 40, 10, seed=0)
    sizes = torch.bincount(nearest_centroids(torch.from_numpy(vectors), centroids), minlength=40)
    assert int((sizes == 0).sum()) == 0


def test_centroids_of_torch_explain_vectors_as_well_as_those_of_faiss() -> None:
    vectors = np.random.default_rng(0).normal(size=(600, 5)).astype(np.float32)
    vectors += 6 * np.random.default_rng(1).integers(0, 3, size=(600, 1))
    points = torch.from_numpy(vectors)

    def loss(centroids: torch.Tensor) -> float:
        return float((points - centroids[nearest_centroids(points, centroids)]).square().sum())

    ours = lloyd(points, torch.ones(600), 20, 15, 0)
    assert loss(ours) == pytest.approx(loss(train_centroids(vectors, 20, 15, 0)), rel=0.1)
    assert torch.equal(ours, lloyd(points, torch.ones(600), 20, 15, 0))
    assert not torch.equal(ours, lloyd(points, torch.ones(600), 20, 15, 1))


def test_weights_count_as_repeats() -> None:
    vectors = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.arange(1.0, 31.0)
    (mean,) = lloyd(vectors, weights, 1, 2, 0)
    assert_close(mean, (weights[:, None] * vectors).sum(0) / weights.sum())


def test_a_cluster_without_members_halves_a_heavy_one() -> None:
    centroids = torch.tensor([[1.0, 1.0], [9.0, 9.0], [2.0, 2.0], [3.0, 3.0]])
    moved = _split_heavy(centroids, torch.tensor([5.0, 0.0, 7.0, 1.0]))
    assert torch.equal(moved[[0, 3]], centroids[[0, 3]])
    step = SPLIT_STEP * torch.tensor([1.0, -1.0])
    assert_close(moved[[1, 2]], 2 * torch.stack([1 + step, 1 - step]))
    assert torch.equal(_split_heavy(centroids, torch.ones(4)), centroids)


def test_nearest_is_the_least_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctrlg.distillation.first_hmm.clusters.ASSIGNMENT_BLOCK", 7)
    vectors, centroids = torch.randn(50, 4), torch.randn(9, 4)
    assert torch.equal(
        nearest_centroids(vectors.half().float(), centroids), torch.cdist(vectors.half().float(), centroids).argmin(1)
    )


def test_what_does_not_fit_is_refused(samples: Samples, tmp_path: Path) -> None:
    files = chunks_of(samples, tmp_path, [150, 150])
    with pytest.raises(DataError, match="too few for 100000 states"):
        latent_variable_distillation(files, LatentSettings(100_000, VOCABULARY, EOS))
    with pytest.raises(VocabularyError, match="vocab_size is 5"):
        latent_variable_distillation(files, LatentSettings(STATES, 5, EOS))
    with pytest.raises(VocabularyError, match="output layer has 12"):
        latent_variable_distillation(files, LatentSettings(STATES, 40, EOS), head())
    with pytest.raises(DataError, match="output layer takes 7"):
        latent_variable_distillation(files, SETTINGS, torch.nn.Linear(7, VOCABULARY))
    with pytest.raises(DataError, match="embeddings for"):
        latent_variable_distillation([SampledFile(files[0].sequences, files[1].embeddings)], SETTINGS)
    with pytest.raises(DataError, match="no such data file"):
        latent_variable_distillation([SampledFile.of(tmp_path / "nowhere")], SETTINGS)
    with pytest.raises(DataError, match="2 files of sequences and 1 of embeddings"):
        paired_files(["a", "b"], ["a.embeddings"])
    with pytest.raises(DataError, match="distinct vectors are too few"):
        train_centroids(np.ones((50, 3), dtype=np.float32), 2, 5, 0)
    for wrong in ((1, 5, 0), (4, 5, 5), (4, 5, 0, 0)):
        with pytest.raises(ArgumentError):
            LatentSettings(*wrong)


def test_embeddings_that_are_not_finite_are_refused(samples: Samples, tmp_path: Path) -> None:
    assert samples.embeddings is not None
    embeddings = samples.embeddings.clone()
    embeddings[3, 2] = torch.nan
    write_samples(tmp_path / "drawn", Samples(samples.sequences, embeddings))
    with pytest.raises(DataError, match="NaN or infinity"):
        latent_variable_distillation([SampledFile.of(tmp_path / "drawn")], SETTINGS)


def test_the_states_are_drawn(samples: Samples, tmp_path: Path) -> None:
    hmm, sizes = latent_variable_distillation(chunks_of(samples, tmp_path, [300]), SETTINGS)
    plot_states(hmm, sizes, tiny_tokenizer(), tmp_path / "states.svg")
    assert "no state is empty" in (tmp_path / "states.svg").read_text() or int((sizes[:-1] == 0).sum()) > 0
    with pytest.raises(ArgumentError, match="cannot plot"):
        plot_states(hmm, sizes, tiny_tokenizer(), tmp_path / "states.txt")
