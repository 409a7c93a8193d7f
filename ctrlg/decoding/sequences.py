"""What is known about each sequence in a batch, carried from one step to the next and found by its tokens.

Beam search reorders and copies rows between steps, so a sequence is recognized by the tokens generated so far. Only the
sequences of the last step are kept: memory is O(live sequences x H), whatever the number of steps and of calls. A
sequence that was not there in the last step (another `generate` call, a row that came from elsewhere) is read again
from its first token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.look_ahead.content import Followed
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.suffix import Endings, advance


class Sequences(NamedTuple):
    """The distinct sequences of one step, U of them.

    Attributes:
        of_row: int64 [B]; which of them each row of the batch is; they are numbered in the order of their first row.
        step: tokens generated so far, the same for all.
        label: int64 [U]; what the caller tells rows with the same tokens apart by (their token range).
        state: int64 [U]; the automaton state if everything so far is content.
        endings: endings in progress of each, whatever the length of their content.
        over: bool [U]; the end-of-text token (or one that no vocabulary holds) was generated: nothing more is content.
        predictive: float32 [U, H]; p(z = h | prefix, tokens so far), rows sum to 1 as nearly as those of the matrices;
            of no meaning where `over`. A row of zeros where a matrix that is not row-stochastic has lost every state:
            the HMM has nothing more to say then, and the mask decides. None without an HMM.
    """

    of_row: np.ndarray
    step: int
    label: np.ndarray
    state: np.ndarray
    endings: list[Endings]
    over: np.ndarray
    predictive: Tensor | None


class SequenceReader:
    """Follows sequences through the automaton, the suffix and the HMM.

    Args:
        hmm: None for the mask alone.
        automaton: the content's.
        suffix: token ids, the last of which ends the text.
        prefix: tokens the HMM reads first; the automaton does not see them.

    Attributes:
        start: the sequence without any generated token.
    """

    def __init__(
        self,
        hmm: HiddenMarkovModel | None,
        automaton: Followed,
        suffix: tuple[int, ...],
        prefix: tuple[int, ...],
    ) -> None:
        self._hmm = hmm
        self._automaton = automaton
        self._suffix = suffix
        self.start = first_sequence(hmm, automaton, suffix, prefix)
        self._known: dict[bytes, int] = {}
        self._last = self.start

    def read(self, generated: np.ndarray, label: np.ndarray) -> Sequences:
        """The distinct sequences among the rows of `generated`, int64 [B, t], with labels int64 [B]."""
        rows = np.concatenate([label[:, None], generated], axis=1, dtype=np.int64)
        keys = [row.tobytes() for row in rows]
        position: dict[bytes, int] = {}
        index = np.array([position.setdefault(key, len(position)) for key in keys], dtype=np.int64)
        _, first = np.unique(index, return_index=True)
        sequences = self._find(rows[first], list(position))
        self._known, self._last = position, sequences
        return sequences._replace(of_row=index)

    def _find(self, rows: np.ndarray, keys: list[bytes]) -> Sequences:
        """Distinct sequences, each a label and its tokens: kept, one token after kept ones, or read again."""
        step = rows.shape[1] - 1
        if step == self._last.step and all(key in self._known for key in keys):
            return take(self._last, np.array([self._known[key] for key in keys], dtype=np.int64))
        if step == self._last.step + 1:
            parents = [self._known.get(key[: -rows.itemsize], -1) for key in keys]
            if min(parents) >= 0:
                return self._after(take(self._last, np.array(parents, dtype=np.int64)), rows[:, -1])
        sequences = take(self.start, np.zeros(len(rows), dtype=np.int64))._replace(label=rows[:, 0])
        for column in range(step):
            sequences = self._after(sequences, rows[:, 1 + column])
        return sequences

    def _after(self, sequences: Sequences, tokens: np.ndarray) -> Sequences:
        """The same sequences one token later; tokens int64 [U]."""
        later = followed_by(self._automaton, self._suffix, sequences, tokens)
        if self._hmm is None or sequences.predictive is None:
            return later
        absorbed = absorb(self._hmm, sequences.predictive, np.where(later.over, -1, tokens))
        return later._replace(predictive=absorbed)


def first_sequence(
    hmm: HiddenMarkovModel | None, automaton: Followed, suffix: tuple[int, ...], prefix: Sequence[int]
) -> Sequences:
    """The sequence without any token, after the HMM has read the prefix."""
    predictive = None
    if hmm is not None:
        predictive = hmm.initial.float()[None]
        for token in prefix:
            predictive = absorb(hmm, predictive, np.array([token], dtype=np.int64))
        predictive = _normalised(predictive)
    return Sequences(
        of_row=np.zeros(1, dtype=np.int64),
        step=0,
        label=np.zeros(1, dtype=np.int64),
        state=np.array([automaton.initial], dtype=np.int64),
        endings=[(0,) if automaton.accepts(np.array([automaton.initial]))[0] else ()],
        over=np.zeros(1, dtype=bool),
        predictive=predictive,
    )


def followed_by(automaton: Followed, suffix: tuple[int, ...], sequences: Sequences, tokens: np.ndarray) -> Sequences:
    """Sequences one token later, but for what the HMM makes of it.

    Args:
        automaton: the content's.
        suffix: token ids, the last of which ends the text.
        sequences: U of them, all of one length.
        tokens: int64 [U]; any number, one that no vocabulary holds ends a text.
    """
    no_content = (tokens < 0) | (tokens >= automaton.vocab_size) | (tokens == suffix[-1])
    over = sequences.over | no_content
    known = tokens
    if no_content.any():
        # Any content token stands in for what is none, where a number is needed and nothing comes of it.
        known = np.where(no_content, np.argmax(automaton.class_of < automaton.num_classes), tokens)
    state = np.where(over, sequences.state, automaton.advance(sequences.state, known))
    endings = [
        () if done else advance(suffix, before, int(token), bool(accepted))
        for done, before, token, accepted in zip(over, sequences.endings, tokens, automaton.accepts(state), strict=True)
    ]
    return sequences._replace(step=sequences.step + 1, state=state, endings=endings, over=over)


def absorb(hmm: HiddenMarkovModel, predictive: Tensor, tokens: np.ndarray) -> Tensor:
    """p(z_{t+1} | x_1..x_t) from p(z_t | x_1..x_{t-1}), [U, H]; a token the HMM cannot emit is not seen."""
    emitted = hmm.emission.columns(torch.from_numpy(tokens).to(predictive.device)).to(predictive)
    posterior = predictive * emitted
    total = posterior.sum(dim=1, keepdim=True)
    posterior.div_(total.clamp_min(torch.finfo(total.dtype).tiny))
    unseen = total[:, 0] <= 0
    if bool(unseen.any()):
        # normalized, or the scale of rows that do not sum to 1 would pile up over tokens that are not seen
        posterior[unseen] = _normalised(predictive[unseen])
    return hmm.transition.left(posterior)


def take(sequences: Sequences, which: np.ndarray) -> Sequences:
    """The sequences numbered `which`, int64 [n], each the only row of its own."""
    predictive = sequences.predictive
    return sequences._replace(
        of_row=np.arange(len(which)),
        label=sequences.label[which],
        state=sequences.state[which],
        endings=[sequences.endings[i] for i in which],
        over=sequences.over[which],
        predictive=None if predictive is None else predictive[torch.from_numpy(which).to(predictive.device)],
    )


def _normalised(predictive: Tensor) -> Tensor:
    """Every row [U, H] divided by its sum; rows of zeros stay."""
    total = predictive.sum(dim=1, keepdim=True)
    return predictive / total.clamp_min(torch.finfo(total.dtype).tiny)
