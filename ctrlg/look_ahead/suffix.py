"""The suffix: the only way a text ends, and how far each ending in progress has come.

The suffix `u_0 .. u_{m-1}` closes with the end-of-text token, which no content holds, so a finished text
splits into content and suffix in one way only. Before that token arrives the split is open: the last j tokens
may be content that looks like `u_0 .. u_{j-1}`, or an *ending in progress*, which began after content the
automaton accepts. All endings in progress are followed at once; they and the content that goes on lead to
different texts, so their probabilities add:

    p(constraint, x_1..x_t) = sum_h p(z = h, x_1..x_t) (B[d, h] + sum over endings j of S_j[h])
    S_j[h] = p(u_j .. u_{m-1} | z = h)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.scaled import ScaledRows, rescale_

Endings = tuple[int, ...]
"""How many suffix tokens each ending in progress has written, ascending; 0 where content could stop right
here."""


def suffix_tokens(suffix_ids: Sequence[int], eos_token_id: int, vocab_size: int) -> tuple[int, ...]:
    """The suffix as token ids that close with the end-of-text token; it is added where it is missing.

    Args:
        suffix_ids: what follows the content.
        eos_token_id: the token that ends a text.
        vocab_size: V.

    Raises:
        ArgumentError: the end-of-text token stands inside.
        VocabularyError: an id outside [0, vocab_size).
    """
    suffix = tuple(int(token) for token in suffix_ids)
    if not suffix or suffix[-1] != eos_token_id:
        suffix = (*suffix, eos_token_id)
    check_ids("suffix_ids", suffix, vocab_size)
    if eos_token_id in suffix[:-1]:
        raise ArgumentError(
            f"suffix_ids holds the end-of-text token {eos_token_id} before its end: {list(suffix)}",
            hint="the first end-of-text token ends the text; drop what follows it",
        )
    return suffix


def check_ids(name: str, ids: Sequence[int], vocab_size: int) -> None:
    """Raise VocabularyError for an id outside [0, vocab_size)."""
    outside = [token for token in ids if not 0 <= token < vocab_size]
    if outside:
        raise VocabularyError(
            f"{name} holds token id {outside[0]}, outside [0, {vocab_size})",
            hint="the HMM, the automaton and the tokenizer must share one vocabulary",
        )


def advance(suffix: tuple[int, ...], endings: Endings, token: int, accepted: bool) -> Endings:
    """Endings in progress after one more token.

    Args:
        suffix: token ids, the last of which ends the text.
        endings: those in progress before the token.
        token: the token.
        accepted: whether the content up to and including `token` is accepted, so that the suffix may begin after it.
    """
    # An ending that has written the whole suffix is a finished text and no longer in progress.
    written = tuple(j + 1 for j in endings if suffix[j] == token and j + 1 < len(suffix))
    # Ascending, since j + 1 >= 1 and the old ones were.
    return (0, *written) if accepted else written


def within_range(endings: Endings, step: int, token_range: Sequence[int]) -> Endings:
    """The endings whose content, `step - j` tokens, has a length in token_range."""
    least, most = token_range
    return tuple(j for j in endings if least <= step - j <= most)


class SuffixProbabilities(NamedTuple):
    """What the suffix contributes at each of its m tokens.

    Attributes:
        whole: S_0, one row [1, H]: probability of the whole suffix from each hidden state.
        token: row j is emission[:, u_j], float32 [m, H].
        rest: row j is emission[:, u_j] * (transition @ S_{j+1}) for j < m - 1 and emission[:, u_j] for the last:
            probability of u_j and everything after it, that is S_j. Scaled rows [m, H].
    """

    whole: ScaledRows
    token: Tensor
    rest: ScaledRows


def suffix_probabilities(hmm: HiddenMarkovModel, suffix: tuple[int, ...]) -> SuffixProbabilities:
    """Backward recursion over the suffix, S_j = emission[:, u_j] * (transition @ S_{j+1})."""
    token = hmm.emission.columns(torch.tensor(suffix, device=hmm.initial.device)).float()
    # S_{m-1} is the emission of end-of-text. Each step takes in one more emission of perhaps 1e-5, so every row is
    # rescaled at once and its log kept in float64.
    rows = [rescale_(token[-1:].clone(), np.zeros(1))]
    for j in range(len(suffix) - 2, -1, -1):
        later = rows[-1]
        rows.append(rescale_(token[j : j + 1] * hmm.transition.right(later.values), later.log_scale))
    rows.reverse()
    rest = ScaledRows(torch.cat([row.values for row in rows]), np.concatenate([row.log_scale for row in rows]))
    return SuffixProbabilities(rows[0], token, rest)
