"""Ctrl-G's and Norm-Q's view of the logits processor: what they read from it, and Norm-Q's argument `qbit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ctrlg import decoding
from ctrlg.compat.log_products import NEGINF
from ctrlg.errors import ArgumentError
from ctrlg.hmm.changes import Seen
from ctrlg.hmm.inference import Parameters, filter_tokens
from ctrlg.hmm.model import HMM
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.quantization.comparison import comparison_hmm
from ctrlg.quantization.model import QuantizedHMM


class ConstraintLogitsProcessor(decoding.ConstraintLogitsProcessor):
    """The logits processor of `ctrlg.decoding` with the attributes and methods that programs for Ctrl-G read.

    The other arguments and errors are those of the base class.

    Args:
        qbit: decode with an HMM whose products have operands of that many bits, 1 to 16 (method `integer` of
            docs/methods.md); None or 0 for the HMM as it is. Norm-Q's published code takes the argument and does not
            use it: the quantized products it chose are commented out.

    Attributes:
        hmm_model: as it was passed.
        dfa_model: as it was passed.
        qbit: as it was passed.
    """

    def __init__(
        self,
        hmm_model: HiddenMarkovModel | None,
        dfa_model: Any,
        min_new_tokens: int,
        max_new_tokens: int,
        prompt_ids: Sequence[int],
        prefix_ids: Sequence[int] = (),
        suffix_ids: Sequence[int] = (),
        temperature: float = 1.0,
        token_ranges: Sequence[Sequence[int]] | None = None,
        hmm_batch_size: int | None = None,
        qbit: int | None = None,
        **options: Any,
    ) -> None:
        self.hmm_model = hmm_model
        self.dfa_model = dfa_model
        self.qbit = qbit
        self._hmm = _quantised(hmm_model, qbit) if qbit else hmm_model
        super().__init__(
            self._hmm,
            dfa_model,
            min_new_tokens,
            max_new_tokens,
            prompt_ids,
            prefix_ids,
            suffix_ids,
            temperature,
            token_ranges,
            hmm_batch_size,
            **options,
        )

    @torch.no_grad()
    def compute_logits(
        self, prefixes: Sequence[Sequence[int]], token_ranges: Sequence[Sequence[int]], batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """log p(prefix, v, constraint) and log p(prefix, v) under the HMM for every next token v.

        The first is -1e30 where the constraint cannot be kept. It differs from Ctrl-G's numbers where that counts a
        text more than once, or that does not end: content here holds no end-of-text token, a suffix begins within the
        token range, and end-of-text closes it.

        Args:
            prefixes: `prefix_ids` and what was generated, all of one length.
            token_ranges: of each prefix, among those the processor was built with.
            batch_size: prefixes at a time, >= 1.

        Returns:
            float32 [n, V] each, in nats.

        Raises:
            ArgumentError: prefixes that do not begin with `prefix_ids`, differ in length or come without their ranges,
                other ranges, and no HMM.
            VocabularyError: an id outside [0, V).
        """
        rows, labels = self._checked(prefixes, token_ranges)
        if batch_size < 1:
            raise ArgumentError(f"batch_size is {batch_size}", hint="score at least one prefix at a time")
        starts = range(0, len(rows), batch_size)
        parts = [
            self._joint_and_marginal(rows[start : start + batch_size], labels[start : start + batch_size])
            for start in starts
        ]
        joint, marginal = zip(*parts, strict=True)
        return torch.cat(joint), torch.cat(marginal)

    def _joint_and_marginal(self, rows: Tensor, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        hmm = self._hmm
        if hmm is None:
            raise ArgumentError("without an HMM nothing has a probability", hint="pass an hmm_model")
        read = filter_tokens(Parameters(hmm.transition, hmm.emission, hmm.initial), rows.to(hmm.initial.device))
        marginal = hmm.emission.left(read.predictive[:, -1]).log_().add_(read.log_likelihood[:, None])
        generated = rows[:, len(self.prefix_ids) :].numpy()
        ratio = self._log_ratio(self.reader.read(generated, labels))
        return ratio.add_(marginal).clamp_(min=NEGINF), marginal

    def _checked(
        self, prefixes: Sequence[Sequence[int]], token_ranges: Sequence[Sequence[int]]
    ) -> tuple[Tensor, np.ndarray]:
        """The prefixes as int64 [n, T], and the labels of their ranges."""
        start = tuple(self.prefix_ids)
        rows = [tuple(prefix) for prefix in prefixes]
        if not rows or len(set(map(len, rows))) > 1 or any(row[: len(start)] != start for row in rows):
            raise ArgumentError(
                f"prefixes begin with {sorted({row[: len(start)] for row in rows})} and have lengths "
                f"{sorted(set(map(len, rows)))}",
                hint=f"pass one or more of equal length that begin with the prefix_ids {start}",
            )
        known = {tuple(pair): label for pair, label in zip(self.token_ranges, self._label.tolist(), strict=True)}
        wanted = [tuple(pair) for pair in token_ranges]
        if len(wanted) != len(rows) or not known.keys() >= set(wanted):
            raise ArgumentError(
                f"token_ranges {wanted} for {len(rows)} prefixes",
                hint=f"one for each prefix, of {sorted(known)}",
            )
        return torch.tensor(rows, dtype=torch.long), np.array([known[pair] for pair in wanted])


def ends_at(
    prefix: Sequence[int],
    suffix: Sequence[int],
    offset_min: int,
    D_cache: Mapping[tuple[int, ...], int],
    dfa_model: Any,
) -> list[int]:
    """How many tokens of the suffix, fewer than all, may stand at the end of `prefix`: content of at least `offset_min`
    tokens before them leads to an accepting state of `dfa_model`.

    D_cache: the state after every beginning of `prefix` that is looked at.
    """
    prefix, suffix = tuple(prefix), tuple(suffix)
    written = range(min(len(suffix), len(prefix) - offset_min + 1))
    contents = ((count, prefix[: len(prefix) - count]) for count in written)
    return [
        count
        for count, content in contents
        if prefix[len(content) :] == suffix[:count] and dfa_model.is_accept(D_cache[content])
    ]


def _quantised(hmm: HiddenMarkovModel | None, bits: int) -> HiddenMarkovModel:
    """The HMM by the method `integer`, kept for the next processor: benchmarks build one for every text.

    ArgumentError for bits out of range and for what is no HMM.
    """
    if not isinstance(hmm, (HMM, QuantizedHMM)):
        raise ArgumentError(
            f"qbit is {bits}, hmm_model is {type(hmm).__name__}", hint="qbit quantises an HMM or a QuantizedHMM"
        )
    parameters = tuple(hmm.parameters()) if isinstance(hmm, HMM) else ()
    if hmm in _KEPT:
        seen, kept_bits, kept = _KEPT[hmm]
        if kept_bits == bits and seen.same(*parameters):
            return kept
    quantised = comparison_hmm(hmm if isinstance(hmm, HMM) else hmm.dequantize(), "integer", bits)
    _KEPT[hmm] = (Seen(*parameters), bits, quantised)
    return quantised


_KEPT: WeakKeyDictionary[HMM | QuantizedHMM, tuple[Seen, int, HiddenMarkovModel]] = WeakKeyDictionary()
"""What `qbit` last made of each HMM that is still in use."""
