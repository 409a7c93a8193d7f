"""The face and the algebra of constraints.

A constraint is about text. `holds` checks it on a text by plain means; `compile` turns it into an automaton over the
tokens of a content that stands between a prefix and a suffix. Every automaton errs on one side only: what it accepts,
holds. So `~` cannot be the complement of an automaton: every constraint builds the automaton of its opposite itself.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ctrlg import defaults
from ctrlg.arguments import Positive, Tokenizer, VocabularySize, checked, refused
from ctrlg.automata.algebra import MAX_STATES, product
from ctrlg.automata.dfa import DFA
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.constraints.dictionaries import MOST_LEVELS, DictionaryForm
from ctrlg.defaults import EXACT_STATES
from ctrlg.errors import BudgetError, ConstraintError, UnsatisfiableError
from ctrlg.parts.compiled_once import compiled_once
from ctrlg.parts.factored import Clause, multiplied
from ctrlg.vocabulary.characters import SYMBOLS
from ctrlg.vocabulary.token_bytes import Vocabulary

_NAME_CHARACTERS = 160  # of a constraint, in an error
_NAMES = 8  # constraints listed in an error
_SMALL_UNION = 64  # states of alternatives that become one automaton
_MOST_CLAUSES = 256
_TOGETHER = 32  # constraints combined at a time, so that hundreds are refused before all their automata are built


class Target(NamedTuple):
    """What a constraint is compiled for: the tokens, the text around the content, and the largest automaton allowed.

    Attributes:
        vocabulary: the tokens and their bytes.
        prefix: text before the content.
        suffix: text after the content.
        max_states: most states an automaton may have on the way, before it is minimized.
    """

    vocabulary: Vocabulary
    prefix: str = ""
    suffix: str = ""
    max_states: int = MAX_STATES


def _once(automaton: Callable[..., DFA]) -> Callable[..., DFA]:
    """A method `automaton` whose last results are kept, of constraints that are equal by what they say."""

    @functools.wraps(automaton)
    def kept_automaton(self: Constraint, target: Target, kept: bool = True) -> DFA:
        make = functools.partial(automaton, self, target, kept)
        if type(self).__hash__ is object.__hash__:
            return make()  # who tells it apart from others by being the same object may change it
        return compiled_once.get((type(self), self, target._replace(max_states=0), kept), target.max_states, make)

    return kept_automaton


class Constraint(DictionaryForm, abc.ABC):
    """A constraint about a text. Combine with `&`, `|` and `~`; `str` reads it out."""

    _levels: int = 0  # of constraints inside of this one

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "holds" in vars(cls):
            cls.holds = checked(cls.holds)
        if "automaton" in vars(cls):
            cls.automaton = _once(cls.automaton)

    @checked
    def compile(
        self,
        tokenizer_or_vocabulary: Vocabulary | Tokenizer,
        vocab_size: VocabularySize | None = None,
        *,
        prefix: str = "",
        suffix: str = "",
        max_states: Positive = defaults.MAX_STATES,
    ) -> DFA:
        """The minimal automaton over contents for which prefix + content + suffix keeps the constraint.

        What is accepted is always kept in the text. Not everything that keeps the constraint is accepted: words that
        must occur count only where they stand behind white space (and opening punctuation) or begin the content, cut
        into tokens as the tokenizer would cut them; characters cut in two in unusual ways are refused. Tokens that are
        not content are dead.

        Args:
            tokenizer_or_vocabulary: a Hugging Face tokenizer, or a Vocabulary.
            vocab_size: the model's number of logits where it exceeds the tokenizer's.
            prefix: text before the content; words may begin in it and end in the content.
            suffix: text after the content; words may begin in the content and end in it.
            max_states: most states an automaton may have on the way, before it is minimized.

        Returns:
            An automaton over the V tokens of the vocabulary; it reads the content only.

        Raises:
            UnsatisfiableError: no content keeps the constraint; the error names the parts.
            BudgetError: the automaton grows beyond max_states.
            VocabularyError: as `Vocabulary.of`.
        """
        target = Target(Vocabulary.of(tokenizer_or_vocabulary, vocab_size), prefix, suffix, max_states)
        dfa = self.automaton(target)
        if dfa.shortest_length() is None:
            raise unsatisfiable(self, target)
        return dfa

    @abc.abstractmethod
    def holds(self, text: str) -> bool:
        """Whether a finished text keeps the constraint, checked without automata.

        Args:
            text: the whole text, prefix and suffix included.

        Raises:
            ArgumentError: text is not a string.
        """

    @abc.abstractmethod
    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """The minimal automaton of the contents that surely keep the constraint (or surely break it); may be empty.

        Args:
            target: tokens, prefix, suffix and the largest automaton allowed.
            kept: whether contents are to keep the constraint; False for those that break it.
        """

    def clauses(self, target: Target, kept: bool = True) -> list[Clause]:
        """The automaton as clauses that all have to accept, each by one of its alternatives; nothing is multiplied.

        Args:
            target: tokens, prefix, suffix and the largest automaton allowed.
            kept: whether contents are to keep the constraint; False for those that break it.
        """
        return [(self.automaton(target, kept),)]

    def parts(self) -> list[Constraint]:
        """The constraints that all have to be kept for this one."""
        return [self]

    def pieces(self) -> list[Constraint]:
        """The smallest constraints that all have to be kept for this one; errors name them."""
        return [self]

    def __and__(self, other: Constraint) -> Constraint:
        return AllOf((*self.parts(), *_operand("&", other).parts()))

    def __or__(self, other: Constraint) -> Constraint:
        return AnyOf((*_alternatives(self), *_alternatives(_operand("|", other))))

    # Called for operands that are not constraints: their own operators would raise another error.
    def __rand__(self, other: Any) -> Constraint:
        return _operand("&", other) & self

    def __ror__(self, other: Any) -> Constraint:
        return _operand("|", other) | self

    def __invert__(self) -> Constraint:
        return Not(self)


@checked
@dataclass(frozen=True)
class AllOf(Constraint):
    """Every part is kept; what `&` makes.

    Args:
        constraints: the parts.

    Raises:
        ConstraintError: more than 100 levels of constraints in constraints.
    """

    constraints: tuple[Constraint, ...]

    def __post_init__(self) -> None:
        count_levels(self, self.constraints)

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return all(part.holds(text) for part in self.constraints)

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        return combine(self.constraints, target, kept=kept, every=kept)

    def clauses(self, target: Target, kept: bool = True) -> list[Clause]:
        """See Constraint."""
        return clauses_of(self.constraints, target, kept=kept, every=kept)

    def parts(self) -> list[Constraint]:
        """See Constraint."""
        return list(self.constraints)

    def pieces(self) -> list[Constraint]:
        """See Constraint."""
        return [piece for part in self.constraints for piece in part.pieces()]

    def __str__(self) -> str:
        return " and ".join(map(_bracketed, self.constraints))


@checked
@dataclass(frozen=True)
class AnyOf(Constraint):
    """At least one alternative is kept; what `|` makes.

    Args:
        constraints: the alternatives.

    Raises:
        ConstraintError: more than 100 levels of constraints in constraints.
    """

    constraints: tuple[Constraint, ...]

    def __post_init__(self) -> None:
        count_levels(self, self.constraints)

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return any(part.holds(text) for part in self.constraints)

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        return combine(self.constraints, target, kept=kept, every=not kept)

    def clauses(self, target: Target, kept: bool = True) -> list[Clause]:
        """See Constraint."""
        return clauses_of(self.constraints, target, kept=kept, every=not kept)

    def __str__(self) -> str:
        return " or ".join(map(_bracketed, self.constraints))


@checked
@dataclass(frozen=True)
class Not(Constraint):
    """The constraint is not kept; what `~` makes.

    Args:
        constraint: what must not hold.

    Raises:
        ConstraintError: more than 100 levels of constraints in constraints.
    """

    constraint: Constraint

    def __post_init__(self) -> None:
        count_levels(self, [self.constraint])

    def holds(self, text: str) -> bool:
        """See Constraint."""
        return not self.constraint.holds(text)

    def automaton(self, target: Target, kept: bool = True) -> DFA:
        """See Constraint."""
        return self.constraint.automaton(target, not kept)

    def clauses(self, target: Target, kept: bool = True) -> list[Clause]:
        """See Constraint."""
        return self.constraint.clauses(target, not kept)

    def __invert__(self) -> Constraint:
        return self.constraint

    def __str__(self) -> str:
        return f"not ({self.constraint})"


def combine(constraints: Sequence[Constraint], target: Target, *, kept: bool, every: bool) -> DFA:
    """The automaton of contents that keep (or break) every one of some constraints, or at least one.

    Args:
        constraints: without any, every content is accepted if `every`, else none.
        target: tokens, prefix, suffix and the largest automaton allowed.
        kept: whether contents are to keep the constraints; False for those that break them.
        every: all of them, or at least one.

    Raises:
        BudgetError: beyond target.max_states; it names the constraints and the sizes of their automata.
    """
    if not constraints:
        return _all_or_none(every, target)
    joint: list[DFA] = []
    sizes: list[str] = []
    for first in range(0, len(constraints), _TOGETHER):
        some = constraints[first : first + _TOGETHER]
        automata = [constraint.automaton(target, kept) for constraint in some]
        sizes += [f"{named(part)}: {dfa.num_states}" for part, dfa in zip(some, automata, strict=True)]
        try:
            whole = product([*joint, *automata], "intersection" if every else "union", max_states=target.max_states)
        except BudgetError as error:
            rest = len(constraints) - len(sizes)
            raise BudgetError(
                f"{len(sizes)} constraints together need more than {target.max_states:,} states "
                f"(each alone: {_listed(sizes)})" + (f", and there are {rest} more" if rest else ""),
                hint="drop one of them, narrow the range of words, or raise max_states",
            ) from error
        joint = [whole.minimize()]
    return joint[0]


def clauses_of(constraints: Sequence[Constraint], target: Target, *, kept: bool, every: bool) -> list[Clause]:
    """As `combine`, as clauses.

    Raises:
        BudgetError: of alternatives that are conjunctions themselves, too many clauses come out.
    """
    if not constraints:
        return [(_all_or_none(every, target),)]
    if every:
        return [clause for constraint in constraints for clause in constraint.clauses(target, kept)]
    with suppress(BudgetError):  # a small automaton says it exactly
        return [(combine(constraints, target._replace(max_states=_SMALL_UNION), kept=kept, every=False),)]
    # (a and b) or (c and d) = (a or c) and (a or d) and (b or c) and (b or d)
    joined: list[Clause] = [()]
    for constraint in constraints:
        own = _one_clause(constraint, target, kept)
        joined = [(*one, *other) for one in joined for other in own]
        if len(joined) > _MOST_CLAUSES:
            raise BudgetError(
                f"{named(constraint)}: its alternatives give more than {_MOST_CLAUSES} clauses",
                hint="write alternatives of fewer parts, or ask for them one by one",
            )
    return joined


def _one_clause(constraint: Constraint, target: Target, kept: bool) -> list[Clause]:
    """The clauses of an alternative, one if it can be: several would multiply with those of the others."""
    own = constraint.clauses(target, kept)
    if len(own) > 1:
        with suppress(BudgetError):
            return [(multiplied(own, EXACT_STATES),)]
    return own


def _all_or_none(accepted: bool, target: Target) -> DFA:
    """Accepts every content, or none."""
    class_of = np.zeros(SYMBOLS, dtype=np.uint8)
    text = TextDFA(class_of, np.zeros((1, 1), dtype=np.int32), 0, np.array([accepted]))
    return lift(text, target.vocabulary).minimize()


def within_budget(dfa: DFA, constraint: Constraint, target: Target) -> DFA:
    """The automaton minimized; BudgetError, naming the constraint, where it has more than target.max_states states."""
    minimal = dfa.minimize()
    if minimal.num_states > target.max_states:
        raise BudgetError(
            f"{named(constraint)}: needs {minimal.num_states:,} states, max_states is {target.max_states:,}",
            hint="make the constraint simpler, or raise max_states",
        )
    return minimal


def count_levels(constraint: Constraint, inside: Sequence[Constraint]) -> None:
    """Remembers how deep constraints are nested in a new one. ConstraintError where Python's stack would run out."""
    levels = 1 + max((part._levels for part in inside), default=0)
    if levels > MOST_LEVELS:
        raise ConstraintError(
            f"constraints inside of constraints, more than {MOST_LEVELS} levels deep",
            hint="a & b & c is one level, a & ~(b & ~(c ...)) many: write it with fewer brackets",
        )
    object.__setattr__(constraint, "_levels", levels)


