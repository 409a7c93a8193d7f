"""What may come next in each sequence, and how the HMM weighs it.

For sequence b, token v and the state d' it leads to, with the predictive a = p(z = h | tokens so far),

    log p(constraint, v | so far) - log p(v | so far)
        = log(sum_h a[h] M[h, v] (C[d', h] + endings)) - log(sum_h a[h] M[h, v])

where an ending in progress that awaits v adds sum_h a[h] S_j[h] to the numerator. The value never exceeds 0.
Here it is known up to one number per sequence, `log_scale`, which the softmax over tokens takes away.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.automata.paths import distances_in
from ctrlg.decoding.sequences import Sequences
from ctrlg.look_ahead.content import ContentAutomaton, Followed, live_edges
from ctrlg.look_ahead.edges import pair_rows
from ctrlg.look_ahead.reachability import Horizon, Reachability, horizon_at
from ctrlg.look_ahead.suffix import SuffixProbabilities, within_range
from ctrlg.look_ahead.tables import LookAhead


class AllowedEndings(NamedTuple):
    """Suffix tokens that sequences may write next, whatever their content may do.

    Attributes:
        sequence: int64 [E]; a sequence may have several.
        token: int64 [E].
        log_ratio: float64 [E]; as content is scored, less the sequence's log_scale; -inf without support by the HMM, 0
            without an HMM.
    """

    sequence: np.ndarray
    token: np.ndarray
    log_ratio: np.ndarray


class Choices(NamedTuple):
    """The next tokens of U sequences.

    Attributes:
        row_of: int32 [U, K + 1]; row of `weights` for the tokens of each class, -1 where they are not allowed as
            content.
        endings: the suffix tokens that are allowed, whatever row_of says of them.
        weights: float32 [R, H]; a * C[d'] for each sequence and next state, one scale per sequence; None without an
            HMM.
        log_scale: float64 [U]; what was taken out of a sequence's weights; 0 where nothing was.
    """

    row_of: np.ndarray
    endings: AllowedEndings
    weights: Tensor | None
    log_scale: np.ndarray


@dataclass(frozen=True)
class Guide(abc.ABC):
    """Everything about the constraint that does not change from step to step.

    Args:
        suffix_ids: what follows the content, end of text included.
        token_ranges: [least, most] content tokens; `Sequences.label` counts them.
        suffix: None without an HMM.
        eos_token_id: the token that ends a text.
    """

    suffix_ids: tuple[int, ...]
    token_ranges: tuple[tuple[int, int], ...]
    suffix: SuffixProbabilities | None
    eos_token_id: int

    @property
    @abc.abstractmethod
    def followed(self) -> Followed:
        """What sequences are followed through: its states are those of `Sequences.state`."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes of what is kept in memory."""

    @abc.abstractmethod
    def fewest(self, states: np.ndarray) -> np.ndarray:
        """In how many content tokens a completion is known from each state, int [n]; UNREACHABLE where none is."""

    @abc.abstractmethod
    def log_probability(self, predictive: Tensor, token_range: tuple[int, int]) -> float:
        """log p(constraint) before the first token, in nats; without an HMM never asked.

        Args:
            predictive: float32 [1, H].
            token_range: least and most content tokens.
        """

    @abc.abstractmethod
    def _content(
        self,
        sequences: Sequences,
        members: np.ndarray,
        horizon: Horizon,
        row_of: np.ndarray,
        log_scale: np.ndarray,
    ) -> Tensor:
        """Weights of the `members`, whose next token leaves `horizon`; fills their row_of and log_scale."""

    def choices(self, sequences: Sequences) -> Choices:
        """What each of the sequences may write next; none of them is over."""
        count = len(sequences.state)
        row_of = np.full((count, self.followed.num_classes + 1), -1, dtype=np.int32)
        log_scale = np.zeros(count)
        weights: list[Tensor] = []
        rows_so_far = 0
        for label, token_range in enumerate(self.token_ranges):
            members = np.flatnonzero(sequences.label == label)
            horizon = horizon_at(token_range, sequences.step)
            if horizon.most < 1 or not len(members):
                continue
            rows = self._content(sequences, members, horizon.next(), row_of, log_scale)
            row_of[members] += np.where(row_of[members] >= 0, rows_so_far, 0)
            rows_so_far += len(rows)
            weights.append(rows)
        log_scale[np.isneginf(log_scale)] = 0.0
        return Choices(row_of, self._endings(sequences, log_scale), _joined(weights, sequences.predictive), log_scale)

    def _endings(self, sequences: Sequences, log_scale: np.ndarray) -> AllowedEndings:
        """The suffix tokens that go on with an ending of allowed length."""
        found = [
            (sequence, j)
            for sequence, endings in enumerate(sequences.endings)
            for j in within_range(endings, sequences.step, self.token_ranges[sequences.label[sequence]])
        ]
        sequence, j = np.array(found, dtype=np.int64).reshape(-1, 2).T
        token = np.array(self.suffix_ids, dtype=np.int64)[j]
        if not found or sequences.predictive is None or self.suffix is None:
            return AllowedEndings(sequence, token, np.zeros(len(token)))
        with np.errstate(divide="ignore"):
            marginal = np.log(_mixture(sequences.predictive, self.suffix.token)[sequence, j])
            joint = np.log(_mixture(sequences.predictive, self.suffix.rest.values)[sequence, j])
        log_ratio = joint + self.suffix.rest.log_scale[j] - np.where(np.isneginf(marginal), 0, marginal)
        return AllowedEndings(sequence, token, log_ratio - log_scale[sequence])


@dataclass(frozen=True)
class ExactGuide(Guide):
    """A guide whose automaton is there as a whole, with a row of look-ahead for every state.

    Args:
        automaton: says what is allowed.
        guiding: the automaton that the look-ahead is about: `automaton`, or a smaller one that accepts more. It has the
            same token classes.
        guiding_state: int64 [S]; its state in each state of `automaton`, of no meaning in dead ones.
        reachability: of `automaton`.
        look_ahead: None without an HMM; then the mask alone speaks.
    """

    automaton: ContentAutomaton
    guiding: ContentAutomaton
    guiding_state: np.ndarray
    reachability: Reachability
    look_ahead: LookAhead | None

    @property
    def followed(self) -> Followed:
        """See Guide."""
        return self.automaton

    @property
    def nbytes(self) -> int:
        """Bytes of look-ahead tables in memory; 0 without an HMM."""
        return 0 if self.look_ahead is None else self.look_ahead.nbytes

    def fewest(self, states: np.ndarray) -> np.ndarray:
        """See Guide."""
        return distances_in(self.automaton.delta[:, self.automaton.usable], self.automaton.accepting)[states]

    def log_probability(self, predictive: Tensor, token_range: tuple[int, int]) -> float:
        """See Guide."""
        if self.look_ahead is None:
            return -math.inf
        value = self.look_ahead.value(Horizon(*token_range), np.array([self.guiding.initial]))
        mass = float((predictive @ value.values[0]).double())
        return math.log(mass) + float(value.log_scale[0]) if mass > 0 else -math.inf

    def _content(
        self,
        sequences: Sequences,
        members: np.ndarray,
        horizon: Horizon,
        row_of: np.ndarray,
        log_scale: np.ndarray,
    ) -> Tensor:
        """See Guide."""
        states = sequences.state[members]
        live = self.reachability.live[horizon]
        if self.look_ahead is None or sequences.predictive is None:
            edges = live_edges(self.automaton, states, np.where(live, 0, -1).astype(np.int32))
            row_of[members] = edges.of_class
            return torch.empty(len(edges.source), 0, dtype=torch.float32)
        table = self.look_ahead.table(horizon)
        edges = live_edges(self.guiding, self.guiding_state[states], table.row_of)
        row_of[members] = edges.of_class
        if self.guiding is not self.automaton:
            allowed = np.zeros((len(states), self.automaton.num_classes + 1), dtype=bool)
            allowed[:, :-1] = live[self.automaton.delta[states]]
            row_of[members] = np.where(allowed, edges.of_class, -1)
        weights, scale = pair_rows(sequences.predictive, members[edges.source], table.rows, edges.target)
        log_scale[members] = scale[members]
        return weights


def _mixture(predictive: Tensor, rows: Tensor) -> np.ndarray:
    """predictive [U, H] @ rows [m, H].T, float64 [U, m]."""
    return (predictive @ rows.T).double().cpu().numpy()


def _joined(weights: list[Tensor], predictive: Tensor | None) -> Tensor | None:
    if predictive is None:
        return None
    if len(weights) == 1:
        return weights[0]
    return torch.cat(weights) if weights else predictive[:0]
