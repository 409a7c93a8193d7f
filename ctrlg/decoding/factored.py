"""The guide of a constraint whose automata are kept apart: joint states instead of one automaton's.

What is allowed is what can be completed in the tokens left by a completion that has been found
(`ctrlg.parts.states`); how likely it is, the HMM says of every part beside the core (`ctrlg.look_ahead.factored`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctrlg.automata.classes import joint
from ctrlg.automata.dfa import DFA
from ctrlg.automata.paths import UNREACHABLE
from ctrlg.decoding.choices import Guide
from ctrlg.decoding.sequences import Sequences
from ctrlg.errors import ArgumentError, BudgetError, UnsatisfiableError
from ctrlg.look_ahead.content import Followed
from ctrlg.look_ahead.factored import FactoredLookAhead
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.reachability import Horizon
from ctrlg.look_ahead.suffix import suffix_probabilities
from ctrlg.parts import Factored
from ctrlg.parts.factored import at_least
from ctrlg.parts.graph import Graph
from ctrlg.parts.states import JointStates

EXPANSIONS = 5_000
"""Joint states that the search for a first completion looks at before a constraint is refused: a few seconds."""


@dataclass(frozen=True)
class FactoredGuide(Guide):
    """A guide over joint states.

    Args:
        states: joint states and how each can be completed.
        look_ahead: None without an HMM; then the mask alone speaks.
    """

    states: JointStates
    look_ahead: FactoredLookAhead | None

    @property
    def followed(self) -> Followed:
        """See Guide."""
        return self.states

    @property
    def nbytes(self) -> int:
        """Bytes of look-ahead tables and joint states in memory."""
        return self.states.nbytes + (0 if self.look_ahead is None else self.look_ahead.nbytes)

    def fewest(self, states: np.ndarray) -> np.ndarray:
        """See Guide."""
        return self.states.fewest(states)

    def log_probability(self, predictive: Tensor, token_range: tuple[int, int]) -> float:
        """See Guide. Here it is an estimate."""
        return -math.inf if self.look_ahead is None else self.look_ahead.value(predictive, Horizon(*token_range))

    def _content(
        self,
        sequences: Sequences,
        members: np.ndarray,
        horizon: Horizon,
        row_of: np.ndarray,
        log_scale: np.ndarray,
    ) -> Tensor:
        """See Guide."""
        following = self.states.successors(sequences.state[members])
        distinct, position = np.unique(following, return_inverse=True)
        allowed = (self.states.fewest(distinct) <= horizon.most)[position].reshape(following.shape)
        # Classes of one sequence that lead to the same joint state share a row.
        pairs = np.arange(len(members))[:, None] * len(distinct) + position.reshape(following.shape)
        used, row = np.unique(pairs[allowed], return_inverse=True)
        rows = np.full(following.shape, -1, dtype=np.int32)
        rows[allowed] = row
        row_of[members, :-1] = rows
        if self.look_ahead is None or sequences.predictive is None:
            return torch.empty(len(used), 0, dtype=torch.float32)
        sequence, state = members[used // len(distinct)], distinct[used % len(distinct)]
        weights, scale = self.look_ahead.products(sequences.predictive, sequence, state, horizon)
        log_scale[members] = scale[members]
        return weights


def factored_guide(
    hmm: HiddenMarkovModel | None,
    factored: Factored,
    mask: DFA | None,
    suffix: tuple[int, ...],
    token_ranges: Sequence[tuple[int, int]],
    eos_token_id: int,
    table_bytes: int,
) -> FactoredGuide:
    """As `ctrlg.decoding.guides.guide_of`, for automata kept apart; the suffix closes with the end-of-text token.

    Raises:
        ArgumentError: several token ranges.
        UnsatisfiableError, BudgetError: no completion was found within the range.
    """
    if len(token_ranges) != 1:
        raise ArgumentError(
            f"a constraint of {len(factored.clauses)} parts with {len(token_ranges)} token ranges",
            hint="one range of tokens for all rows, or a processor for each",
        )
    least, most = token_ranges[0]
    if least > 0 and not _needs(factored, least):
        factored = factored.also(at_least(least, factored.vocab_size))
    if mask is None:
        mask = DFA(factored.class_of, np.zeros((1, factored.num_classes), np.int32), 0, np.array([True]))
    class_of, own, of_mask = joint(factored.class_of, mask.class_of, factored.num_classes, mask.num_classes)
    factored = factored.over(class_of, own)
    graph = Graph.of(factored)
    finer_mask = DFA(class_of, mask.delta[:, of_mask], mask.initial, mask.accepting)
    states = JointStates(factored, graph, finer_mask, eos_token_id, most)
    _require_completion(states, factored, most)
    probabilities = None if hmm is None else suffix_probabilities(hmm, suffix)
    look_ahead = None
    if hmm is not None and probabilities is not None:
        look_ahead = FactoredLookAhead(hmm, graph, states, probabilities, eos_token_id, token_ranges, table_bytes)
    return FactoredGuide(suffix, tuple(token_ranges), probabilities, eos_token_id, states, look_ahead)


def _needs(factored: Factored, tokens: int) -> bool:
    """Whether every accepted string has at least so many tokens anyway."""
    alone = [factored.core.shortest_length() or 0]
    alone += [min(factored.alternatives[place].shortest_length() or 0 for place in each) for each in factored.clauses]
    return max(alone) >= tokens


def _require_completion(states: JointStates, factored: Factored, most: int) -> None:
    bound = int(states.bound(np.array([states.initial]))[0])
    sizes = f"{factored.core.num_states:,} states of the core, {len(factored.clauses)} clauses beside it"
    if bound == UNREACHABLE:
        raise UnsatisfiableError(
            "no text keeps the constraint, whatever its length",
            hint="its parts exclude each other, or need tokens that are never content (end of text, special)",
        )
    if bound > most:
        raise BudgetError(
            f"the constraint needs at least {bound} tokens, max_new_tokens is {most}",
            hint=f"set max_new_tokens to {bound} or more, or constrain less",
        )
    fewest = states.find_first(EXPANSIONS)
    if fewest > most:
        raise BudgetError(
            f"no text of at most {most} tokens was found that keeps the constraint ({sizes}); the least any part needs "
            f"is {bound}",
            hint="set max_new_tokens higher, or ask for fewer things in so few words",
        )
