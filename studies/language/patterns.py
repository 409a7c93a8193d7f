"""Do regular expressions mean what they mean to Python, and how long do they take to compile?

    python -m studies.language.patterns --pairs 10000 --suite regex.jsonl --output runs/patterns.jsonl

Pairs of a random pattern and a text near one that matches, over all of Unicode, judged by `re.fullmatch`: the text as
it is, and cut into random tokens of each tokenizer, which the compiled constraint and the one of its opposite read.
Tokenizers are a language model's byte-level BPE ("default"), BPE with byte fallback ("byte-fallback") and unigram with
byte fallback ("unigram"), or others by name or folder. SUITE has lines with a `pattern`, `texts` with what `re` says,
and whether the pattern is `regular`: those that are not must be refused. "refused" are also random patterns of more
than 5,000 states, "endless" texts for which `re` backtracks without end. Beside it, seconds of the processor for
patterns that people write, against outlines-core's index for the same tokenizer where it is installed.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import time
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ctrlg.constraints import Regex
from ctrlg.constraints.base import Target
from ctrlg.errors import BudgetError, ConstraintError
from ctrlg.files.reading import parse_json_lines, read_text
from ctrlg.loading.language_models import load_tokenizer
from ctrlg.parts.compiled_once import compiled_once
from ctrlg.vocabulary.token_bytes import Vocabulary
from studies.language.texts import POOL, cut, matches, matches_in_time, near
from studies.language.tokenizers import KINDS, tokenizer_of
from studies.shared import Key, Line, Measured, Study, StudyFlags, table_of

WRITTEN = {
    "date": r"\d{4}-\d{2}-\d{2}",
    "date of ASCII": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "e-mail": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
    "five lines": r"Name: \w+ \w+\nAge: \d{1,3}\nCity: [A-Z][a-z]+( [A-Z][a-z]+)?\nMail: [\w.]+@[\w.]+\n"
    r"Notes: .{1,80}\n",
}
TEXTS_A_PATTERN = 10
MOST_STATES = 5_000  # of a random pattern over characters
_MOST_SECONDS = 5.0  # after which a median is of what there is
_SETS = ("\\d", "\\w", "\\s", "\\D", "\\W", "\\S", ".", "[a-k]", "[^b-y\\d]", "[\u00e0-\u00ff\u72d7]", "[^\\s\\w]")
_PLACES = ("^", "$", "\\A", "\\Z", "\\b", "\\B")
_TIMES = ("*", "+", "?", "{2}", "{1,3}", "{,2}", "{2,}", "*?", "+?", "??")
_FLAGS = ("", "", "", "(?i)", "(?s)", "(?m)", "(?a)", "(?ai)", "(?ms)")


class Patterns(Study):
    key = ("what", "number")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        flags.add_argument("--pairs", type=int, default=10_000, help="of a pattern and a text, for each tokenizer")
        flags.add_argument("--tokenizers", nargs="+", default=["default", *KINDS], help="names or folders")
        flags.add_argument("--suite", default="", help="lines of patterns and texts")
        flags.share("seed")

    def batches(self) -> Iterable[Sequence[Key]]:
        yield [("seconds", number) for number in range(len(WRITTEN))]
        yield [("suite", number) for number in range(len(self.suite))]
        for tokenizer in self.arguments.tokenizers:
            count = -(-self.arguments.pairs // TEXTS_A_PATTERN)
            yield from ([(tokenizer, number)] for number in range(count))

    def measure(self, keys: Sequence[Key]) -> Measured:
        """One pattern and its texts, or the seconds of the patterns that people write."""
        for what, number in keys:
            if what == "seconds":
                yield (what, number), compile_times(list(WRITTEN)[number])
            elif what == "suite":
                yield (what, number), as_written(vocabulary_of("default"), self.suite[number])
            else:
                yield (what, number), judged(vocabulary_of(what), f"{self.arguments.seed} {what} {number}")

    @cached_property
    def suite(self) -> list[dict[str, Any]]:
        """The lines of the suite, if there is one."""
        if not self.arguments.suite:
            return []
        path = Path(self.arguments.suite)
        return [line for _, line in parse_json_lines(read_text(path), path, json.dumps({"pattern": "..."}))]

    def table(self, lines: Sequence[Line]) -> str:
        """How many pairs agree, and the seconds."""
        rows = []
        for what in dict.fromkeys(line["what"] for line in lines if line["what"] != "seconds"):
            of_it = [line for line in lines if line["what"] == what]
            names = ("refused", "endless", "texts", "matching", "contents", "wrong")
            rows.append(
                {"tokenizer": what, "patterns": len(of_it)}
                | {name: sum(line.get(name, 0) for line in of_it) for name in names}
            )
        times = [
            {name: line.get(name, "") for name in ("pattern", "states", "seconds", "outlines-core, seconds", "differ")}
            for line in lines
            if line["what"] == "seconds"
        ]
        return "\n\n".join(filter(None, (table_of(rows), table_of(times))))


def judged(vocabulary: Vocabulary, seed: str) -> dict[str, Any]:
    """A random pattern against `re`: how many texts, how many of them match, how many were cut, what was wrong."""
    source = random.Random(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "possible nested set"
        pattern = random_pattern(source)
        constraint = Regex(pattern)
        try:
            texts = near(constraint.language(MOST_STATES), source, TEXTS_A_PATTERN)
        except BudgetError:
            return {"pattern": pattern, "refused": 1}
        judged_by_re = [(text, matches_in_time(pattern, text)) for text in texts]
        expected = [(text, fits) for text, fits in judged_by_re if fits is not None]
        return compared(vocabulary, constraint, expected, source) | {"endless": len(texts) - len(expected)}


def compared(
    vocabulary: Vocabulary, constraint: Regex, expected: Sequence[tuple[str, bool]], source: random.Random
) -> dict[str, Any]:
    """How many texts, how many match, how many were cut into tokens, and how many of all these answers were wrong."""
    found = {"texts": 0, "matching": 0, "contents": 0, "wrong": 0}
    language = constraint.language()
    try:
        automata = [constraint.automaton(Target(vocabulary), kept) for kept in (True, False)]
    except BudgetError:
        automata = []
    for text, fits in expected:
        ids = cut(text, vocabulary, source)
        found["texts"] += 1
        found["matching"] += fits
        found["wrong"] += (text in language) != fits
        if automata and ids is not None:
            found["contents"] += 1
            found["wrong"] += [dfa.accepts(ids) for dfa in automata] != [fits, not fits]
    return {"pattern": constraint.pattern} | found


def as_written(vocabulary: Vocabulary, line: dict[str, Any]) -> dict[str, Any]:
    """A line of the suite: its texts, or whether a pattern that is not regular is refused."""
    try:
        constraint = Regex(line["pattern"])
    except ConstraintError:
        return {"pattern": line["pattern"], "refused": 1, "wrong": int(line["regular"])}
    if not line["regular"]:
        return {"pattern": line["pattern"], "wrong": 1}
    return compared(vocabulary, constraint, [(text, fits) for text, fits in line["texts"]], random.Random(0))


@lru_cache
def vocabulary_of(name: str) -> Vocabulary:
    """The tokens of a tokenizer by name."""
    return Vocabulary.of(tokenizer_of(name))


def random_pattern(source: random.Random, depth: int = 3) -> str:
    """A pattern that `re` compiles."""
    flags = source.choice(_FLAGS)
    while True:
        pattern = flags + _branches(source, depth)
        try:
            re.compile(pattern)
        except re.error:
            continue
        return pattern


def _branches(source: random.Random, depth: int) -> str:
    return "|".join(_run(source, depth) for _ in range(source.choice((1, 1, 1, 2, 3))))


def _run(source: random.Random, depth: int) -> str:
    return "".join(_piece(source, depth) for _ in range(source.choice((1, 2, 2, 3))))


def _piece(source: random.Random, depth: int) -> str:
    if depth and source.random() < 0.35:
        opening = source.choice(("(", "(?:", "(?:", "(?i:", "(?s:", "(?a:", "(?m:"))
        return f"{opening}{_branches(source, depth - 1)})" + source.choice(("", *_TIMES))
    if source.random() < 0.12:
        return source.choice(_PLACES)
    letter = chr(source.choice((source.randrange(0x20, 0x2000), source.randrange(0x10000, 0x20000))))
    one = source.choice((re.escape(source.choice(POOL)), source.choice(_SETS), re.escape(letter)))
    return one + source.choice(("", "", "", *_TIMES))


def compile_times(name: str) -> dict[str, Any]:
    """Seconds of the processor for a pattern that people write: the median of five or fewer, a first one left out."""
    tokenizer = load_tokenizer("default")
    vocabulary = Vocabulary.of(tokenizer)
    constraint = Regex(WRITTEN[name])
    states = constraint.compile(vocabulary).num_states

    def build() -> None:
        compiled_once.clear()  # what was made is kept
        constraint.automaton(Target(vocabulary))

    ours = _median(build)
    values: dict[str, Any] = {"pattern": name, "states": states, "seconds": round(ours, 3)}
    try:
        from outlines_core import Index

        from benchmarks.outlines_index import outlines_vocabulary
    except ImportError:
        return values
    theirs = outlines_vocabulary(tokenizer)
    values["outlines-core, seconds"] = round(_median(lambda: Index(WRITTEN[name], theirs)), 3)
    return values | {"differ": _differing(Index(WRITTEN[name], theirs), constraint, vocabulary)}


def _median(build: Any) -> float:
    times: list[float] = []
    while len(times) < 5 and sum(times) < _MOST_SECONDS:
        started = time.process_time()
        build()
        times.append(time.process_time() - started)
    return statistics.median(times)


def _differing(index: Any, constraint: Regex, vocabulary: Vocabulary) -> str:
    """Of 200 texts near the language, cut at random, how many each of the two gets wrong: "outlines 3, ours 0"."""
    source = random.Random(0)
    dfa = constraint.compile(vocabulary)
    theirs = ours = count = 0
    for text in near(constraint.language(), source, 200):
        ids = cut(text, vocabulary, source)
        if not ids:
            continue
        count += 1
        state = index.get_initial_state()
        for token in ids:
            state = None if state is None else index.get_next_state(state, token)
        expected = matches(constraint.pattern, text)
        theirs += (state is not None and index.is_final_state(state)) != expected
        ours += dfa.accepts(ids) != expected
    return f"outlines-core {theirs}, ours {ours} of {count}"


if __name__ == "__main__":
    Patterns.main()
