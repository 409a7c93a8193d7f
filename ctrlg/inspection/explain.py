"""What a constraint comes down to for a vocabulary: its parts, their sizes, and what decoding makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ctrlg.arguments import Natural, Positive, Tokenizer, checked
from ctrlg.automata.utf8 import whole_characters
from ctrlg.constraints import AnyOf, Constraint
from ctrlg.constraints.base import Target, named
from ctrlg.constraints.compilation import exact_or_factored
from ctrlg.decoding.factored import FactoredGuide
from ctrlg.decoding.guides import guide_of
from ctrlg.defaults import EXACT_STATES, MAX_STATES
from ctrlg.errors import ArgumentError
from ctrlg.files.records import markdown_rows
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.parts import NFA, Factored
from ctrlg.parts.factored import MOST_NODES, MOST_NODES_ALONE, Clause, core_of
from ctrlg.parts.graph import Graph
from ctrlg.vocabulary import Vocabulary


class Alternative(NamedTuple):
    """One automaton of a clause.

    Attributes:
        name: what it says.
        states: how many it has.
        deterministic: whether it is in one state at a time.
    """

    name: str
    states: int
    deterministic: bool


class ClauseParts(NamedTuple):
    """Automata of which one has to accept; all clauses of a constraint have to be kept.

    Attributes:
        name: the constraint that it comes from.
        alternatives: its automata.
        in_core: whether the core took it in; always, where the whole is one automaton.
    """

    name: str
    alternatives: tuple[Alternative, ...]
    in_core: bool

    @property
    def states(self) -> int:
        """The sum over its alternatives."""
        return sum(one.states for one in self.alternatives)


@dataclass(frozen=True)
class Explanation:
    """What a constraint comes down to; `str` is a table.

    Attributes:
        constraint: read out.
        clauses: its parts.
        exact: whether the whole is one automaton; otherwise its parts are kept apart.
        exact_states: most states of one automaton that were allowed.
        states: of the one automaton, or of the core.
        nodes: what is looked ahead from: the one automaton's states; or the core's and its pairs with those of each
            alternative.
        hidden_states: of the HMM, None without one.
        token_range: least and most tokens of the content.
        table_bytes: of look-ahead tables in memory for so many tokens, 0 without an HMM.
        fewest_tokens: a text of so many tokens keeps it. Where parts are kept apart, there may be shorter ones.
    """

    constraint: str
    clauses: tuple[ClauseParts, ...]
    exact: bool
    exact_states: int
    states: int
    nodes: int
    hidden_states: int | None
    token_range: tuple[int, int]
    table_bytes: int
    fewest_tokens: int

    @property
    def reason(self) -> str:
        """Why there is one automaton, or are parts."""
        if self.exact:
            return f"one automaton, which needs no more than {self.exact_states:,} states on the way"
        return f"parts, because one automaton needs more than {self.exact_states:,} states"

    def __str__(self) -> str:
        rows: list[list[object]] = [["part", "alternatives", "states", "kept"]]
        for clause in self.clauses:
            several = len(clause.alternatives) > 1
            rows.append(
                [
                    clause.name,
                    len(clause.alternatives),
                    f"{clause.states:,}{_kind(clause.alternatives)}",
                    self._place(clause),
                ]
            )
            rows.extend(
                [f"- {one.name}", "", f"{one.states:,}{_kind([one])}", ""] for one in clause.alternatives if several
            )
        least, most = self.token_range
        tables = "no HMM, no tables"
        if self.hidden_states is not None:
            tables = f"{self.table_bytes / 1e6:,.1f} MB of tables for {self.hidden_states:,} hidden states"
        whole = "the automaton" if self.exact else "the core"
        lines = [
            self.reason,
            f"{self.states:,} states of {whole}, {self.nodes:,} nodes to look ahead from, {tables}",
            f"{least} to {most} tokens; {self.fewest_tokens} are enough" + ("" if self.exact else ", fewer may be"),
        ]
        return "\n".join([markdown_rows([[_cell(cell) for cell in row] for row in rows]), "", *lines])

    def _place(self, clause: ClauseParts) -> str:
        if self.exact:
            return "in the automaton"
        return "in the core" if clause.in_core else "apart"


@checked
def explain(
    constraint: Constraint,
    tokenizer_or_vocabulary: Vocabulary | Tokenizer | Any,
    hmm: HiddenMarkovModel | None = None,
    *,
    prefix: str = "",
    suffix: str = "",
    min_new_tokens: Natural = 1,
    max_new_tokens: Natural = 32,
    max_states: Positive = EXACT_STATES,
) -> Explanation:
    """What a constraint comes down to: its parts, the choice between one automaton and parts, and what tables take.

        print(ctrlg.explain(Keywords(["dog", "cat"]) & WordCount(6, 12), ctrlg.Generator.default()))

    Nothing is written. The tables are made and measured, which takes as long as preparing a text.

    Args:
        constraint: about the whole text.
        tokenizer_or_vocabulary: a Hugging Face tokenizer, a Vocabulary, or a Generator, which brings its own HMM.
        hmm: whose look-ahead tables are measured; without one there are none.
        prefix: text before the content.
        suffix: text after the content.
        min_new_tokens: least tokens of the content.
        max_new_tokens: most tokens of the content.
        max_states: most states of one automaton for the whole.

    Returns:
        The parts and sizes.

    Raises:
        CtrlGError: as `ctrlg.generate`, for a constraint that cannot be kept in so many tokens.
    """
    vocabulary, hmm = _vocabulary_and_hmm(tokenizer_or_vocabulary, hmm)
    if min_new_tokens > max_new_tokens:
        raise ArgumentError(
            f"{min_new_tokens} to {max_new_tokens} is no range of tokens", hint="min_new_tokens <= max_new_tokens"
        )
    ids = vocabulary.spell([suffix])[0]
    if ids is None:
        raise ArgumentError(f"the tokenizer cannot write the suffix {suffix!r}", hint="leave out a part of it")
    target = Target(vocabulary, prefix, suffix, max(max_states, MAX_STATES))
    most_nodes = MOST_NODES_ALONE if hmm is None else MOST_NODES
    whole = exact_or_factored(constraint, target, max_states, most_nodes)
    guide = guide_of(
        hmm,
        whole,
        whole_characters(vocabulary),
        [*ids, vocabulary.eos_token_id],
        [(min_new_tokens, max_new_tokens)],
        vocabulary.eos_token_id,
    )
    clauses = _clauses_of(constraint, target)
    if isinstance(guide, FactoredGuide) and isinstance(whole, Factored):
        apart = {id(clause) for clause in core_of([one for _, one in clauses], vocabulary.vocab_size, most_nodes)[1]}
        states, nodes = whole.core.num_states, Graph.of(whole).num_nodes
        fewest = int(guide.states.fewest(np.array([guide.states.initial]))[0])
    else:
        apart = set()
        states = nodes = whole.num_states
        fewest = (whole & whole_characters(vocabulary)).shortest_length() or 0
    return Explanation(
        constraint=named(constraint),
        clauses=tuple(_parts(piece, clause, id(clause) not in apart) for piece, clause in clauses),
        exact=not isinstance(whole, Factored),
        exact_states=max_states,
        states=states,
        nodes=nodes,
        hidden_states=None if hmm is None else hmm.hidden_states,
        token_range=(min_new_tokens, max_new_tokens),
        table_bytes=0 if hmm is None else guide.nbytes,
        fewest_tokens=max(fewest, min_new_tokens),
    )


def _vocabulary_and_hmm(source: Any, hmm: HiddenMarkovModel | None) -> tuple[Vocabulary, HiddenMarkovModel | None]:
    tokenizer, end = source, None
    if not isinstance(source, Vocabulary) and hasattr(source, "hmm") and hasattr(source, "tokenizer"):
        tokenizer, end = source.tokenizer, source.eos_token_id
        hmm = source.hmm if hmm is None else hmm
    if hmm is None:
        return Vocabulary.of(tokenizer, None, end), None
    return Vocabulary.of(tokenizer, hmm.vocab_size, hmm.eos_token_id if end is None else end), hmm


def _clauses_of(constraint: Constraint, target: Target) -> list[tuple[Constraint, Clause]]:
    """All clauses, each with the smallest constraint that it comes from."""
    return [(piece, clause) for piece in constraint.pieces() for clause in piece.clauses(target)]


def _parts(piece: Constraint, clause: Clause, in_core: bool) -> ClauseParts:
    automata = [
        Alternative(name, one.num_states, not isinstance(one, NFA))
        for name, one in zip(_names(piece, clause), clause, strict=True)
    ]
    return ClauseParts(named(piece), tuple(automata), in_core)


def _names(piece: Constraint, clause: Clause) -> list[str]:
    """What each alternative says; by number where they are not those that were written."""
    if isinstance(piece, AnyOf) and len(piece.constraints) == len(clause):
        return [named(one) for one in piece.constraints]
    return [named(piece)] if len(clause) == 1 else [f"alternative {number}" for number in range(1, len(clause) + 1)]


def _kind(alternatives: Sequence[Alternative]) -> str:
    return "" if all(one.deterministic for one in alternatives) else " (nondeterministic)"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
