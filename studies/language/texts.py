"""Texts that come close to a language, and random ways to cut them into tokens."""

from __future__ import annotations

import random
import re
import signal
import sys
from functools import lru_cache

import numpy as np

from ctrlg.automata import DFA
from ctrlg.regular import Language
from ctrlg.vocabulary.token_bytes import Vocabulary

POOL = (
    "aabbkKsSiI1 0_-.\n\t\u00e9\u00c9\u00df\u017f\u212a\u0130\u0131\u0663\u72d7"
    "\U0001f44d\u00a0\u3000\ufb05\u01c5\u0345\u2028\ud7ff\ue000\ufffd"
)
"""Characters with cases that `re` treats in a way of its own, digits and spaces beyond ASCII, and ends of ranges."""


def matches(pattern: str, text: str) -> bool:
    """What `re` says."""
    return re.fullmatch(pattern, text) is not None


def matches_in_time(pattern: str, text: str, seconds: float = 5.0) -> bool | None:
    """What `re` says; None where it takes longer, as its backtracking sometimes does for years. In the main thread."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return matches(pattern, text)
    except TimeoutError:
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def near(language: Language, source: random.Random, count: int) -> list[str]:
    """Texts of a language, texts that differ from one in a character, and short texts of the pool."""
    texts = []
    for _ in range(count):
        text = _member(language, source) if source.random() < 0.6 else ""
        for _ in range(source.choice((0, 0, 1, 1, 2))):
            place = source.randrange(len(text) + 1)
            text = text[:place] + source.choice(("", *POOL)) + text[place + source.randrange(2) :]
        texts.append(text)
    return texts


def _member(language: Language, source: random.Random) -> str:
    """A text of the language, short enough for `re`; "" where there is none."""
    dfa = language.dfa
    distances = dfa.distances()
    if distances[dfa.initial] == dfa.UNREACHABLE:
        return ""
    state, text = dfa.initial, ""
    while not (dfa.accepting[state] and (len(text) > 8 or source.random() < 0.4)):
        following = dfa.delta[state]
        live = [k for k in range(dfa.num_classes) if distances[following[k]] < dfa.UNREACHABLE]
        if len(text) > 8:
            live = [k for k in live if distances[following[k]] < distances[state]]
        if not live:
            break
        chosen = source.choice(live)
        text += _character(language, chosen, source)
        state = following[chosen]
    return text


def _character(language: Language, chosen: int, source: random.Random) -> str:
    intervals = [place for place, number in enumerate(language.dfa.class_of.tolist()) if number == chosen]
    place = source.choice(intervals)
    first = int(language.starts[place])
    last = int(language.starts[place + 1]) if place + 1 < len(language.starts) else sys.maxunicode + 1
    point = source.choice((first, last - 1, source.randrange(first, last)))
    return "\u72d7" if 0xD800 <= point < 0xE000 else chr(point)


@lru_cache(maxsize=8)
def _pieces(vocabulary: Vocabulary) -> dict[bytes, list[int]]:
    """Tokens by their bytes."""
    pieces: dict[bytes, list[int]] = {}
    for token, data in enumerate(vocabulary.token_bytes):
        if data:
            pieces.setdefault(data, []).append(token)
    return pieces


def cut(text: str, vocabulary: Vocabulary, source: random.Random) -> list[int] | None:
    """The text as random tokens, cut anywhere, inside of characters too; None where the tokens led to no end."""
    data, ids = text.encode(), []
    pieces = _pieces(vocabulary)
    while data:
        lengths = [length for length in range(1, min(len(data), 12) + 1) if data[:length] in pieces]
        if not lengths:
            return None
        length = source.choice(lengths)
        ids.append(source.choice(pieces[data[:length]]))
        data = data[length:]
    return ids


class Sampler:
    """Contents of an automaton, every token that it allows being equally likely.

    Args:
        dfa: over the vocabulary's tokens; it accepts whole characters alone.
        vocabulary: the tokens and their bytes.
        seed: of the sample.
    """

    def __init__(self, dfa: DFA, vocabulary: Vocabulary, seed: int) -> None:
        self._dfa, self._vocabulary = dfa, vocabulary
        self._distances = dfa.distances()
        order = np.argsort(dfa.class_of, kind="stable")
        counts = np.bincount(dfa.class_of, minlength=dfa.num_classes)
        self._counts, self._tokens = counts, np.split(order, np.cumsum(counts)[:-1])
        self._random = np.random.default_rng(seed)

    def text(self, most: int) -> str | None:
        """The text of a content of at most so many tokens; None where there is none."""
        state, data = self._dfa.initial, b""
        if self._distances[state] > most:
            return None
        for left in range(most, -1, -1):
            following = self._dfa.delta[state]
            # What can still be accepted in the tokens that are left behind this one.
            weights = np.where(self._distances[following] < left, self._counts, 0)
            total = weights.sum()
            if self._dfa.accepting[state] and (not total or self._random.random() < 0.1):
                break
            chosen = int(self._random.choice(len(weights), p=weights / total))
            token = int(self._random.choice(self._tokens[chosen]))
            data += self._vocabulary.token_bytes[token] or b""
            state = int(following[chosen])
        return data.decode()
