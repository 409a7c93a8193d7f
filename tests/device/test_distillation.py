"""From a language model on a device to a trained HMM on it: samples, clusters, counts, EM and adaptation."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.pretend_device import NAME, assert_same
from helpers.sampling_job import EOS, VOCABULARY, tiny_language_model
from helpers.tiny_models import END_OF_TEXT, tiny_tokenizer
from helpers.tiny_models import tiny_language_model as tiny_llama
from helpers.training_runs import CHUNKS, make_run, settings_in
from rich.console import Console
from torch import Tensor

from ctrlg.adaptation.adapters import with_new_adapter
from ctrlg.adaptation.training import AdaptationSettings, adapt
from ctrlg.distillation.em.step import EMSettings, em_step, mean_log_likelihood
from ctrlg.distillation.em.trainer import train
from ctrlg.distillation.first_hmm import clusters
from ctrlg.distillation.first_hmm.clusters import nearest_centroids
from ctrlg.distillation.first_hmm.latent import LatentSettings, SampledFile, latent_variable_distillation
from ctrlg.distillation.first_hmm.torch_k_means import lloyd
from ctrlg.distillation.pipeline import distill
from ctrlg.distillation.pipeline_settings import DistillationSettings
from ctrlg.distillation.processes import Processes, joined_processes
from ctrlg.distillation.sampling.chunks import ChunkSettings, sample_chunks
from ctrlg.distillation.sampling.next_tokens import sample_next_tokens, write_next_tokens
from ctrlg.distillation.sampling.output_layer import output_layer
from ctrlg.distillation.sampling.samples import Samples, SamplingSettings, sample, token_mask
from ctrlg.distillation.sampling.storage import EMBEDDINGS_SUFFIX, read_embeddings, read_sequences, write_samples
from ctrlg.distillation.token_loss import held_out_loss, token_loss
from ctrlg.hmm import HMM, Prior
from ctrlg.loading.opening import weights_digest
from studies.aware_em.intervals import SeedStudy, StudyRun, StudySettings
from studies.data.fitting import fit
from studies.data.teacher_forced import read_sentences_with

STATES = 5
ROWS = [[EOS, *[1 + (n * k) % (VOCABULARY - 1) for k in range(1, 3 + n % 4)], EOS] for n in range(24)]


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Drawn on the CPU, with embeddings."""
    settings = SamplingSettings(max_new_tokens=8)
    return sample(tiny_language_model(), [EOS], 120, settings, EOS, torch.Generator().manual_seed(0), embeddings=True)


def random_model() -> HMM:
    torch.manual_seed(3)
    return HMM(STATES, VOCABULARY, EOS)


def parameters(model: HMM) -> tuple[Tensor, ...]:
    return tuple(parameter.detach() for parameter in model.parameters())


@pytest.mark.parametrize(
    "settings",
    [SamplingSettings(7), SamplingSettings(7, 0.7, 5, 0.9)],
)
def test_samples(device: torch.device, settings: SamplingSettings) -> None:
    results = []
    for place in ("cpu", device):
        model = tiny_language_model().to(place)
        results.append(sample(model, [EOS, 3], 30, settings, EOS, torch.Generator().manual_seed(0), embeddings=True))
    expected, found = results
    assert torch.equal(found.sequences, expected.sequences)
    torch.testing.assert_close(found.embeddings, expected.embeddings)


def test_the_generator_may_be_the_devices(device: torch.device) -> None:
    settings = SamplingSettings(5)
    model = tiny_language_model().to(device)
    found = sample(model, [EOS], 20, settings, EOS, torch.Generator(device).manual_seed(0))
    expected = sample(tiny_language_model(), [EOS], 20, settings, EOS, torch.Generator().manual_seed(0))
    assert torch.equal(found.sequences, expected.sequences)


