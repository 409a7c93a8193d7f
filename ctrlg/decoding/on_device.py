"""A decoding step that stays on the device: the host learns one thing a step, whether anything was out of the ordinary.

It computes what `SequenceReader`, `Guide` and `Joiner` compute, in torch, for all rows of the batch at once:

    row -> its parent in the last step, found by a hash of its tokens and checked token by token
        -> automaton state, endings in progress, predictive state
        -> for each token class, the row of the look-ahead table it leads to
        -> the scores of all tokens (`StochasticMatrix.add_paired_scores`), the endings added, normalized

What it cannot do alone it leaves to the caller: rows that do not follow from the last step, and rows without a token.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.decoding.choices import ExactGuide
from ctrlg.decoding.sequences import Sequences
from ctrlg.errors import ArgumentError
from ctrlg.kernels.reference import finite_logits
from ctrlg.kernels.token_classes import TokenClasses
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.reachability import Horizon, horizon_at


class Rows(NamedTuple):
    """What is known about each row of a batch; B rows of t tokens each. Everything lies on the device.

    Attributes:
        tokens: int64 [B, t].
        label: int64 [B], the row's token range.
        state: int64 [B], of the automaton.
        endings: bool [B, m]; endings[b, j]: one that has written j suffix tokens is in progress.
        over: bool [B].
        predictive: float32 [B, H], or [B, 0] without an HMM.
    """

    tokens: Tensor
    label: Tensor
    state: Tensor
    endings: Tensor
    over: Tensor
    predictive: Tensor


class Content(NamedTuple):
    """What the content may go on with.

    Attributes:
        row_of: int64 [B, K + 1] in [-1, n).
        rows: float32 [n, H].
        log_scale: float64 [n], of rows.
        base: float64 [B], what was taken out of a sequence's scores.
    """

    row_of: Tensor
    rows: Tensor
    log_scale: Tensor
    base: Tensor


class DeviceStep:
    """Decoding steps of one processor on one device.

    Args:
        guide: the constraint.
        hmm: None for the mask alone.
        start: what is known before the first token.
        eos_token_id: the token that ends a text.
        device: where it computes.
        strength: what the HMM's log-ratio is multiplied by, > 0.
    """

    def __init__(
        self,
        guide: ExactGuide,
        hmm: HiddenMarkovModel | None,
        start: Sequences,
        eos_token_id: int,
        device: torch.device,
        strength: float = 1.0,
    ) -> None:
        self.strength = strength
        self._guide, self._hmm, self._device, self._eos = guide, hmm, device, eos_token_id
        automaton, suffix = guide.automaton, np.array(guide.suffix_ids)
        self._class_of = self._put(automaton.class_of)
        self._classes = TokenClasses(self._class_of)
        # One column more, for the class of tokens that are never content. Where it leads does not matter: `_content`
        # forbids that class.
        self._delta = self._put(np.pad(automaton.delta, ((0, 0), (0, 1))).astype(np.int64))
        self._accepting = self._put(automaton.accepting)
        self._guiding_state = self._put(guide.guiding_state.astype(np.int64).clip(min=0))
        self._guiding_delta = self._put(_with_dead_class(guide.guiding.delta, guide.guiding.num_states))
        self._least, self._most = self._put(np.array(guide.token_ranges, dtype=np.int64).reshape(-1, 2)).T
        self._suffix = self._put(suffix.astype(np.int64))
        # A suffix may hold a token more than once, and scores are by token: same_token, bool [D, m], says which places
        # hold each of its D distinct tokens.
        distinct, group = np.unique(suffix, return_inverse=True)
        self._suffix_tokens = self._put(distinct.astype(np.int64))
        self._same_token = self._put(group[None, :] == np.arange(len(distinct))[:, None])
        self._rest_scale = None if guide.suffix is None else self._put(guide.suffix.rest.log_scale)
        self._tables: dict[Horizon, tuple[Tensor, Tensor]] = {}
        self._live: dict[Horizon, Tensor] = {}
        self._words = torch.empty(0, dtype=torch.int64, device=device)
        self._start = start
        self._label: tuple[bytes, Tensor] | None = None
        self._last: Rows | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    def follows(self, step: int) -> bool:
        """Whether the rows of a step can be those of the last one, unchanged or one token longer."""
        return step == 0 or (self._last is not None and self._last.tokens.shape[1] in (step, step - 1))

    def restart(self, sequences: Sequences, tokens: Tensor, label: np.ndarray) -> None:
        """Take what the host knows of a step's rows as the last step."""
        of_row = sequences.of_row
        endings = np.zeros((len(sequences.endings), len(self._suffix)), dtype=bool)
        for row, written in zip(endings, sequences.endings, strict=True):
            # From tuples of written tokens to flags, one for each number of them.
            row[list(written)] = True
        predictive = sequences.predictive
        chosen = torch.empty(len(of_row), 0, device=self._device)
        if predictive is not None:
            chosen = predictive[torch.from_numpy(of_row).to(predictive.device)]
        state, over = self._put(sequences.state[of_row]), self._put(sequences.over[of_row])
        self._last = Rows(tokens, self._put(label), state, self._put(endings[of_row]), over, chosen)

    def __call__(self, tokens: Tensor, label: np.ndarray, logits: Tensor) -> tuple[Tensor, Tensor] | None:
        """Log-probabilities of the next token. Waits for the device once, for two bits.

        Args:
            tokens: int64 [B, t], of which `follows(t)`.
            label: int [B], the row's token range.
            logits: float32 [B, V].

        Returns:
            Normalized log-probabilities [B, V] and the rows without any token, bool [B], or bool [0] where every row
            has one; None where rows do not follow from those of the last step.
        """
        rows, found = self._advance(tokens, self._labels(label))
        joined, log_sum = self._joined(rows, logits)
        empty = ~torch.isfinite(log_sum) & ~rows.over
        # Both bits in one transfer: the only time in a step that the host waits.
        strange, some_empty = torch.stack([~found, empty.any()]).tolist()
        if strange:
            return None
        self._last = rows
        return joined, empty if some_empty else empty[:0]

    def fallbacks(self, logits: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """What else speaks for some rows of the last step.

        Args:
            logits: float32 [b, V].
            which: int64 [b], these rows.

        Returns:
            The tokens that are allowed, bool [b, V], and what the HMM alone says, float32 [b, V].
        """
        if self._last is None:
            raise ArgumentError("there has been no step yet", hint="call the step first")
        rows = Rows(*(part[which] for part in self._last))
        content = self._content(rows)
        by_hmm, _ = self._sum(rows, content, torch.zeros_like(logits))
        return self._allowed(rows, content), by_hmm

    def _advance(self, tokens: Tensor, label: Tensor) -> tuple[Rows, Tensor]:
        """The rows of this step, and whether all follow from the last, bool []."""
        last, step = self._last, tokens.shape[1]
        if step == 0 or last is None:
            return self._first(tokens, label), torch.ones((), dtype=torch.bool, device=self._device)
        # Rows are the last step's, permuted, repeated and mostly one token longer. Hashes are compared all with all,
        # bool [B, B], and the first that agrees is the parent; one without any gets parent 0, and the comparison of
        # tokens, which is exact, then says so.
        known = last.tokens.shape[1]
        before = tokens[:, :known]
        same = self._hash(before, label)[:, None] == self._hash(last.tokens, last.label)[None]
        parent = same.to(torch.int32).argmax(dim=1)
        found = (last.tokens[parent] == before).all() & (last.label[parent] == label).all()
        rows = Rows(tokens, label, *(part[parent] for part in last[2:]))
        return (rows if known == step else self._after(rows, tokens[:, -1])), found

    def _first(self, tokens: Tensor, label: Tensor) -> Rows:
        count, start = len(tokens), self._start
        state = torch.full_like(label, int(start.state[0]))
        endings = torch.zeros(count, len(self._suffix), dtype=torch.bool, device=self._device)
        endings[:, list(start.endings[0])] = True
        over = torch.zeros_like(label, dtype=torch.bool)
        if start.predictive is None:
            return Rows(tokens, label, state, endings, over, torch.empty(count, 0, device=self._device))
        return Rows(tokens, label, state, endings, over, start.predictive.expand(count, -1))

    def _after(self, rows: Rows, token: Tensor) -> Rows:
        """The same rows one token later; token int64 [B]."""
        vocab_size = len(self._class_of)
        over = rows.over | (token < 0) | (token >= vocab_size) | (token == self._eos)
        classes = self._class_of[token.clamp(0, vocab_size - 1)].long()
        # Rows that are over stay where they are: their tokens are padding.
        state = torch.where(over, rows.state, self._delta[rows.state, classes])
        # An ending with j tokens becomes one with j + 1 if the token is u_j: a shift by one. One with all m is a
        # finished text. Content that is accepted now opens a new ending at 0.
        written = rows.endings[:, :-1] & (token[:, None] == self._suffix[:-1])
        endings = torch.cat([self._accepting[state][:, None], written], dim=1) & ~over[:, None]
        return Rows(rows.tokens, rows.label, state, endings, over, self._absorbed(rows, token, over))

    def _absorbed(self, rows: Rows, token: Tensor, over: Tensor) -> Tensor:
        """p(z_{t+1} | x_1..x_t) from p(z_t | x_1..x_{t-1}); a token the HMM cannot emit is not seen."""
        if self._hmm is None:
            return rows.predictive
        # A missing token, -1, has ones for emissions: rows that are over learn nothing.
        emitted = self._hmm.emission.trusted_columns(token.masked_fill(over, -1))
        posterior = rows.predictive * emitted
        smallest = torch.finfo(posterior.dtype).tiny
        total = posterior.sum(dim=1, keepdim=True)
        # The divisor is kept above 0 in both branches: torch.where computes both.
        before = rows.predictive / rows.predictive.sum(dim=1, keepdim=True).clamp_min(smallest)
        posterior = torch.where(total > 0, posterior / total.clamp_min(smallest), before)
        return self._hmm.transition.left(posterior)

    def _joined(self, rows: Rows, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities [B, V], rows that are over ended, and the log-sum-exp that normalized them [B]."""
        joined, log_sum = self._sum(rows, self._content(rows), logits)
        # In place: [B, V] is the largest tensor of a step. A row without any token keeps its -inf; -inf - (-inf) would
        # be NaN.
        joined.sub_(torch.where(torch.isfinite(log_sum), log_sum, 0.0)[:, None])
        joined[:, self._eos] = torch.where(rows.over, 0.0, joined[:, self._eos])
        return joined, log_sum

    def _content(self, rows: Rows) -> Content:
        """Which table row each token class leads to; -1 where it is not allowed, and in rows that are over."""
        step = rows.tokens.shape[1]
        horizons = [horizon_at(token_range, step) for token_range in self._guide.token_ranges]
        # After the next token, one less may come. A range whose content is full has no horizon left, only endings.
        following = [horizon.next() if horizon.most > 0 else None for horizon in horizons]
        live = torch.stack([self._live_states(horizon) for horizon in following])
        # delta[state] is [B, K + 1], the next state on every class; with the row's range beside it, one index into live
        # [ranges, S].
        allowed = live[rows.label[:, None], self._delta[rows.state]]
        allowed[:, -1] = False
        allowed &= ~rows.over[:, None]
        if self._hmm is None or self._guide.look_ahead is None:
            nothing = torch.empty(0, 0, device=self._device)
            base = torch.zeros(len(rows.label), dtype=torch.float64, device=self._device)
            # Without tables, row 0 stands for allowed and -1 for not.
            return Content(allowed.long() - 1, nothing, base[:0], base)
        states = self._guiding_delta[self._guiding_state[rows.state]]
        # The tables of all token ranges become one, end to end; row numbers of a range are counted on from `first`.
        row_of_state, values, scales, first = [], [], [], 0
        for horizon in following:
            numbers, table, log_scale = self._table(horizon)
            row_of_state.append(torch.where(numbers >= 0, numbers + first, -1))
            values.append(table)
            scales.append(log_scale)
            first += len(table)
        # [ranges, S + 1] at (range, next state of the guiding automaton): the row for each class, int64 [B, K + 1].
        row_of = torch.stack(row_of_state)[rows.label[:, None], states]
        row_of = torch.where(allowed, row_of, -1)
        log_scale = torch.cat(scales)
        # Log-scales may be so low that a score in float32 would lose its digits. A sequence's largest is taken out of
        # all its scores: a constant of a row means nothing after normalization, and what is left fits into float32.
        best = torch.where(row_of >= 0, _at(log_scale, row_of), -math.inf).amax(dim=1)
        base = torch.where(torch.isfinite(best), best, 0.0)
        return Content(row_of, values[0] if len(values) == 1 else torch.cat(values), log_scale, base)

    def _sum(self, rows: Rows, content: Content, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Language model and HMM: [B, V] and its log-sum-exp [B]."""
        if self._hmm is None or self.strength == 1:
            return self._plain_sum(rows, content, logits)
        # The HMM's ratio alone, endings added to it inside, before the factor: strength * log(content + endings).
        ratio, _ = self._plain_sum(rows, content, torch.zeros_like(logits))
        joined = ratio.mul_(self.strength).add_(finite_logits(logits))
        return joined, joined.logsumexp(dim=1)

    def _plain_sum(self, rows: Rows, content: Content, logits: Tensor) -> tuple[Tensor, Tensor]:
        """`_sum` of strength 1, endings included."""
        if self._hmm is None:
            joined = finite_logits(logits).masked_fill(~self._allowed(rows, content), -math.inf)
            return joined, joined.logsumexp(dim=1)
        offset = torch.where(content.row_of >= 0, _at(content.log_scale, content.row_of), 0.0) - content.base[:, None]
        weighed = (rows.predictive, content.rows, content.row_of, offset.float(), self._classes)
        joined, log_sum = self._hmm.emission.add_paired_scores(logits, *weighed)
        # A suffix token may be content, too. Both readings are different texts, so probabilities add: logaddexp in its
        # place and in the sum of the row.
        terms = self._ending_terms(rows, content.base) + finite_logits(logits[:, self._suffix_tokens])
        joined[:, self._suffix_tokens] = torch.logaddexp(joined[:, self._suffix_tokens], terms)
        return joined, torch.logaddexp(log_sum, terms.logsumexp(dim=1))

    def _allowed(self, rows: Rows, content: Content) -> Tensor:
        """Which tokens each row may write, bool [B, V]."""
        allowed = (content.row_of >= 0)[:, self._class_of.long()]
        allowed[:, self._suffix_tokens] |= (self._allowed_endings(rows)[:, None] & self._same_token).any(dim=2)
        return allowed

    def _allowed_endings(self, rows: Rows) -> Tensor:
        """Endings in progress whose content has a length in range, bool [B, m]."""
        # An ending with j tokens written in a text of t has t - j tokens of content.
        length = rows.tokens.shape[1] - torch.arange(len(self._suffix), device=self._device)
        fits = (self._least[:, None] <= length) & (length <= self._most[:, None])
        return rows.endings & fits[rows.label] & ~rows.over[:, None]

    def _ending_terms(self, rows: Rows, base: Tensor) -> Tensor:
        """What endings add to each distinct suffix token, as content is scored, float32 [B, D]; -inf for nothing."""
        allowed = self._allowed_endings(rows)
        ratio = torch.zeros(allowed.shape, dtype=torch.float64, device=self._device)
        if self._guide.suffix is not None and self._rest_scale is not None:
            # log of p(u_j and all that follows) / p(u_j), over the states that may emit u_j; [B, m] each. The scale
            # taken out of the content's scores is taken out here too.
            marginal = (rows.predictive @ self._guide.suffix.token.T).double().log()
            joint = (rows.predictive @ self._guide.suffix.rest.values.T).double().log() + self._rest_scale
            ratio = joint - torch.where(torch.isneginf(marginal), 0.0, marginal) - base[:, None]
        ratio = ratio.masked_fill(~allowed, -math.inf).float()
        # [B, D, m]: endings that go on with the same token are different texts as well, so they add.
        return ratio[:, None].masked_fill(~self._same_token, -math.inf).logsumexp(dim=2)

    def _table(self, horizon: Horizon | None) -> tuple[Tensor, Tensor, Tensor]:
        """row_of int64 [S + 1], the last for the dead class; rows [n, H]; log_scale float64 [n]."""
        if horizon is None or self._guide.look_ahead is None or self._hmm is None:
            dead = torch.full((self._guide.guiding.num_states + 1,), -1, device=self._device)
            states = 0 if self._hmm is None else self._hmm.hidden_states
            no_scale = torch.empty(0, dtype=torch.float64, device=self._device)
            return dead, torch.empty(0, states, device=self._device), no_scale
        table = self._guide.look_ahead.table(horizon)
        if horizon not in self._tables:
            # Index S is the guiding automaton's dead state; its row is -1.
            numbers = self._put(np.append(table.row_of, -1).astype(np.int64))
            self._tables[horizon] = (numbers, self._put(table.rows.log_scale))
        return self._tables[horizon][0], table.rows.values, self._tables[horizon][1]

    def _live_states(self, horizon: Horizon | None) -> Tensor:
        if horizon is None:
            return torch.zeros_like(self._accepting)
        if horizon not in self._live:
            self._live[horizon] = self._put(self._guide.reachability.live[horizon])
        return self._live[horizon]

    def _labels(self, label: np.ndarray) -> Tensor:
        """`label` on the device: mostly that of the step before."""
        known = label.tobytes()
        if self._label is None or self._label[0] != known:
            self._label = (known, self._put(label))
        return self._label[1]

    def _hash(self, tokens: Tensor, label: Tensor) -> Tensor:
        """A number of 64 bits for each row of tokens, int64 [B]; rows that differ seldom share one."""
        if len(self._words) <= tokens.shape[1]:
            # Twice as many words as now needed, so that they are sampled a few times, not at every step. Odd numbers
            # have inverses modulo 2^64: two tokens at one place never give the same term.
            words = np.random.default_rng(0).integers(-(2**63), 2**63, size=2 * tokens.shape[1] + 64)
            self._words = self._put(words | 1)
        # Sums wrap around at 2^64, which a hash may.
        return (tokens * self._words[1 : tokens.shape[1] + 1]).sum(dim=1) + label * self._words[0]

    def _put(self, numbers: np.ndarray) -> Tensor:
        host = torch.tensor(np.ascontiguousarray(numbers))
        if self._device.type == "cuda":  # from pinned memory, or the host would wait for all that the device has to do
            return host.pin_memory().to(self._device, non_blocking=True)
        return host.to(self._device)


def _with_dead_class(delta: np.ndarray, dead: int) -> np.ndarray:
    """`delta` [S, K] and a last class, that of tokens which are never content, that leads to the state `dead`."""
    return np.pad(delta.astype(np.int64), ((0, 0), (0, 1)), constant_values=dead)


def _at(numbers: Tensor, row_of: Tensor) -> Tensor:
    """numbers[row_of], whatever stands where row_of is -1; numbers may be empty."""
    return torch.cat([numbers, numbers.new_zeros(1)])[row_of]
