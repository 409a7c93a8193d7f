"""Counts of hidden states that are known for every token, summed over chunks, and the parameters they give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.errors import DataError
from ctrlg.hmm.learning import Estimate, TotalCounts, maximize

SOFTMAX_BLOCKS = {"cpu": 2048}  # tokens whose next-token distributions exist at a time, by device
LARGE_SOFTMAX_BLOCK = 16_384  # on any other: 3.2 GB of float32 over 49,152 tokens


class StateCounts:
    """Running sums over chunks: whole numbers, exact in any order; soft emissions in float32.

    hidden_states H: the last one is reserved for end-of-text and absorbing.

    Args:
        hidden_states: H.
        vocab_size: V.
        eos_token_id: of the HMM.
        head: the language model's output layer for soft emissions, in its own precision; None for hard ones, which
            count the tokens.
    """

    def __init__(self, hidden_states: int, vocab_size: int, eos_token_id: int, head: Any = None) -> None:
        self.hidden_states = hidden_states
        self.vocab_size = vocab_size
        self.eos_token_id = eos_token_id
        self.head = head
        self.sequences = 0
        self.initial = torch.zeros(hidden_states, dtype=torch.long)
        self.transition = torch.zeros(hidden_states, hidden_states, dtype=torch.long)
        self.cluster_sizes = torch.zeros(hidden_states, dtype=torch.long)
        # Token-major like all emission counts; 32 bits hold what one state emits of one token.
        self.hard = torch.zeros(vocab_size, hidden_states, dtype=torch.int32) if head is None else None
        self.soft = (
            None
            if head is None
            else torch.zeros(hidden_states, vocab_size, dtype=torch.float32, device=head.weight.device)
        )

    def add(self, sequences: Tensor, states: Tensor) -> None:
        """Count a chunk: sequences int64 [n, T], states of its predicted tokens in reading order, int64 [tokens].

        Args:
            sequences: int64 [n, T].
            states: of its predicted tokens in reading order, int64 [tokens].
        """
        states_of = torch.full(sequences.shape, self.hidden_states - 1)
        mask = token_mask(sequences, self.eos_token_id)
        states_of[mask] = states
        follows = mask[:, :-1] & mask[:, 1:]
        pairs = states_of[:, :-1][follows] * self.hidden_states + states_of[:, 1:][follows]
        self.transition.view(-1).index_add_(0, pairs, torch.ones_like(pairs))
        self.initial += torch.bincount(states_of[:, 0], minlength=self.hidden_states)
        self.cluster_sizes += torch.bincount(states, minlength=self.hidden_states)
        self.sequences += len(sequences)
        if self.hard is not None:
            cells = sequences[mask] * self.hidden_states + states
            self.hard.view(-1).index_add_(0, cells, torch.ones_like(cells, dtype=torch.int32))

    @torch.inference_mode()
    def add_soft_emissions(self, embeddings: Tensor, states: Tensor) -> None:
        """Add the next-token distribution, end-of-text left out, of each embedding [tokens, D] to its state's row.

        Nothing where emissions are hard.

        Args:
            embeddings: [tokens, D].
            states: of its predicted tokens in reading order, int64 [tokens].

        Raises:
            DataError: embeddings of another width than the output layer's.
        """
        if self.soft is None:
            return
        weight = self.head.weight
        if embeddings.shape[1] != weight.shape[1]:
            raise DataError(
                f"embeddings have {embeddings.shape[1]} dimensions, the output layer takes {weight.shape[1]}",
                hint="name the language model that was sampled",
            )
        order = torch.argsort(states, stable=True)
        order = order[states[order] != self.hidden_states - 1]
        for index in order.split(SOFTMAX_BLOCKS.get(weight.device.type, LARGE_SOFTMAX_BLOCK)):
            logits = self.head(embeddings[index].to(weight)).float()[:, : self.vocab_size]
            logits[:, self.eos_token_id] = -torch.inf
            # Members are sorted by state: each block touches a few states, one small product adds them up.
            touched, local = torch.unique_consecutive(states[index], return_inverse=True)
            membership = torch.zeros(len(touched), len(index), dtype=torch.float32)
            membership[local, torch.arange(len(index))] = 1
            sums = membership.to(logits.device) @ logits.softmax(1)
            self.soft.index_add_(0, touched.to(logits.device), sums)

    def estimate(self, pseudocount: float) -> Estimate:
        """Parameters: rows of counts with `pseudocount` spread over each; soft rows as they are, empty ones uniform.

        Args:
            pseudocount: of each row.
        """
        transition = self.transition.float()
        transition[-1] = 0
        transition[-1, -1] = 1
        emission = (
            torch.zeros(self.vocab_size, self.hidden_states, dtype=torch.float32)
            if self.hard is None
            else self.hard.float()
        )
        emission[:, -1] = 0
        emission[self.eos_token_id, -1] = 1
        counts = TotalCounts(self.initial.float(), transition, emission, 0.0, self.sequences)
        estimate = maximize(counts, pseudocount)
        if self.soft is None:
            return estimate
        mass = self.soft.sum(1, keepdim=True)
        rows = torch.where(mass > 0, self.soft / mass.clamp_min(1e-30), 1.0 / self.vocab_size).cpu()
        rows[-1] = 0
        rows[-1, self.eos_token_id] = 1
        return estimate._replace(emission=rows)
