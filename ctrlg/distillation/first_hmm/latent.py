"""Latent-variable distillation: the first HMM, from clusters of the language model's hidden states.

k-means over the embeddings that predicted each token gives every token a hidden state; counting gives the parameters
(Liu et al., "Scaling up probabilistic circuits by latent variable distillation", 2022; Ctrl-G, sec. 4). The last
state is reserved for end-of-text: it emits nothing else and is never left. *Hard* emission rows count sampled tokens,
*soft* rows are the mean of the language model's softmax over a cluster's members (end-of-text apart).

Files are read one at a time, twice: for a bounded sample that the centroids are trained on, and to count. Memory is
one chunk, the sample, and the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ctrlg.distillation.first_hmm.clusters import nearest_centroids, share_of_sample, train_centroids
from ctrlg.distillation.first_hmm.settings import LatentSettings
from ctrlg.distillation.first_hmm.state_counts import StateCounts
from ctrlg.distillation.first_hmm.torch_k_means import check_finite
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import EMBEDDINGS_SUFFIX, read_embeddings, read_sequences
from ctrlg.errors import DataError, VocabularyError
from ctrlg.hmm import HMM

Progress = Callable[[str, int, int], None]  # stage, done, of


class SampledFile(NamedTuple):
    """One chunk of sampled data: sequences and their embeddings, as sample_data.py or Ctrl-G's writes them.

    Attributes:
        sequences: file of sequences.
        embeddings: file of their embeddings.
    """

    sequences: Path
    embeddings: Path

    @classmethod
    def of(cls, sequences: str | Path) -> SampledFile:
        """The file and its embeddings under the usual name.

        Args:
            sequences: files of sequences.
        """
        return cls(Path(sequences), Path(f"{sequences}{EMBEDDINGS_SUFFIX}"))


class Distillation(NamedTuple):
    """The HMM and how many sampled tokens each state was given, int64 [H] (the last: ends of text).

    Attributes:
        hmm: the first HMM.
        cluster_sizes: sampled tokens of each state, int64 [H].
    """

    hmm: HMM
    cluster_sizes: Tensor


def latent_variable_distillation(
    files: Sequence[SampledFile],
    settings: LatentSettings,
    head: Any = None,
    fingerprint: str | None = None,
    device: str | torch.device = "cpu",
    report: Progress = lambda stage, done, total: None,
) -> Distillation:
    """The first HMM of sampled files.

    Args:
        files: sampled from the language model.
        settings: of clusters and counts.
        head: the sampled language model's output layer (`get_output_embeddings()`) for soft emissions; hard ones
            without.
        fingerprint: of the vocabulary (`Vocabulary.fingerprint`), kept in the HMM.
        device: of distances and, where faiss has it, of k-means; soft emissions are computed where the head is.
        report: told of (stage, done, total).

    Returns:
        The HMM and the sizes of its clusters.

    Raises:
        DataError: files that are missing, do not fit each other or hold too little.
        VocabularyError: tokens outside the vocabulary.
    """
    if head is not None and head.weight.shape[0] < settings.vocab_size:
        raise VocabularyError(
            f"the output layer has {head.weight.shape[0]} tokens, vocab_size is {settings.vocab_size}",
            hint="take the language model's own vocabulary size",
        )
    sizes = _content_sizes(files, settings, report)
    check_states(settings.hidden_states, sum(sizes))
    vectors = _sample_vectors(files, sizes, settings, report)
    clusters = settings.hidden_states - 1
    report(f"k-means of {len(vectors):,} vectors", 0, 1)
    centroids = train_centroids(vectors, clusters, settings.iterations, settings.seed, device)
    report(f"k-means of {len(vectors):,} vectors", 1, 1)
    del vectors
    counts = StateCounts(settings.hidden_states, settings.vocab_size, settings.eos_token_id, head)
    for number, file in enumerate(files, start=1):
        _count_file(file, centroids, counts, settings)
        report("counting", number, len(files))
    estimate = counts.estimate(settings.pseudocount)
    hmm = HMM.of_parameters(
        estimate.transition, estimate.emission, estimate.initial, settings.eos_token_id, fingerprint
    )
    return Distillation(hmm, counts.cluster_sizes)


def check_states(hidden_states: int, vectors: int) -> None:
    """Check that there is enough to cluster.

    Args:
        hidden_states: of the HMM; one of them is reserved.
        vectors: how many there are, or will be.

    Raises:
        DataError: more states than vectors.
    """
    if vectors < hidden_states:
        raise DataError(
            f"{vectors} vectors are too few for {hidden_states} states",
            hint=f"sample more, or take at most {max(2, vectors // 40)} states",
        )


def paired_files(sequences: Sequence[str | Path], embeddings: Sequence[str | Path]) -> list[SampledFile]:
    """Files in the order given.

    Args:
        sequences: files of sequences.
        embeddings: files of their embeddings.

    Raises:
        DataError: lists of different length or none.
    """
    if len(sequences) != len(embeddings) or not sequences:
        raise DataError(
            f"{len(sequences)} files of sequences and {len(embeddings)} of embeddings",
            hint="name the embeddings of each sequences file, in the same order",
        )
    return [SampledFile(Path(first), Path(second)) for first, second in zip(sequences, embeddings, strict=True)]


def assign_states(sequences: Tensor, embeddings: Tensor, centroids: Tensor, eos_token_id: int) -> Tensor:
    """State of each predicted token in reading order, int64 [tokens]: the nearest centroid, or the reserved last one.

    Args:
        sequences: int64 [n, T].
        embeddings: [tokens, D], as in `Samples`.
        centroids: [H - 1, D].
        eos_token_id: of the language model.

    Raises:
        DataError: they do not fit or are not finite.
    """
    content = _content(sequences, embeddings, eos_token_id)
    vectors = embeddings[content]
    check_finite(vectors)
    states = torch.full((len(embeddings),), len(centroids))
    states[content] = nearest_centroids(vectors, centroids)
    return states


def _content_sizes(files: Sequence[SampledFile], settings: LatentSettings, report: Progress) -> list[int]:
    """Tokens other than end-of-text of each file; everything that is cheap to check is checked on the way."""
    sizes = []
    for number, file in enumerate(files, start=1):
        if not file.embeddings.is_file():
            raise DataError(f"no such data file: {file.embeddings}", hint="sample with --save_embeddings")
        sequences = read_sequences(file.sequences)
        largest, least = int(sequences.max()), int(sequences.min())
        if largest >= settings.vocab_size or least < 0:
            raise VocabularyError(
                f"{file.sequences} holds token {largest if least >= 0 else least}, vocab_size is {settings.vocab_size}",
                hint="take the vocabulary size of the sampled language model",
            )
        mask = token_mask(sequences, settings.eos_token_id)
        sizes.append(int((sequences[mask] != settings.eos_token_id).sum()))
        report("reading sequences", number, len(files))
    return sizes


def _sample_vectors(
    files: Sequence[SampledFile], sizes: Sequence[int], settings: LatentSettings, report: Progress
) -> NDArray[np.float32]:
    """The bounded sample of embeddings, float32 [n, D]."""
    bound = settings.vectors_per_state * (settings.hidden_states - 1)
    shares = share_of_sample(sizes, bound, settings.seed)
    parts: list[Tensor] = []
    for number, (file, share) in enumerate(zip(files, shares, strict=True), start=1):
        if len(share):
            parts.append(_vectors_at(file, share, settings.eos_token_id))
            if parts[-1].shape[1] != parts[0].shape[1]:
                raise DataError(
                    f"{file.embeddings} has {parts[-1].shape[1]} dimensions, earlier files have {parts[0].shape[1]}",
                    hint="all files must come from one language model",
                )
        report("sampling vectors", number, len(files))
    return torch.cat(parts).float().numpy()


def _vectors_at(file: SampledFile, share: NDArray[np.int64], eos_token_id: int) -> Tensor:
    """Some of a file's embeddings, counted without those of end-of-text; the rest is let go."""
    sequences, embeddings = _read(file, eos_token_id)
    content = _content(sequences, embeddings, eos_token_id).nonzero()[:, 0]
    return embeddings[content[torch.from_numpy(share)]]


def _count_file(file: SampledFile, centroids: Tensor, counts: StateCounts, settings: LatentSettings) -> None:
    sequences, embeddings = _read(file, settings.eos_token_id)
    states = assign_states(sequences, embeddings, centroids, settings.eos_token_id)
    counts.add(sequences, states)
    counts.add_soft_emissions(embeddings, states)


def _read(file: SampledFile, eos_token_id: int) -> tuple[Tensor, Tensor]:
    sequences = read_sequences(file.sequences)
    return sequences, read_embeddings(file.embeddings, token_mask(sequences, eos_token_id))


def _content(sequences: Tensor, embeddings: Tensor, eos_token_id: int) -> Tensor:
    """Which predicted tokens are not end-of-text, bool [tokens]."""
    mask = token_mask(sequences, eos_token_id)
    if embeddings.shape[0] != int(mask.sum()):
        raise DataError(
            f"{embeddings.shape[0]} embeddings for {int(mask.sum())} predicted tokens",
            hint="give the embeddings that were sampled together with these sequences",
        )
    return sequences[mask] != eos_token_id
