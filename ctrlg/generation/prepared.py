"""Constraints prepared for a search, the last of which are kept: automata, reachability and look-ahead tables."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from ctrlg.constraints import Constraint
from ctrlg.decoding.choices import Guide
from ctrlg.decoding.guides import guide_of
from ctrlg.generation.compiled import CompiledConstraint, ConstraintLike, Place, compiled
from ctrlg.hmm import HMM
from ctrlg.hmm.changes import Seen
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.tables import TABLE_BYTES
from ctrlg.parts.factored import MOST_NODES, MOST_NODES_ALONE
from ctrlg.vocabulary import Vocabulary

KEPT = 8
LEAST_TABLE_BYTES = 1 << 26  # that each of many constraints side by side may keep; together they share TABLE_BYTES


class Prepared(NamedTuple):
    """A constraint compiled for its place, and what guides a search for it."""

    constraint: CompiledConstraint
    guide: Guide


class PreparedConstraints:
    """Prepares constraints, and keeps those that were asked for last. Threads may share it.

    hmm: what guides. max_states: most states of one automaton for a whole constraint.
    kept: most constraints that stay, as far as their tables fit into TABLE_BYTES together.
    """

    def __init__(self, hmm: HiddenMarkovModel | None, max_states: int, kept: int = KEPT) -> None:
        self._hmm = hmm
        self._max_states = max_states
        self._most_nodes = MOST_NODES_ALONE if hmm is None else MOST_NODES
        self._most = kept
        self._kept: OrderedDict[Hashable, Prepared] = OrderedDict()
        self._changing = threading.Lock()
        self._seen = _as_seen(hmm)

    def __len__(self) -> int:
        return len(self._kept)

    def ready(self, vocabulary: Vocabulary, constraint: ConstraintLike, place: Place) -> Prepared | None:
        """A constraint at its place if it is there already."""
        key = (vocabulary.fingerprint, vocabulary.eos_token_id, _identity(constraint), place)
        known = self._known([key])
        self._keep(known)
        return known.get(key)

    def prepare(
        self, vocabulary: Vocabulary, constraints: Sequence[ConstraintLike], places: Sequence[Place]
    ) -> list[Prepared]:
        """Each constraint at its place. Raises as `compiled` and `guide_of`: all are compiled before any table is made.

        Constraints in one call share TABLE_BYTES.
        """
        keys = [
            (vocabulary.fingerprint, vocabulary.eos_token_id, _identity(constraint), place)
            for constraint, place in zip(constraints, places, strict=True)
        ]
        known = self._known(keys)
        new = {
            key: compiled(constraint, vocabulary, place, self._max_states, self._most_nodes)
            for key, constraint, place in zip(keys, constraints, places, strict=True)
            if key not in known
        }
        table_bytes = max(TABLE_BYTES // len(keys), LEAST_TABLE_BYTES)
        for key, constraint in new.items():
            place = key[-1]
            guide = guide_of(
                self._hmm,
                constraint.dfa,
                None if place.soft_mask else constraint.mask,
                constraint.suffix_ids,
                [place.token_range],
                vocabulary.eos_token_id,
                table_bytes,
            )
            known[key] = Prepared(constraint, guide)
        self._keep(known)
        return [known[key] for key in keys]

    def _known(self, keys: Sequence[Hashable]) -> dict[Any, Prepared]:
        """What is there already; nothing where the HMM has changed since."""
        with self._changing:
            if self._seen is not None and isinstance(self._hmm, HMM) and not self._seen.same(*_parameters(self._hmm)):
                self._kept.clear()
                self._seen = _as_seen(self._hmm)
            return {key: self._kept[key] for key in keys if key in self._kept}

    def _keep(self, prepared: dict[Any, Prepared]) -> None:
        """Remember these as the last ones; those used longest ago make room."""
        with self._changing:
            for key, value in prepared.items():
                self._kept[key] = value
                self._kept.move_to_end(key)
            while self._kept and (
                len(self._kept) > self._most or sum(one.guide.nbytes for one in self._kept.values()) > TABLE_BYTES
            ):
                self._kept.popitem(last=False)


class _Same:
    """Stands for an object that is told apart by being the same one; holds it, so that no other takes its place."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


def _identity(constraint: ConstraintLike) -> Hashable:
    """Constraints are equal by what they say where all their parts can be hashed; automata and graphs by being the same
    object, which whoever holds it could change."""
    try:
        hash(constraint)
    except TypeError:
        return _Same(constraint)
    return constraint if isinstance(constraint, Constraint) else _Same(constraint)


def _parameters(hmm: HMM) -> tuple[Any, ...]:
    return hmm.alpha_exp, hmm.beta, hmm.gamma


def _as_seen(hmm: HiddenMarkovModel | None) -> Seen | None:
    """Float HMMs may be trained on; compressed ones do not change."""
    return Seen(*_parameters(hmm)) if isinstance(hmm, HMM) else None
