"""From an automaton and an HMM to the guide of a constraint: what is computed once and then used at every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ctrlg.automata.classes import first_tokens
from ctrlg.automata.dfa import DFA
from ctrlg.automata.intersection import pairs
from ctrlg.decoding.choices import ExactGuide, Guide
from ctrlg.decoding.factored import factored_guide
from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError
from ctrlg.look_ahead.content import ContentAutomaton, content_automaton
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.reachability import Reachability
from ctrlg.look_ahead.suffix import suffix_probabilities, suffix_tokens
from ctrlg.look_ahead.tables import TABLE_BYTES, LookAhead
from ctrlg.parts import Factored


@torch.no_grad()
@without_autocast()
def guide_of(
    hmm: HiddenMarkovModel | None,
    dfa: DFA | Factored,
    mask: DFA | None,
    suffix_ids: Sequence[int],
    token_ranges: Sequence[Sequence[int]],
    eos_token_id: int,
    table_bytes: int = TABLE_BYTES,
) -> Guide:
    """Reachability and look-ahead tables of a constraint.

    Args:
        hmm: over the tokens of `dfa`; None for the mask alone.
        dfa: reads the content; the look-ahead is about it. Automata kept apart are looked ahead in one by one.
        mask: a second automaton that only forbids tokens, or None.
        suffix_ids: what follows the content; end of text is appended where it does not close it.
        token_ranges: [[least, most], ...] content tokens.
        eos_token_id: the token that ends a text.
        table_bytes: memory for tables before some are computed again instead of kept.

    Returns:
        The guide, for `ConstraintLogitsProcessor.from_guide` and the same HMM.

    Raises:
        UnsatisfiableError, BudgetError: no content in a range keeps the constraint, or tables take too much memory.
        VocabularyError: an id of the suffix outside the vocabulary.
    """
    distinct = tuple(sorted({(int(least), int(most)) for least, most in token_ranges}))
    suffix = suffix_tokens(suffix_ids, eos_token_id, dfa.vocab_size)
    if isinstance(dfa, Factored):
        return factored_guide(hmm, dfa, mask, suffix, distinct, eos_token_id, table_bytes)
    automaton, guiding, guiding_state = _automata(dfa, mask, eos_token_id)
    guiding_reachability = Reachability(guiding, list(distinct))
    reachability = guiding_reachability if guiding is automaton else Reachability(automaton, list(distinct))
    probabilities = None if hmm is None else suffix_probabilities(hmm, suffix)
    look_ahead = None
    if hmm is not None and probabilities is not None:
        look_ahead = LookAhead(hmm, guiding, probabilities, guiding_reachability, table_bytes)
    return ExactGuide(
        suffix, distinct, probabilities, eos_token_id, automaton, guiding, guiding_state, reachability, look_ahead
    )


def checked_ranges(token_ranges: Sequence[Sequence[int]]) -> list[list[int]]:
    """[[least, most], ...] as whole numbers. Raises ArgumentError for what is no range."""
    ranges = [[int(number) for number in token_range] for token_range in token_ranges]
    for token_range in ranges:
        if len(token_range) != 2 or not 0 <= token_range[0] <= token_range[1]:
            raise ArgumentError(
                f"{token_range} is no range of content tokens",
                hint="a range is [least, most] with 0 <= least <= most (min_new_tokens and max_new_tokens)",
            )
    return ranges


def _automata(
    dfa: DFA, mask: DFA | None, eos_token_id: int
) -> tuple[ContentAutomaton, ContentAutomaton, NDArray[np.int64]]:
    """What is allowed (`dfa` and `mask`), what guides (`dfa`, over the same token classes), and the state of the latter
    in each state of the former."""
    if mask is None:
        automaton = content_automaton(dfa, eos_token_id)
        return automaton, automaton, np.arange(dfa.num_states)
    both, guiding_state = pairs(dfa, mask, dfa.num_states * mask.num_states + 1)
    of_class = dfa.class_of[first_tokens(both.class_of, both.num_classes)]
    finer = DFA(both.class_of, dfa.delta[:, of_class], dfa.initial, dfa.accepting)
    return content_automaton(both, eos_token_id), content_automaton(finer, eos_token_id), guiding_state