def test_chunks(device: torch.device, tmp_path: Path) -> None:
    settings = ChunkSettings(SamplingSettings(6), chunk_size=20, total_chunks=2, batch_size=8, embeddings=True)
    files = [
        sample_chunks(tiny_language_model().to(place), [[EOS], [EOS, 4]], EOS, settings, tmp_path / str(place))
        for place in ("cpu", device)
    ]
    for expected, found in zip(*files, strict=True):
        sequences = read_sequences(expected)
        assert torch.equal(read_sequences(found), sequences)
        embeddings = (
            read_embeddings(f"{file}{EMBEDDINGS_SUFFIX}", token_mask(sequences, EOS)) for file in (found, expected)
        )
        torch.testing.assert_close(*embeddings)


def test_sentences_read(device: torch.device) -> None:
    expected = read_sentences_with(tiny_language_model(), ROWS, 6, EOS, batch_size=5)
    found = read_sentences_with(tiny_language_model().to(device), ROWS, 6, EOS, batch_size=5)
    assert torch.equal(found.sequences, expected.sequences)
    torch.testing.assert_close(found.embeddings, expected.embeddings)


def next_tokens_of(model: Any, samples: Samples) -> Tensor:
    assert samples.embeddings is not None
    return sample_next_tokens(output_layer(model), samples.embeddings, 8, VOCABULARY, torch.Generator().manual_seed(0))


def test_next_tokens(device: torch.device, samples: Samples) -> None:
    model = tiny_language_model()
    expected = next_tokens_of(model, samples)
    assert torch.equal(next_tokens_of(model.to(device), samples), expected)


@pytest.mark.parametrize("soft", [True, False])
def test_the_first_hmm(
    device: torch.device, samples: Samples, soft: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "replaces_faiss", lambda place: True)  # faiss begins with other vectors than torch
    write_samples(tmp_path / "chunk", samples)
    settings = LatentSettings(STATES, VOCABULARY, EOS)
    results = []
    for place in (torch.device("cpu"), device):
        head = output_layer(tiny_language_model().to(place)) if soft else None
        files = [SampledFile.of(tmp_path / "chunk")]
        results.append(latent_variable_distillation(files, settings, head, device=place))
    expected, found = results
    assert torch.equal(found.cluster_sizes, expected.cluster_sizes)
    for one, other in zip(parameters(found.hmm), parameters(expected.hmm), strict=True):
        torch.testing.assert_close(one, other)


