"""Joint states of automata kept apart, against the one automaton that is their product and against all strings."""

from __future__ import annotations

import numpy as np
from helpers.automata_oracle import strings
from helpers.decoding_oracle import EOS, VOCAB, avoids, contains
from helpers.random_inputs.parts import Parts, parts, settling
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlg.automata.paths import UNREACHABLE
from ctrlg.parts.states import DEAD, JointStates

EXPANSIONS = 20_000
LONGEST = 4
SOME = strings(VOCAB, 3)
CONTENTS = strings(EOS, LONGEST)  # without end of text, which is the last token
PAIRS = 400  # of a joint state and the product's state, looked at in each case


def met(constraint: Parts, states: JointStates) -> dict[tuple[int, int], bool]:
    """Pairs of a joint state and the state of the product after the same content; whether both are the same is asked
    elsewhere."""
    whole = constraint.whole
    pairs = {(states.initial, whole.initial): True}
    pending = list(pairs)
    while pending and len(pairs) < PAIRS:
        joint, own = pending.pop(0)
        following = states.successors(np.array([joint]))[0]
        for token in range(EOS):
            pair = int(following[states.class_of[token]]), int(whole.delta[own, whole.class_of[token]])
            if pair not in pairs:
                pairs[pair] = True
                pending.append(pair)
    return pairs


def check(constraint: Parts, states: JointStates) -> int:
    """Everything that decoding relies on; in how many states a completion in time is not known."""
    pairs = met(constraint, states)
    joint, own = (np.array(some, dtype=np.int64) for some in zip(*pairs, strict=True))
    true = constraint.distances[own]
    fewest, bound = states.fewest(joint), states.bound(joint)
    assert (states.accepts(joint) == constraint.whole.accepting[own]).all()
    assert (true[joint == DEAD] == UNREACHABLE).all()
    assert (fewest >= true).all()  # a completion of so few tokens is there
    assert (bound <= true).all()
    known = (fewest > 0) & (fewest < UNREACHABLE)
    if known.any():
        following = states.successors(joint[known])
        nearest = states.fewest(following.reshape(-1)).reshape(following.shape).min(axis=1)
        assert (nearest <= fewest[known] - 1).all()  # never a dead end
    assert (fewest[fewest < UNREACHABLE] <= constraint.most).all()
    return int(((true <= constraint.most) & (fewest > constraint.most)).sum())


@settings(deadline=None, max_examples=60)
@given(parts())
def test_the_product_is_what_parts_and_mask_accept(constraint: Parts) -> None:
    """What the other tests hold joint states against."""
    for text in SOME:
        expected = constraint.factored.accepts(text) and constraint.mask.accepts(text) and len(text) >= constraint.least
        assert constraint.whole.accepts(text) == expected


@settings(deadline=None, max_examples=40)
@given(parts(most=LONGEST))
def test_joint_states_accept_what_parts_and_mask_do(constraint: Parts) -> None:
    states = constraint.states()
    here: dict[tuple[int, ...], int] = {(): states.initial}
    completions = dict.fromkeys(CONTENTS, LONGEST + 1)
    for text in reversed(CONTENTS):
        if constraint.factored.accepts(text) and constraint.mask.accepts(text):
            completions[text] = 0
        if text:
            completions[text[:-1]] = min(completions[text[:-1]], completions[text] + 1)
    for text in CONTENTS:
        if text:
            here[text] = int(states.advance(np.array([here[text[:-1]]]), np.array(text[-1:]))[0])
        state = np.array([here[text]])
        assert states.accepts(state)[0] == (completions[text] == 0)
        left, fewest = LONGEST - len(text), int(states.fewest(state)[0])
        # By enumeration: a completion in the tokens left is there where one is known.
        assert fewest >= completions[text] or fewest > left
        assert states.bound(state)[0] <= completions[text] or completions[text] > left
        assert here[text] != DEAD or completions[text] > left


@settings(deadline=None, max_examples=150)
@given(parts(), st.booleans())
def test_what_is_known_is_sound(constraint: Parts, search_first: bool) -> None:
    states = constraint.states()
    if search_first:
        states.find_first(EXPANSIONS)
    check(constraint, states)
    first = states.find_first(EXPANSIONS)
    shortest = int(constraint.distances[constraint.whole.initial])
    assert (first <= constraint.most) == (shortest <= constraint.most)
    check(constraint, states)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_one_settled_alternative_is_always_completed(data: st.DataObject) -> None:
    core = data.draw(st.one_of(st.none(), st.just(avoids(1)), st.just(contains(0, 0))))
    clauses = [(data.draw(settling()),)] + ([(core.minimize(),)] if core else [])
    constraint = data.draw(parts(clauses=clauses, most=12, masked=False))
    states = constraint.states()
    assert len(constraint.factored.clauses) <= 3
    assert check(constraint, states) == 0
