"""Random patterns, texts that come close to matching them, and random ways to cut a text into tokens."""

from __future__ import annotations

import random
import re
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache

from hypothesis import strategies as st

from ctrlg.regular import Language
from ctrlg.vocabulary.token_bytes import Vocabulary

POOL = (
    "aabbkKsSiI1 0_-.\n\t\u00e9\u00c9\u00df\u017f\u212a\u0130\u0131\u0663\u72d7"
    "\U0001f44d\u00a0\u3000\ufb05\u01c5\u0345\u2028\ud7ff\ue000\ufffd"
)
"""Characters with cases that `re` treats in a way of its own, digits and spaces beyond ASCII, and ends of ranges."""

_ESCAPES = ("\\d", "\\w", "\\s", "\\D", "\\W", "\\S")
_ANCHORS = ("^", "$", "\\A", "\\Z", "\\b", "\\B")
_FLAGS = ("i", "s", "m", "a", "im", "is", "ai")
_QUANTIFIERS = ("*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{,2}", "*?", "+?", "??", "{1,2}?")


def _set(items: list[str], negated: bool) -> str:
    return f"[{'^' if negated else ''}{''.join(items)}]"


def _characters() -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(POOL), st.characters(exclude_categories=["Cs"]))


_literals = _characters().map(re.escape)
_ranges = st.tuples(_characters(), _characters()).map(lambda pair: "-".join(map(re.escape, sorted(pair))))
_sets = st.builds(
    _set,
    st.lists(st.one_of(_literals, _ranges, st.sampled_from(_ESCAPES)), min_size=1, max_size=4),
    st.booleans(),
)
_atoms = st.one_of(_literals, _literals, _sets, st.sampled_from(_ESCAPES), st.just("."), st.sampled_from(_ANCHORS))


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sequences = st.lists(inner, min_size=1, max_size=4).map("".join)
    branches = st.lists(sequences, min_size=1, max_size=3).map("|".join)
    groups = branches.map(lambda pattern: f"(?:{pattern})")
    flagged = st.tuples(st.sampled_from(_FLAGS), branches).map(lambda pair: f"(?{pair[0]}:{pair[1]})")
    repeated = st.tuples(groups, st.sampled_from(_QUANTIFIERS)).map("".join)
    return st.one_of(sequences, groups, repeated, repeated, flagged, branches.map(lambda pattern: f"(?:{pattern})"))


@st.composite
def patterns(draw: Callable) -> str:
    """Patterns that Python's `re` compiles, all of them regular."""
    pattern = draw(st.recursive(_atoms, _compound, max_leaves=10))
    flags = draw(st.sampled_from(["", "", "", "(?i)", "(?s)", "(?ms)", "(?a)", "(?ai)"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        re.compile(flags + pattern)
    return flags + pattern


def matches(pattern: str, text: str) -> bool:
    """What `re` says."""
    return re.fullmatch(pattern, text) is not None


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
