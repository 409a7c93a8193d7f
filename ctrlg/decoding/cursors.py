"""Requests that come and go, each with a constraint of its own: what an engine that serves many texts at once needs.

A `Cursor` is one request: a guide, which many may share, and its own place in the text, O(H). A `CursorBatch` scores
any set of cursors together: rows of different constraints share one pass over the HMM's emission, over token classes
that are alike in all of their automata.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ctrlg.arguments import AboveZero, checked, refused
from ctrlg.automata.classes import joint
from ctrlg.decoding.choices import Choices, Guide
from ctrlg.decoding.joining import Joiner, finite
from ctrlg.decoding.positions import side_by_side
from ctrlg.decoding.sequences import Sequences, absorb, first_sequence, followed_by
from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.suffix import check_ids

REMEMBERED = 16
"""Tokens that a cursor goes back at once; to go back further, it reads its text again."""

_JOINT_CLASSES = 2048  # beyond as many, those that only earlier constraints needed are given up


class Cursor:
    """One request: a constraint's guide, and where the text stands.

    Args:
        guide: made by `guide_of` with one token range, for the same HMM; it may be shared.
        hmm: the HMM that the guide was made for; None for the mask alone.
        prefix_ids: what the HMM has read before the content begins.

    Raises:
        ArgumentError: a guide of several token ranges.
        VocabularyError: an id of the prefix outside the vocabulary.
    """

    @checked
    def __init__(self, guide: Guide, hmm: HiddenMarkovModel | None, prefix_ids: Sequence[int] = ()) -> None:
        if len(guide.token_ranges) != 1:
            raise ArgumentError(
                f"the guide has {len(guide.token_ranges)} token ranges", hint="a request has one range of tokens"
            )
        if hmm is not None:
            check_ids("prefix_ids", prefix_ids, hmm.vocab_size)
        self.guide = guide
        self.tokens: list[int] = []
        self._hmm = hmm
        with torch.no_grad():
            start = first_sequence(hmm, guide.followed, guide.suffix_ids, prefix_ids)
        self._start = start
        self._last: deque[Sequences] = deque([start], maxlen=REMEMBERED + 1)

    @property
    def here(self) -> Sequences:
        """The text so far, as a single sequence."""
        return self._last[-1]

    @property
    def over(self) -> bool:
        """Whether the text has ended; only the end-of-text token may follow."""
        return bool(self.here.over[0])

    @property
    def finished(self) -> bool:
        """Whether the text has ended in a way that keeps the constraint."""
        suffix = self.guide.suffix_ids
        if not self.tokens or self.tokens[-1] != suffix[-1] or tuple(self.tokens[-len(suffix) :]) != suffix:
            return False
        content = np.array(self.tokens[: -len(suffix)], dtype=np.int64)
        least, most = self.guide.token_ranges[0]
        followed = self.guide.followed
        state = np.array([followed.initial])
        for token in content:
            if not 0 <= token < followed.vocab_size or token == suffix[-1]:
                return False
            state = followed.advance(state, np.array([token]))
        return least <= len(content) <= most and bool(followed.accepts(state)[0])

    def advance(self, token_ids: Iterable[int]) -> None:
        """Read some tokens of the text.

        Args:
            token_ids: any number of them.
        """
        for token in token_ids:
            advance_all([self], [int(token)])

    @checked
    def back(self, tokens: int) -> None:
        """Forget the last tokens of the text.

        Args:
            tokens: how many, from none to all.

        Raises:
            ArgumentError: more than there are.
        """
        if not 0 <= tokens <= len(self.tokens):
            raise refused("tokens", tokens, f"0 to {len(self.tokens)}, the tokens read so far")
        kept = self.tokens[: len(self.tokens) - tokens]
        if tokens < len(self._last):
            for _ in range(tokens):
                self._last.pop()
            self.tokens = kept
            return
        self.tokens = []
        self._last = deque([self._start], maxlen=REMEMBERED + 1)
        self.advance(kept)

    def copy(self) -> Cursor:
        """Another cursor at the same place, which goes its own way from there."""
        other = object.__new__(Cursor)
        other.__dict__.update(self.__dict__)
        other.tokens = list(self.tokens)
        other._last = self._last.copy()
        return other

    def _move(self, sequence: Sequences, token: int) -> None:
        self.tokens.append(token)
        self._last.append(sequence)


@without_autocast()
def advance_all(cursors: Sequence[Cursor], tokens: Sequence[int]) -> None:
    """Read one token each, the HMM's part of all in one product.

    Args:
        cursors: of one HMM, each once.
        tokens: one for each.
    """
    ids = np.array(tokens, dtype=np.int64)
    later = [
        followed_by(cursor.guide.followed, cursor.guide.suffix_ids, cursor.here, ids[place : place + 1])
        for place, cursor in enumerate(cursors)
    ]
    predictive = [cursor.here.predictive for cursor in cursors]
    together = [rows for rows in predictive if rows is not None]
    if together:
        over = np.array([sequence.over[0] for sequence in later])
        hmm = cursors[0]._hmm
        with torch.no_grad():
            absorbed = torch.cat(together) if hmm is None else absorb(hmm, torch.cat(together), np.where(over, -1, ids))
        later = [one._replace(predictive=absorbed[place : place + 1]) for place, one in enumerate(later)]
    for cursor, sequence, token in zip(cursors, later, ids.tolist(), strict=True):
        cursor._move(sequence, token)


class CursorBatch:
    """Scores cursors of one HMM together, whatever their constraints and however long their texts.

    Args:
        hmm: None for masks alone.
        strength: multiplies the HMM's log-ratio, > 0.
    """

    @checked
    def __init__(self, hmm: HiddenMarkovModel | None, strength: AboveZero = 1.0) -> None:
        self._hmm = hmm
        self.strength = strength
        self._classes = _JointClasses()

    @torch.no_grad()
    @without_autocast()
    def log_ratios(self, cursors: Sequence[Cursor]) -> Tensor:
        """log p(constraint, v | so far) - log p(v | so far) for every token v.

        Args:
            cursors: at least one.

        Returns:
            float32 [rows, V], in nats; -inf where masked, and everywhere for a text that is over.
        """
        running, joiner, sequences, choices = self._choices(cursors)
        result = torch.full((len(cursors), self._vocab_size(cursors)), -torch.inf)
        if joiner is not None and sequences is not None and choices is not None:
            scores = joiner.log_ratio(sequences, choices)
            result = result.to(scores.device)
            result[torch.tensor(running, device=scores.device)] = scores
        return result

    @torch.no_grad()
    @without_autocast()
    def join(self, cursors: Sequence[Cursor], logits: Tensor) -> Tensor:
        """Log-probabilities of each text's next token, the language model's scores and the HMM's joined.

        Args:
            cursors: one for each row.
            logits: of the language model, [rows, W], W >= V.

        Returns:
            [rows, W], of the type and on the device of logits; the end-of-text token is certain where a text is over.
        """
        running, joiner, sequences, choices = self._choices(cursors)
        width = self._vocab_size(cursors)
        if joiner is not None and sequences is not None and choices is not None and running == [*range(len(logits))]:
            device = torch.device("cpu") if sequences.predictive is None else sequences.predictive.device
            if logits.shape[1] == width:  # the common case: every row is scored, and in order
                return joiner.join(finite(logits.to(device, torch.float32)), sequences, choices).to(logits)
        result = torch.full(logits.shape, -torch.inf)
        for row, cursor in enumerate(cursors):
            if row not in running:
                result[row, cursor.guide.eos_token_id] = 0.0
        if joiner is not None and sequences is not None and choices is not None:
            device = torch.device("cpu") if sequences.predictive is None else sequences.predictive.device
            rows = torch.tensor(running, device=device)
            some = finite(logits.to(device, torch.float32)[rows, :width])
            result = result.to(device)
            result[rows, :width] = joiner.join(some, sequences, choices)
        return result.to(logits.device, logits.dtype)

    def _choices(self, cursors: Sequence[Cursor]) -> tuple[list[int], Joiner | None, Sequences | None, Choices | None]:
        """Rows that are not over, and of these what may come next over joint classes."""
        groups: dict[tuple[int, int], list[int]] = {}
        for row, cursor in enumerate(cursors):
            if not cursor.over:
                groups.setdefault((id(cursor.guide), cursor.here.step), []).append(row)
        if not groups:
            return [], None, None, None
        guides = list({id(cursors[rows[0]].guide): cursors[rows[0]].guide for rows in groups.values()}.values())
        classes = self._classes
        classes.include(guides)
        steps, choices = [], []
        for (guide, _), rows in groups.items():
            together = _stacked([cursors[row].here for row in rows])
            found = cursors[rows[0]].guide.choices(together)
            steps.append(together)
            choices.append(found._replace(row_of=found.row_of[:, classes.of_guide(guide)]))
        sequences, joined = side_by_side(steps, choices)
        eos = guides[0].eos_token_id
        emission = None if self._hmm is None else self._hmm.emission
        device = torch.device("cpu") if self._hmm is None else self._hmm.initial.device
        joiner = Joiner(classes, eos, emission, device, strength=self.strength)
        return [row for rows in groups.values() for row in rows], joiner, sequences, joined

    @staticmethod
    def _vocab_size(cursors: Sequence[Cursor]) -> int:
        return cursors[0].guide.followed.vocab_size


class _JointClasses:
    """Classes of tokens alike in several automata, which become finer as constraints come.

    A new constraint costs one pass over the vocabulary, whatever others there are, and one that is known nothing. Those
    that have gone leave their classes behind, until there are many.

    Attributes:
        class_of: int32 [V].
    """

    def __init__(self) -> None:
        self._forget()

    def include(self, guides: Sequence[Guide]) -> None:
        """Make the classes fine enough for these."""
        new = [guide for guide in guides if not self._known(guide)]
        for guide in new:
            self._refine(guide)
        if new and self._count > self._most:
            self._forget()
            for guide in guides:
                self._refine(guide)
            self._most = max(_JOINT_CLASSES, 2 * self._count)

    def of_guide(self, guide: int) -> np.ndarray:
        """The class that each joint one is part of in a guide's automaton, int64 [K], by the guide's id."""
        return self._of[guide][1]

    def _forget(self) -> None:
        self.class_of = np.empty(0, dtype=np.int32)
        self._count = 0
        self._most = _JOINT_CLASSES
        self._of: dict[int, tuple[weakref.ref[Guide], np.ndarray]] = {}

    def _known(self, guide: Guide) -> bool:
        known = self._of.get(id(guide))
        return known is not None and known[0]() is guide  # the id may have been that of one that is gone

    def _refine(self, guide: Guide) -> None:
        followed = guide.followed
        classes = followed.num_classes + 1
        if not self._of:
            self.class_of, after = np.ascontiguousarray(followed.class_of), np.arange(classes)
        else:
            class_of, before, after = joint(self.class_of, followed.class_of, self._count, classes)
            self.class_of = np.ascontiguousarray(class_of)
            self._of = {key: (ref, own[before]) for key, (ref, own) in self._of.items() if ref() is not None}
        self._count = len(after)
        self._of[id(guide)] = (weakref.ref(guide), after)


def _stacked(sequences: Sequence[Sequences]) -> Sequences:
    """Single sequences of one length as one batch."""
    if len(sequences) == 1:
        return sequences[0]
    predictive = [one.predictive for one in sequences if one.predictive is not None]
    return Sequences(
        of_row=np.arange(len(sequences)),
        step=sequences[0].step,
        label=np.concatenate([one.label for one in sequences]),
        state=np.concatenate([one.state for one in sequences]),
        endings=[one.endings[0] for one in sequences],
        over=np.concatenate([one.over for one in sequences]),
        predictive=torch.cat(predictive) if predictive else None,
    )