def _operand(operator: str, value: Any) -> Constraint:
    if not isinstance(value, Constraint):
        raise refused(f"an operand of {operator}", value, "constraints only, as Keywords(['dog']) & WordCount(6, 12)")
    return value


def named(constraint: Constraint) -> str:
    """A constraint as errors name it: read out, but for the middle of a long one."""
    text = str(constraint)
    if len(text) <= _NAME_CHARACTERS:
        return text
    half = _NAME_CHARACTERS // 2
    return f"{text[:half]} ... {text[-half:]} ({len(text):,} characters)"


def _listed(names: Sequence[str]) -> str:
    more = f"; and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return "; ".join(names[:_NAMES]) + more


def _alternatives(constraint: Constraint) -> tuple[Constraint, ...]:
    return constraint.constraints if isinstance(constraint, AnyOf) else (constraint,)


def _bracketed(constraint: Constraint) -> str:
    return f"({constraint})" if isinstance(constraint, (AllOf, AnyOf)) else str(constraint)


def unsatisfiable(constraint: Constraint, target: Target) -> UnsatisfiableError:
    """The error that names a smallest set of pieces that cannot be kept together."""
    pieces = constraint.pieces()
    conflict = _conflict(pieces, target)
    parts = _listed([named(piece) for piece in conflict])
    alone = Target(target.vocabulary, max_states=target.max_states)
    if (target.prefix or target.suffix) and not _conflict(conflict, alone):
        hint = f"with other text around it, it could be: the prefix is {target.prefix!r}, the suffix {target.suffix!r}"
    elif len(conflict) == 1:
        hint = "change it, or use a vocabulary that can write it"
    else:
        hint = "drop or change one of them"
    together = " together" if len(conflict) > 1 else ""
    return UnsatisfiableError(f"no text can keep this{together}: {parts}", hint=hint)


def _conflict(pieces: Sequence[Constraint], target: Target) -> list[Constraint]:
    """A smallest set of pieces (none can be left out) that no content keeps together; empty if there is none, all of
    them where finding out takes too many states."""
    automata = [(piece, piece.automaton(target)) for piece in pieces]
    for piece, dfa in automata:
        if dfa.shortest_length() is None:
            return [piece]
    try:
        if not _exclude_each_other(automata, target):
            return []
        for pair in list(automata):
            fewer = [other for other in automata if other is not pair]
            if fewer and _exclude_each_other(fewer, target):
                automata = fewer
    except BudgetError:
        pass  # a part of a conflict may be larger than the whole
    return [piece for piece, _ in automata]


def _exclude_each_other(automata: Sequence[tuple[Constraint, DFA]], target: Target) -> bool:
    joint = product([dfa for _, dfa in automata], max_states=target.max_states)
    return joint.shortest_length() is None
