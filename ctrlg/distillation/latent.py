"""Latent-variable distillation: the first HMM, from clusters of the language model's hidden states.

k-means over the embeddings that predicted each token gives every token a hidden state; counting gives the parameters
(Liu et al., "Scaling up probabilistic circuits by latent variable distillation", 2022; Ctrl-G, sec. 4). The last
state is reserved for end-of-text: it emits nothing else and is never left. *Hard* emission rows count sampled tokens,
*soft* rows are the mean of the language model's softmax over a cluster's members (end-of-text apart).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.distillation.sampling import token_mask
from ctrlg.errors import ArgumentError, DataError
from ctrlg.hmm.learning import Estimate, TotalCounts, maximise


class LatentStates(NamedTuple):
    """states: of each predicted token in reading order, int64 [tokens]; mask: where they stand, bool [n, T]."""

    states: Tensor
    mask: Tensor


def assign_states(
    sequences: Tensor,
    embeddings: Tensor,
    hidden_states: int,
    eos_token_id: int,
    iterations: int = 20,
    seed: int = 0,
    verbose: bool = False,
) -> LatentStates:
    """Cluster the embeddings into hidden_states - 1 states; end-of-text tokens get the last one.

    sequences: int64 [n, T]; embeddings: [tokens, D], as in `Samples`.
    Raises DataError where both do not fit, are NaN, or hold fewer vectors than states; ArgumentError for fewer than
    two states.
    """
    import faiss

    mask = token_mask(sequences, eos_token_id)
    if embeddings.shape[0] != int(mask.sum()):
        raise DataError(
            f"{embeddings.shape[0]} embeddings for {int(mask.sum())} predicted tokens",
            hint="give the embeddings that were sampled together with these sequences",
        )
    content = sequences[mask] != eos_token_id
    vectors = embeddings[content].float().numpy()
    if hidden_states < 2:
        raise ArgumentError(f"hidden_states is {hidden_states}", hint="one is reserved for end-of-text: 2 or more")
    if len(vectors) < hidden_states:
        raise DataError(
            f"{len(vectors)} vectors are too few for {hidden_states} states",
            hint=f"sample more, or take at most {max(2, len(vectors) // 40)} states",
        )
    if not np.isfinite(vectors).all():
        raise DataError("the embeddings hold NaN or infinity", hint="sample again, in bfloat16 or float32")
    clustering = faiss.Kmeans(
        vectors.shape[1],
        hidden_states - 1,
        niter=iterations,
        seed=seed,
        verbose=verbose,
        min_points_per_centroid=1,
    )
    clustering.train(vectors)
    _, nearest = clustering.index.search(vectors, 1)
    states = torch.full((embeddings.shape[0],), hidden_states - 1)
    states[content] = torch.from_numpy(nearest[:, 0].astype(np.int64))
    return LatentStates(states, mask)


def count_states(
    sequences: Tensor, latent: LatentStates, hidden_states: int, vocab_size: int, eos_token_id: int
) -> TotalCounts:
    """Counts of initial states, transitions and (hard) emissions; the reserved state is absorbing."""
    states, mask = latent
    grid = torch.full(mask.shape, hidden_states - 1)
    grid[mask] = states
    follows = mask[:, :-1] & mask[:, 1:]
    pairs = grid[:, :-1][follows] * hidden_states + grid[:, 1:][follows]
    transition = torch.bincount(pairs, minlength=hidden_states**2).reshape(hidden_states, hidden_states).float()
    transition[-1] = 0
    transition[-1, -1] = 1
    emission = torch.zeros(vocab_size, hidden_states)
    emission.index_put_((sequences[mask], states), torch.ones(len(states)), accumulate=True)
    emission[:, -1] = 0
    emission[eos_token_id, -1] = 1
    initial = torch.bincount(grid[:, 0], minlength=hidden_states).float()
    return TotalCounts(initial, transition, emission, 0.0, sequences.shape[0])


@torch.inference_mode()
def soft_emissions(
    head: Any,
    embeddings: Tensor,
    states: Tensor,
    hidden_states: int,
    vocab_size: int,
    eos_token_id: int,
    batch_size: int = 2048,
    report: Any = None,
) -> Tensor:
    """Mean next-token distribution of each state's members, end-of-text left out, [H, V]; rows sum to 1.

    head: the language model's output layer (`get_output_embeddings()`), applied to embeddings [tokens, D] in its own
    precision. The reserved state's row is end-of-text alone; a state without members has a uniform row.
    """
    weight = next(head.parameters())
    sums = torch.zeros(hidden_states, vocab_size)
    order = torch.argsort(states, stable=True)
    order = order[states[order] != hidden_states - 1]
    for start in range(0, len(order), batch_size):
        index = order[start : start + batch_size]
        logits = head(embeddings[index].to(weight)).float()[:, :vocab_size]
        logits[:, eos_token_id] = -torch.inf
        probabilities = logits.softmax(1).cpu()
        # Members are sorted by state: each batch touches a few states, one small product adds them up.
        touched, local = torch.unique_consecutive(states[index], return_inverse=True)
        membership = torch.zeros(len(touched), len(index))
        membership[local, torch.arange(len(index))] = 1
        sums.index_add_(0, touched, membership @ probabilities)
        if report is not None:
            report(len(index))
    sums[-1] = 0
    sums[-1, eos_token_id] = 1
    mass = sums.sum(1, keepdim=True)
    return torch.where(mass > 0, sums / mass.clamp_min(1e-30), 1.0 / vocab_size)


def initial_estimate(counts: TotalCounts, emission: Tensor | None = None, pseudocount: float = 0.001) -> Estimate:
    """Parameters from counts, with the emission rows replaced by `emission` (soft) where given, [H, V]."""
    estimate = maximise(counts, pseudocount)
    return estimate if emission is None else estimate._replace(emission=emission)
