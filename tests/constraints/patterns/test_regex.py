"""`Regex` and `Contains` over tokens: exactly what `re` says of the text, however it is cut into tokens."""

from __future__ import annotations

import random
import warnings
from functools import lru_cache
from pathlib import Path

import pytest
from helpers import tiny_models
from helpers.random_inputs.contents import contents, finished
from helpers.regular.random_patterns import patterns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctrlg.constraints import Constraint, Contains, Exclude, Keywords, Regex, WordCount
from ctrlg.constraints.base import Target
from ctrlg.errors import BudgetError, ConstraintError, UnsatisfiableError
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.language.texts import cut, matches, near

pytestmark = pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")


@lru_cache(maxsize=4)
def tiny(kind: str) -> Vocabulary:
    """Byte-level BPE; SentencePiece's BPE and unigram models with byte fallback."""
    made = tiny_models.tiny_tokenizer() if kind == "byte-level" else tiny_models.metaspace(kind, "never")
    return Vocabulary.of(made)


def text_of(vocabulary: Vocabulary, prefix: str, ids: list[int], suffix: str) -> str | None:
    """The text where the content is UTF-8, else None."""
    content = b"".join(vocabulary.token_bytes[token] or b"" for token in ids)
    try:
        return prefix + content.decode() + suffix
    except UnicodeDecodeError:
        return None


def check(constraint: Regex, vocabulary: Vocabulary, seed: int, prefix: str = "", suffix: str = "") -> None:
    """Contents that keep and break the constraint are told apart exactly, and broken characters are neither."""
    source = random.Random(seed)
    target = Target(vocabulary, prefix, suffix)
    kept, broken = constraint.automaton(target), constraint.automaton(target, kept=False)
    texts = near(constraint.language(), source, 8)
    halves = [token for token, data in enumerate(vocabulary.token_bytes) if data and max(data) > 127]
    for text in [*texts, *(text[len(prefix) : len(text) - len(suffix)] for text in texts)]:
        ids = cut(text, vocabulary, source)
        if ids is None:
            continue
        if source.random() < 0.3:
            ids.insert(source.randrange(len(ids) + 1), source.choice(halves))
        whole = text_of(vocabulary, prefix, ids, suffix)
        expected = matches(constraint.pattern, finished(vocabulary, prefix, ids, suffix))
        if whole is not None:
            assert kept.accepts(ids) == expected, (constraint, prefix, ids, suffix)
            assert broken.accepts(ids) != expected, (constraint, prefix, ids, suffix)
        else:
            # Bytes of no text: what is accepted is true of the text in which they are replaced.
            assert not kept.accepts(ids) or expected
            assert not broken.accepts(ids) or not expected


@pytest.mark.parametrize("kind", ["byte-level", "bpe", "unigram"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(patterns(), st.integers(0, 2**32), st.sampled_from([("", ""), ("a", ""), ("", "\n"), ("\u00e9k", "s")]))
def test_as_re_says_of_any_cut(kind: str, pattern: str, seed: int, around: tuple[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(Regex(pattern), tiny(kind), seed, *around)


@pytest.mark.parametrize(
    "pattern", [r"\w+", r"\d{4}-\d{2}", r".*caf\u00e9.*", r"(?i)[^a-z]*\s\S+", r"[\U0001f44d\U0001f44e]+|\b.*\b", "."]
)
def test_as_re_says_with_gpt2s_tokens(pattern: str, gpt2: Vocabulary) -> None:
    check(Regex(pattern), gpt2, 0)


ALGEBRA: list[Constraint] = [
    Regex(r"[^.]*\.") & WordCount(2, 4),
    Regex(r"(?s).*\bdog\b.*") & Exclude("park"),
    ~Regex(r".*dog.*") & WordCount(1, 3),
    Regex(r".*\.") & Keywords(["dog"]),
    Contains(r"\d") | Keywords(["park"]),
    ~(Contains(r"[aeiou]{2}") & WordCount(1)),
]


@pytest.mark.parametrize("constraint", ALGEBRA, ids=str)
def test_accepted_is_kept_beside_other_constraints(constraint: Constraint, vocabulary: Vocabulary) -> None:
    accepted = 0
    for prefix, suffix in [("", ""), ("The ", "."), ("do", "g.")]:
        try:
            dfa = constraint.compile(vocabulary, prefix=prefix, suffix=suffix)
        except UnsatisfiableError:
            continue
        for ids in contents(vocabulary, ("dog", "park", "3"), 300):
            if dfa.accepts(ids):
                accepted += 1
                assert constraint.holds(finished(vocabulary, prefix, ids, suffix))
    assert accepted


def test_refusals_and_names(synthetic: Vocabulary) -> None:
    with pytest.raises(ConstraintError, match="look-ahead at position 1,"):
        Regex("a(?=b)")
    with pytest.raises(BudgetError, match=r"matches '\(a\|b\)\*a"):
        Regex("(a|b)*a(a|b){12}").compile(synthetic, max_states=1000)
    with pytest.raises(UnsatisfiableError, match=r"contains a match of 'a\\\\bb'"):
        Contains(r"a\bb").compile(synthetic)
    assert str(Regex("a+") & Contains("b")) == "matches 'a+' and contains a match of 'b'"


def test_the_suite_of_patterns_with_gpt2s_tokens(shared_data: Path, gpt2: Vocabulary) -> None:
    import json

    for line in (shared_data / "suites" / "regex.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        if case["regular"]:
            dfa = Regex(case["pattern"]).compile(gpt2)
            for text, expected in case["texts"]:
                (ids,) = gpt2.spell([text])
                assert ids is None or dfa.accepts(ids) == expected
