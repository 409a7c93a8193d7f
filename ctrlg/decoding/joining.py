"""The language model's scores and the HMM's, joined: log p(v | constraint, so far) up to normalization is their
sum.

Where that sum leaves no token at all, parts of it give way in this order, and the mask never does: without
    the HMM's weights, without the language model, without both. A soft mask gives way first, and all at once: there
    the language model goes on alone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ctrlg.decoding.choices import Choices
from ctrlg.decoding.sequences import Sequences
from ctrlg.kernels.reference import finite_logits
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.look_ahead.content import HasClasses
from ctrlg.matrices import StochasticMatrix


class Joiner:
    """Adds the HMM's scores to a language model's.

    Args:
        automaton: says what is allowed.
        eos_token_id: the token that ends a text.
        emission: of the HMM; None without one, then allowed tokens keep their scores.
        device: where it computes.
        soft: whether the language model goes on alone where the HMM sees no way.
        strength: what the HMM's log-ratio is multiplied by, > 0.
    """

    def __init__(
        self,
        automaton: HasClasses,
        eos_token_id: int,
        emission: StochasticMatrix | None,
        device: torch.device,
        soft: bool = False,
        strength: float = 1.0,
    ) -> None:
        self.soft = soft
        self.strength = strength
        self._emission = emission
        self._eos_token_id = eos_token_id
        self._class_of = torch.from_numpy(automaton.class_of).to(device)

    def join(self, logits: Tensor, sequences: Sequences, choices: Choices) -> Tensor:
        """Log-probabilities of the constrained text's next token.

        Args:
            logits: of the language model, float32 [B, V], no NaN and no +inf; row i is sequence sequences.of_row[i].
            sequences: the distinct sequences.
            choices: their next tokens.

        Returns:
            [B, V], normalized. A row without any allowed token allows the end-of-text token.
        """
        joined, log_sum = self._sum(logits, sequences, choices, self.strength)
        joined.sub_(log_sum[:, None])
        empty = (~torch.isfinite(log_sum)).nonzero()[:, 0]
        if len(empty) and self.soft:
            joined[empty] = self.alone(logits[empty])
        elif len(empty):
            some = sequences._replace(of_row=sequences.of_row[empty.cpu().numpy()])
            by_hmm, _ = self._sum(torch.zeros_like(logits[empty]), some, choices, self.strength)
            joined[empty] = self.without(logits[empty], self._allowed(some, choices), by_hmm)
        return joined

    def log_ratio(self, sequences: Sequences, choices: Choices) -> Tensor:
        """log p(constraint, v | so far) - log p(v | so far), float32 [B, V]; without an HMM 0 if allowed."""
        zeros = torch.zeros(
            len(sequences.of_row), len(self._class_of), dtype=torch.float32, device=self._class_of.device
        )
        joined, _ = self._sum(zeros, sequences, choices, 1.0)
        return joined.add_(torch.from_numpy(choices.log_scale[sequences.of_row]).to(joined)[:, None])

    def _sum(self, logits: Tensor, sequences: Sequences, choices: Choices, strength: float) -> tuple[Tensor, Tensor]:
        """The sum of both [B, V] and its log-sum-exp [B], the HMM's part multiplied by `strength`."""
        if self._emission is None or choices.weights is None or sequences.predictive is None:
            joined = logits.masked_fill(~self._allowed(sequences, choices), -math.inf)
            return joined, joined.logsumexp(dim=1)
        if strength != 1:
            ratio, _ = self._sum(torch.zeros_like(logits), sequences, choices, 1.0)
            joined = ratio.mul_(strength).add_(logits)
            return joined, joined.logsumexp(dim=1)
        row_of = torch.from_numpy(choices.row_of).to(logits.device)
        step = ScoringStep(choices.weights, sequences.predictive, row_of, self._class_of)
        if np.array_equal(sequences.of_row, np.arange(len(sequences.state))):
            joined, log_sum = self._emission.add_scores(logits, step)
        else:
            joined = self._emission.scores(step)[_tensor(sequences.of_row, logits)].add_(logits)
            log_sum = joined.logsumexp(dim=1)
        _add_endings(joined, log_sum, logits, sequences, choices)
        return joined, log_sum

    def without(self, logits: Tensor, allowed: Tensor, by_hmm: Tensor) -> Tensor:
        """Log-probabilities of rows where HMM and language model together leave no token.

        Args:
            logits: of the language model, [b, V].
            allowed: bool [b, V].
            by_hmm: what the HMM alone says, [b, V].

        Returns:
            [b, V].
        """
        banned = ~allowed
        banned[banned.all(dim=1), self._eos_token_id] = False
        result = torch.zeros_like(logits).masked_fill_(banned, -math.inf).log_softmax(dim=1)
        for attempt in (by_hmm, logits.masked_fill(banned, -math.inf)):
            possible = torch.isfinite(attempt).any(dim=1)
            result[possible] = attempt[possible].log_softmax(dim=1)
        return result

    def alone(self, logits: Tensor) -> Tensor:
        """The language model's own log-probabilities [b, V]; end of text where it has none."""
        lost = ~torch.isfinite(logits).any(dim=1)
        logits[lost, self._eos_token_id] = 0.0
        return logits.log_softmax(dim=1)

    def _allowed(self, sequences: Sequences, choices: Choices) -> Tensor:
        """Which tokens each row may write, bool [B, V]."""
        allowed = torch.from_numpy(choices.row_of >= 0).to(self._class_of.device)[:, self._class_of.long()]
        allowed[_tensor(choices.endings.sequence, allowed), _tensor(choices.endings.token, allowed)] = True
        return allowed[_tensor(sequences.of_row, allowed)]


def finite(logits: Tensor) -> Tensor:
    """Scores without NaN and +inf.

    Args:
        logits: float [B, V].

    Returns:
        NaN taken as -inf, +inf as a number above all others; itself where neither occurs.
    """
    largest = logits.amax(dim=1)
    return logits if bool((largest < math.inf).all()) else finite_logits(logits)


def _add_endings(joined: Tensor, log_sum: Tensor, logits: Tensor, sequences: Sequences, choices: Choices) -> None:
    """Add to `joined` [B, V] and its log-sum-exp [B], in place, what endings in progress contribute to their
    tokens."""
    endings = choices.endings
    while len(endings.sequence):
        _, first = np.unique(endings.sequence, return_index=True)  # one of each sequence at a time
        ending_of = np.full(len(sequences.state), -1)
        ending_of[endings.sequence[first]] = first
        rows = np.flatnonzero(ending_of[sequences.of_row] >= 0)
        chosen = ending_of[sequences.of_row[rows]]
        row, token = _tensor(rows, joined), _tensor(endings.token[chosen], joined)
        term = logits[row, token] + torch.from_numpy(endings.log_ratio[chosen]).to(joined)
        joined[row, token] = torch.logaddexp(joined[row, token], term)
        log_sum[row] = torch.logaddexp(log_sum[row], term)
        endings = type(endings)(*(np.delete(column, first) for column in endings))


def _tensor(numbers: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(numbers).to(like.device)
