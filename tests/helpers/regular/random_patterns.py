"""Random patterns, as hypothesis draws them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from hypothesis import strategies as st

from studies.language.texts import POOL

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