def test_clusters(device: torch.device, samples: Samples) -> None:
    assert samples.embeddings is not None
    vectors, weights = samples.embeddings.float(), torch.ones(len(samples.embeddings))
    expected = lloyd(vectors, weights, 4, 5, 0)
    found = lloyd(vectors.to(device), weights.to(device), 4, 5, 0)
    assert_same(found, expected)
    assert torch.equal(nearest_centroids(vectors, found), nearest_centroids(vectors, expected))


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("bfloat16", [True, False])
def test_an_em_step(device: torch.device, samples: Samples, soft: bool, bfloat16: bool) -> None:
    drawn = next_tokens_of(tiny_language_model(), samples) if soft else None
    settings = EMSettings(batch_size=32, dropout=0.1, bfloat16=bfloat16)
    results = []
    for place in (torch.device("cpu"), device):
        model = random_model().to(place)
        prior = Prior(model.emission.to_dense(), 2.0)
        em_step(model, samples.sequences, settings, prior, Processes(0, 1, place), next_tokens=drawn)
        results.append((parameters(model), *mean_log_likelihood(model, samples.sequences, 32)))
    assert_same(results[1], results[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("soft", [True, False])
def test_an_em_step_of_sequences_on_the_device(device: torch.device, samples: Samples, soft: bool) -> None:
    drawn = next_tokens_of(tiny_language_model(), samples) if soft else None
    settings = EMSettings(batch_size=32, dropout=0.1)
    results = []
    for place in (torch.device("cpu"), device):
        model = random_model().to(place)
        em_step(model, samples.sequences.to(place), settings, next_tokens=drawn)
        results.append(parameters(model))
    assert_same(results[1], results[0], rtol=1e-4, atol=1e-5)


def test_em_until_it_no_longer_helps(device: torch.device, samples: Samples) -> None:
    sequences = samples.sequences
    found, expected = (
        fit(random_model().to(place), sequences[:80], sequences[80:], EMSettings(batch_size=40), 1.0, most_steps=3)
        for place in (device, "cpu")
    )
    assert found.steps == expected.steps
    assert found.held_out == pytest.approx(expected.held_out, rel=1e-5)
    assert_same(parameters(found.model), parameters(expected.model), rtol=1e-4)


@pytest.mark.parametrize("next_tokens", [0, 4])
def test_a_run_of_the_trainer(device: torch.device, next_tokens: int, tmp_path: Path) -> None:
    results: list[tuple[Tensor, ...]] = []
    for name, place in (("cpu", torch.device("cpu")), ("other", device)):
        make_run(tmp_path / name)
        if next_tokens:
            for chunk in range(CHUNKS):
                file = tmp_path / name / "samples" / f"tiny.train.{chunk}"
                tokens = int(token_mask(read_sequences(file), EOS).sum())
                generator = torch.Generator().manual_seed(chunk)
                drawn = torch.randint(20, (tokens, next_tokens), generator=generator, dtype=torch.int32)
                write_next_tokens(file, drawn)
        settings = settings_in(tmp_path / name, em_schedule="2,1", quantization_step=1, bits=8)
        train(settings, Processes(0, 1, place), Console(quiet=True))
        results.append(parameters(HMM.from_pretrained(tmp_path / name / "hmm" / "checkpoint-2")))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.exp(), other.exp(), rtol=1e-4, atol=1e-5)


def test_quantisation_aware_em(device: torch.device, samples: Samples) -> None:
    run = StudyRun("norm-q-max", 3, 2, "plain", 0)
    settings = StudySettings(hidden_states=STATES, steps=3, training_sequences=60, batch_size=20)
    results = [
        SeedStudy(settings, 0, samples.sequences, samples.sequences, random_model().to(place), [run]).run(run)
        for place in ("cpu", device)
    ]
    assert results[1].train_after == pytest.approx(results[0].train_after, rel=1e-4)


def test_losses_and_adaptation(device: torch.device, tmp_path: Path) -> None:
    results = []
    for place in ("cpu", device):
        model = tiny_language_model().to(place)
        loss = token_loss(with_new_adapter(copy.deepcopy(model), 2).model, ROWS)
        loss.backward()
        settings = AdaptationSettings(rank=2, batch_size=8, epochs=1.0, warmup=1, evaluate_every=2)
        steps: list[Any] = []
        adapt(model, ROWS[:16], ROWS[16:], tmp_path / str(place), settings, report=steps.append)
        results.append((loss.item(), held_out_loss(model, ROWS, 5), [step.training_loss for step in steps[1:]]))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    assert results[1][1] == pytest.approx(results[0][1], rel=1e-5)
    assert results[1][2] == pytest.approx(results[0][2], rel=1e-4)


def test_weights_have_the_same_digest(device: torch.device) -> None:
    assert weights_digest(tiny_language_model().to(device)) == weights_digest(tiny_language_model())


def test_one_process_joins_on_the_device(device: torch.device) -> None:
    with joined_processes(NAME) as processes:
        assert processes.device.type == device.type
        assert processes.sum(torch.ones(2)).tolist() == [1, 1]
        processes.wait()


def test_the_whole_way(device: torch.device, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    end: Any = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    tiny_llama(len(tokenizer), seed=1, eos_token_id=end).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    settings = DistillationSettings(
        model=str(tmp_path / "model"),
        output=tmp_path / "out",
        hidden_states=4,
        sequences=40,
        held_out=20,
        max_new_tokens=5,
        soft_steps=1,
        one_hot_steps=1,
        next_tokens=4,
        batch_size=20,
        max_bytes=60_000,
        device=NAME,
    )
    result = distill(settings, Console(quiet=True))
    assert result.outcome.file_bytes <= 60_000
