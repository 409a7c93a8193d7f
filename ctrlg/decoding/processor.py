"""The logits processor: a constraint, an HMM and a language model joined inside `transformers.generate`.

Ctrl-G (Zhang et al. 2024, arXiv 2406.13892) with one difference in meaning: the event is a set of whole
texts. A text keeps the constraint when it is content and then the suffix, the automaton accepts the content, its
length lies in range, and it holds no end-of-text token. Only the suffix ends a text, so every text is counted
once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from ctrlg.arguments import AboveZero, Natural, Positive, Temperature, checked
from ctrlg.automata.dfa import DFA
from ctrlg.automata.graph_conversion import as_dfa
from ctrlg.decoding.choices import ExactGuide, Guide
from ctrlg.decoding.guides import checked_ranges, guide_of
from ctrlg.decoding.joining import Joiner, finite
from ctrlg.decoding.on_device import DeviceStep
from ctrlg.decoding.positions import side_by_side
from ctrlg.decoding.sequences import SequenceReader, Sequences, take
from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.kernels.reference import finite_logits
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.suffix import check_ids
from ctrlg.look_ahead.tables import TABLE_BYTES
from ctrlg.parts import Factored


class ConstraintLogitsProcessor(LogitsProcessor):
    """Masks every token after which the constraint cannot be kept, and weighs the others by how likely it is kept.

    Rows after the end-of-text token, and (unless the mask is soft) rows that have left every way to keep the
    constraint, may only go on with the end-of-text token.

    Args:
        hmm_model: HMM or QuantizedHMM over V tokens; None for the mask alone (then eos_token_id is needed).
        dfa_model: DFA over the same V tokens, automata kept apart (`ctrlg.parts.Factored`), an object whose attribute
            `dfa` is one, or an edge dictionary of Ctrl-G; it reads the content only.
        min_new_tokens: least content tokens, suffix not counted.
        max_new_tokens: most content tokens, suffix not counted. To write the whole suffix, `generate` needs
            max_new_tokens + len(suffix_ids); with fewer, what it returns can still be completed.
        prompt_ids: what `generate` is called with; only its length is used, so the prompts of a batch are of one
            length, padding on the left included.
        prefix_ids: what the HMM has read before the content begins.
        suffix_ids: what follows the content; the end-of-text token is appended where it does not close it, for only it
            ends a text.
        temperature: divides the joined scores, > 0.
        token_ranges: [[least, most], ...] instead of the two numbers: one for all rows, or one for each prompt of the
            batch in order.
        hmm_batch_size: sequences scored at a time, >= 1, all where None; bounds memory. A GPU's kernels score all at
            once.
        eos_token_id: the token that ends a text; the HMM's where None.
        table_bytes: memory in bytes for look-ahead tables before some are computed again instead of kept.
        mask: a second automaton that the content must satisfy; it only forbids tokens, the look-ahead does not know it,
            so it costs next to nothing (`ctrlg.automata.whole_characters`).
        soft_mask: the HMM alone steers, as in Ctrl-G: where it sees no way to keep the constraint, the language model
            goes on as it likes. For comparisons: constraints can then be broken.
        strength: multiplies the HMM's log-ratio before scores are joined, > 0; 1 is Ctrl-G's.

    Attributes:
        temperature: can be set between calls.
        strength: can be set between calls.
        hmm_batch_size: can be set between calls.
        seconds: time spent in calls so far.

    Raises:
        UnsatisfiableError, BudgetError: the constraint cannot be kept, or not in so many tokens.
        VocabularyError: HMM and automaton do not share one vocabulary, or an id is outside it.
        ArgumentError: other arguments.
    """

    supports_continuous_batching = False  # it follows rows by their tokens, which come and go there

    @checked
    @without_autocast()
    def __init__(
        self,
        hmm_model: HiddenMarkovModel | None,
        dfa_model: Any,
        min_new_tokens: Natural,
        max_new_tokens: Natural,
        prompt_ids: Sequence[int],
        prefix_ids: Sequence[int] = (),
        suffix_ids: Sequence[int] = (),
        temperature: Temperature = 1.0,
        token_ranges: Sequence[Sequence[int]] | None = None,
        hmm_batch_size: Positive | None = None,
        *,
        eos_token_id: int | None = None,
        table_bytes: int = TABLE_BYTES,
        mask: DFA | None = None,
        soft_mask: bool = False,
        strength: AboveZero = 1.0,
    ) -> None:
        check_soft_mask(hmm_model, soft_mask)
        vocab_size = None if hmm_model is None else hmm_model.vocab_size
        dfa = dfa_model if isinstance(dfa_model, Factored) else as_dfa(dfa_model, vocab_size)
        eos = _end_of_text(hmm_model, dfa, eos_token_id)
        _check_fingerprints(hmm_model, dfa_model)
        ranges = checked_ranges(token_ranges or [[min_new_tokens, max_new_tokens]])
        _checked_temperature(temperature)
        guide = guide_of(hmm_model, dfa, mask, suffix_ids, ranges, eos, table_bytes)
        self._start(hmm_model, guide, prompt_ids, prefix_ids, suffix_ids, ranges, temperature, soft_mask, strength)
        self.hmm_batch_size = hmm_batch_size

    @classmethod
    @checked
    @without_autocast()
    def from_guide(
        cls,
        hmm_model: HiddenMarkovModel | None,
        guide: Guide,
        prompt_ids: Sequence[int],
        prefix_ids: Sequence[int] = (),
        temperature: Temperature = 1.0,
        soft_mask: bool = False,
        strength: AboveZero = 1.0,
    ) -> ConstraintLogitsProcessor:
        """A processor for a guide that `guide_of` has made for the same HMM: nothing is computed again.

        Guides may be shared by processors, in threads of their own too.

        Args:
            hmm_model: the HMM that the guide was made for; None for the mask alone.
            guide: the constraint, with one token range, which all rows have.
            prompt_ids: as for the class, like the arguments that follow.
            prefix_ids: what the HMM has read before the content begins.
            temperature: divides the joined scores, > 0.
            soft_mask: the HMM alone steers.
            strength: multiplies the HMM's log-ratio, > 0.

        Raises:
            ArgumentError: a number out of range, a soft mask without an HMM, a guide of several token ranges.
            VocabularyError: an id of the prefix outside the vocabulary.
        """
        check_soft_mask(hmm_model, soft_mask)
        if len(guide.token_ranges) != 1:
            raise ArgumentError(
                f"the guide has {len(guide.token_ranges)} token ranges", hint="build the processor with token_ranges"
            )
        processor = cls.__new__(cls)
        processor.hmm_batch_size = None
        ranges = [list(token_range) for token_range in guide.token_ranges]
        suffix_ids = guide.suffix_ids
        processor._start(hmm_model, guide, prompt_ids, prefix_ids, suffix_ids, ranges, temperature, soft_mask, strength)
        return processor

    def _start(
        self,
        hmm: HiddenMarkovModel | None,
        guide: Guide,
        prompt_ids: Sequence[int],
        prefix_ids: Sequence[int],
        suffix_ids: Sequence[int],
        token_ranges: list[list[int]],
        temperature: float,
        soft_mask: bool,
        strength: float,
    ) -> None:
        """Everything that belongs to these rows alone."""
        if hmm is not None:
            check_ids("prefix_ids", prefix_ids, hmm.vocab_size)
        self.prompt_ids = list(prompt_ids)
        self.prefix_ids = list(prefix_ids)
        self.suffix_ids = list(suffix_ids)
        self.eos_token_id = guide.eos_token_id
        self.vocab_size = guide.followed.vocab_size
        self.temperature = temperature
        self.token_ranges = token_ranges
        self._label = np.array([guide.token_ranges.index(tuple(token_range)) for token_range in token_ranges])
        self._device = torch.device("cpu") if hmm is None else hmm.initial.device
        with torch.no_grad():
            self.reader = SequenceReader(hmm, guide.followed, guide.suffix_ids, tuple(self.prefix_ids))
        self.guide = guide
        emission = None if hmm is None else hmm.emission
        self.joiner = Joiner(guide.followed, guide.eos_token_id, emission, self._device, soft_mask, strength)
        self._hmm = hmm
        self._device_step: DeviceStep | None = None
        self.seconds = 0.0

    @without_autocast()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Log-probabilities of the next token, -inf where it must not come.

        Args:
            input_ids: int64 [B, prompt + tokens so far].
            scores: of the language model, [B, W], W >= V; ids from V on are never allowed.

        Returns:
            [B, W], of the type and on the device of scores.

        Raises:
            VocabularyError: W < V.
            ArgumentError: fewer ids than the prompt has.
        """
        started = time.perf_counter()
        with torch.no_grad():
            joined = self._next_token(input_ids, scores)
        self.seconds += time.perf_counter() - started
        return joined

    def _next_token(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if scores.shape[1] < self.vocab_size:
            raise VocabularyError(
                f"the language model scores {scores.shape[1]} tokens, the HMM {self.vocab_size}",
                hint="use the HMM that was distilled from this language model",
            )
        step = self._step_on_device(scores.device)
        joined = None if step is None else self._next_token_on_device(step, input_ids, scores)
        if joined is not None:
            return joined
        sequences = self.read(input_ids)
        if step is not None:
            step.restart(sequences, self._generated(input_ids).to(step.device), self._labels(len(input_ids)))
        return self._next_token_on_host(sequences, scores)

    def _step_on_device(self, device: torch.device) -> DeviceStep | None:
        """What decodes on a GPU without waiting for it; None on the CPU, and where the HMM has no kernel for it."""
        if self._hmm is not None:
            device = self._device
        if device.type == "cpu" or (self._hmm is not None and not self._hmm.emission.pairs_in_one_pass):
            return None
        if not isinstance(self.guide, ExactGuide):  # joint states are numbered on the host
            return None
        if self._device_step is None or self._device_step.device != device:
            start = self.reader.start
            self._device_step = DeviceStep(self.guide, self._hmm, start, self.eos_token_id, device, self.strength)
        return self._device_step

    def _next_token_on_device(self, step: DeviceStep, input_ids: Tensor, scores: Tensor) -> Tensor | None:
        """None where the rows do not follow from those of the last step."""
        tokens = self._generated(input_ids).to(step.device)
        if not step.follows(tokens.shape[1]):
            return None
        logits = scores[:, : self.vocab_size].to(step.device, torch.float32)
        answer = step(tokens, self._labels(len(tokens)), logits)
        if answer is None:
            return None
        joined, empty = answer
        if len(empty):
            which = empty.nonzero()[:, 0]
            lost = finite_logits(logits[which])
            if self.joiner.soft:
                joined[which] = self.joiner.alone(lost)
            else:
                joined[which] = self.joiner.without(lost, *step.fallbacks(lost, which))
        joined = self._tempered(joined)
        if scores.shape[1] > self.vocab_size:
            padding = joined.new_full((len(joined), scores.shape[1] - self.vocab_size), -math.inf)
            joined = torch.cat([joined, padding], dim=1)
        return joined.to(scores.device, scores.dtype)

    def _next_token_on_host(self, sequences: Sequences, scores: Tensor) -> Tensor:
        logits = finite(scores[:, : self.vocab_size].to(self._device, torch.float32))
        result = None
        for chosen, rows in self.batches(sequences):
            joined = self._joined(logits, chosen, rows)
            if len(rows) == len(logits) and scores.shape[1] == self.vocab_size:
                return joined.to(scores.device, scores.dtype)
            result = _end_only(scores, self.eos_token_id, self._device) if result is None else result
            result[torch.from_numpy(rows).to(self._device), : self.vocab_size] = joined
        if result is None:
            result = _end_only(scores, self.eos_token_id, self._device)
        return result.to(scores.device, scores.dtype)

    @torch.no_grad()
    @without_autocast()
    def log_ratio(self, input_ids: Tensor) -> Tensor:
        """log p(constraint, v | so far) - log p(v | so far) under the HMM for every token v.

        Args:
            input_ids: int64 [B, prompt + tokens so far].

        Returns:
            float32 [B, V], in nats: at most 0, -inf where masked and in rows that are over. Without an HMM it is 0
            where allowed.

        Raises:
            ArgumentError: fewer ids than the prompt has.
        """
        return self._log_ratio(self.read(input_ids))

    @torch.no_grad()
    @without_autocast()
    def log_ratios(self, text: Tensor) -> Tensor:
        """`log_ratio` before every token of one text and after the last, in one pass.

        Args:
            text: int64 [prompt + T].

        Returns:
            float32 [T + 1, V], in nats.

        Raises:
            ArgumentError: the text is shorter than the prompt, or there are several token_ranges.
        """
        lengths = range(min(len(self.prompt_ids), len(text)), len(text) + 1)
        steps = [self.read(text[None, :length]) for length in lengths]
        running = [step for step in steps if not step.over[0]]  # the first ones: what is over stays over
        result = torch.full((len(steps), self.vocab_size), -math.inf, dtype=torch.float32, device=self._device)
        together = side_by_side(running, [self.guide.choices(step) for step in running])
        result[: len(running)] = self.joiner.log_ratio(*together)
        return result

    @property
    @without_autocast()
    def log_probability(self) -> list[float]:
        """log p(constraint | prefix) under the HMM, in nats, for each of `token_ranges`; a `mask` takes no part.

        Raises:
            ArgumentError: there is no HMM.
        """
        start = self.reader.start.predictive
        if start is None:
            raise ArgumentError("a mask without an HMM gives a constraint no probability", hint="pass an hmm_model")
        return [self.guide.log_probability(start, self.guide.token_ranges[label]) for label in self._label]

    @property
    def strength(self) -> float:
        """What the HMM's log-ratio is multiplied by; can be set between calls."""
        return self.joiner.strength

    @strength.setter
    def strength(self, strength: float) -> None:
        self.joiner.strength = strength
        if self._device_step is not None:
            self._device_step.strength = strength

    @property
    def nbytes(self) -> int:
        """Bytes that the guide keeps in memory: look-ahead tables, and joint states of a factored constraint."""
        return self.guide.nbytes

    def _log_ratio(self, sequences: Sequences) -> Tensor:
        """`log_ratio` of the rows that these sequences belong to."""
        result = torch.full(
            (len(sequences.of_row), self.vocab_size), -math.inf, dtype=torch.float32, device=self._device
        )
        for chosen, rows in self.batches(sequences):
            choices = self.guide.choices(chosen)
            result[torch.from_numpy(rows).to(self._device)] = self.joiner.log_ratio(chosen, choices)
        return result

    def read(self, input_ids: Tensor) -> Sequences:
        generated = self._generated(input_ids).cpu().numpy()
        return self.reader.read(generated, self._labels(len(input_ids)))

    def _generated(self, input_ids: Tensor) -> Tensor:
        """Tokens after the prompt, [B, t]."""
        length = input_ids.shape[1]
        if length < len(self.prompt_ids):
            raise ArgumentError(
                f"input_ids has {length} tokens in a row, the prompt has {len(self.prompt_ids)}",
                hint="call generate with the prompt_ids that the processor was built with",
            )
        return input_ids[:, len(self.prompt_ids) :]

    def _labels(self, rows: int) -> np.ndarray:
        """The token range of each row: rows of one prompt (its beams or samples) follow each other."""
        if rows % len(self._label):
            raise ArgumentError(
                f"{len(self._label)} token_ranges for a batch of {rows} rows",
                hint="give one range, or one for each prompt of the batch",
            )
        return np.repeat(self._label, rows // len(self._label))

    def batches(self, sequences: Sequences) -> Iterator[tuple[Sequences, np.ndarray]]:
        """Sequences that are not over, hmm_batch_size at a time, and their rows, to which `of_row` belongs."""
        running = ~sequences.over[sequences.of_row]
        members = np.flatnonzero(~sequences.over)
        size = max(1, len(members)) if self.hmm_batch_size is None else self.hmm_batch_size
        if size < 1:
            raise ArgumentError(f"hmm_batch_size is {size}", hint="score at least one sequence at a time")
        for first in range(0, len(members), size):
            chosen = members[first : first + size]
            rows = np.flatnonzero(running & np.isin(sequences.of_row, chosen))
            part = sequences if len(chosen) == len(sequences.state) else take(sequences, chosen)
            yield part._replace(of_row=np.searchsorted(chosen, sequences.of_row[rows])), rows

    def _joined(self, logits: Tensor, chosen: Sequences, rows: np.ndarray) -> Tensor:
        """Normalized log-probabilities of `rows`, [b, V]; end of text where no token is allowed."""
        if len(rows) < len(logits):
            logits = logits[torch.from_numpy(rows).to(logits.device)]
        return self._tempered(self.joiner.join(logits, chosen, self.guide.choices(chosen)))

    def _tempered(self, joined: Tensor) -> Tensor:
        """Log-probabilities [b, V] at the temperature."""
        if self.temperature == 1:
            return joined
        return (joined / _checked_temperature(self.temperature)).log_softmax(dim=1)


def check_soft_mask(hmm: HiddenMarkovModel | None, soft_mask: bool) -> None:
    """Raise ArgumentError for a soft mask without an HMM."""
    if soft_mask and hmm is None:
        raise ArgumentError("a soft mask without an HMM steers nothing", hint="pass an HMM, or no soft_mask")


def _end_of_text(hmm: HiddenMarkovModel | None, dfa: DFA | Factored, eos_token_id: int | None) -> int:
    if eos_token_id is None:
        if hmm is None:
            raise ArgumentError("without an HMM the end-of-text token is not known", hint="pass eos_token_id")
        eos_token_id = hmm.eos_token_id
    check_ids("eos_token_id", [eos_token_id], dfa.vocab_size)
    return int(eos_token_id)


def _check_fingerprints(hmm: HiddenMarkovModel | None, dfa_model: Any) -> None:
    ours, theirs = getattr(hmm, "fingerprint", None), getattr(dfa_model, "fingerprint", None)
    if ours is not None and theirs is not None and ours != theirs:
        raise VocabularyError(
            f"the HMM was distilled over vocabulary {ours[:12]}, the constraint is compiled for {theirs[:12]}",
            hint="compile it with the tokenizer of the language model that the HMM was distilled from",
        )


def _checked_temperature(temperature: float) -> float:
    if not temperature > 0 or math.isinf(temperature):
        raise ArgumentError(f"temperature is {temperature}", hint="a temperature is a finite number above 0")
    return temperature


def _end_only(scores: Tensor, eos_token_id: int, device: torch.device) -> Tensor:
    """Log-probabilities of the shape of `scores` under which the end-of-text token is certain."""
    result = torch.full(scores.shape, -math.inf, dtype=torch.float32, device=device)
    result[:, eos_token_id] = 0.0
    return result
