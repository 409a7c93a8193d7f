"""Ctrl-G's builders: what they build are dictionaries of edges, see `ctrlg.automata.graph_conversion`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ctrlg.arguments import Tokenizer, VocabularySize, checked
from ctrlg.automata import builders
from ctrlg.automata.algebra import MAX_STATES
from ctrlg.automata.dfa import DFA
from ctrlg.automata.exploration import require_states
from ctrlg.automata.graph_conversion import Graph
from ctrlg.compat.graphs import as_graph
from ctrlg.errors import ArgumentError, ConstraintError, VocabularyError
from ctrlg.vocabulary.token_bytes import Vocabulary

SEPARATORS = tuple(' \n,.:;"/')


class KMPBuilder:
    """Graphs that ask for one token pattern.

    Args:
        vocab_size: V.
    """

    @checked
    def __init__(self, vocab_size: VocabularySize) -> None:
        self.vocab_size = vocab_size

    @checked
    def build(self, pat: Sequence[int]) -> Graph:
        """Strings in which a pattern occurs.

        Args:
            pat: token ids.

        Raises:
            ConstraintError, VocabularyError, BudgetError: as `ctrlg.automata.contains`.
        """
        return as_graph(builders.contains([pat], self.vocab_size))


class AhoCorasickBuilder:
    """Graphs that ask for one of several token patterns.

    Args:
        vocab_size: V.

    Attributes:
        vocab_set: all tokens, bool [V].
    """

    @checked
    def __init__(self, vocab_size: VocabularySize) -> None:
        self.vocab_size = vocab_size
        self.vocab_set = np.ones(vocab_size, dtype=bool)

    @checked
    def build(self, patterns: Iterable[Sequence[int]]) -> Graph:
        """Strings in which at least one of some patterns occurs.

        Args:
            patterns: strings of token ids.

        Raises:
            ConstraintError, VocabularyError, BudgetError: as `ctrlg.automata.contains`.
        """
        return as_graph(builders.contains(patterns, self.vocab_size))


class TrivialBuilder:
    """The graph without a constraint.

    Args:
        tokenizer: for compatibility, not used.
        vocab_size: V.
        eos_token_id: for compatibility, not used.
    """

    @checked
    def __init__(self, tokenizer: Any, vocab_size: VocabularySize, eos_token_id: int = 2) -> None:
        self.dfa_graph = as_graph(builders.trivial(vocab_size))

    def build(self) -> Graph:
        """All strings."""
        return self.dfa_graph


class EOSBuilder:
    """The graph in which nothing but end-of-text follows end-of-text.

    Args:
        vocab_size: V.
        eos_token_id: in [0, V).

    Raises:
        VocabularyError: eos_token_id out of range.
    """

    @checked
    def __init__(self, vocab_size: VocabularySize, eos_token_id: int) -> None:
        if not 0 <= eos_token_id < vocab_size:
            raise VocabularyError(
                f"eos_token_id is {eos_token_id}, the vocabulary has {vocab_size} tokens",
                hint="use the end-of-text token of the HMM",
            )
        class_of = np.zeros(vocab_size, dtype=np.int32)
        class_of[eos_token_id] = 1
        delta = np.array([[0, 1], [2, 1], [2, 2]])
        self.dfa_graph = as_graph(DFA(class_of, delta, 0, np.array([True, True, False])))

    def build(self) -> Graph:
        """Strings in which every token after an end-of-text is end-of-text too."""
        return self.dfa_graph


class WordCountBuilder:
    """Graphs that count words: a word begins at a letter or digit that is the first since a separator.

    Special tokens, ids beyond the tokenizer's and tokens that decode to nothing neither count nor separate; nor does a
    character whose bytes are spread over several tokens, each of which is nothing by itself (`ctrlg.WordCount` reads
    them together). What is neither a separator nor a letter or digit, such as an apostrophe or a hyphen, neither counts
    nor separates.

    Ctrl-G's coarser view of the tokens, which `build` does not use, each bool [V]: `vocab0x` do not begin with one of
    `sep`, `vocabx0` hold no letter or digit, `vocabx1` do; `vocab10`, `vocab11` begin with one of `sep` and hold no
    letter or digit, or do; `vocab_set` are all.

    Args:
        tokenizer: Hugging Face, byte-level BPE or SentencePiece.
        vocab_size: V.
        sep: single characters, to which all whitespace is added.

    Raises:
        ArgumentError: a separator of another length.
        VocabularyError: other kinds of tokenizers.
    """

    @checked
    def __init__(self, tokenizer: Tokenizer, vocab_size: VocabularySize, sep: str | Sequence[str] = SEPARATORS) -> None:
        for separator in sep:
            if len(separator) != 1:
                raise ArgumentError(f"the separator {separator!r} is not one character", hint="pass single ones")
        kinds = _Kinds(sep)
        self.vocab_size = vocab_size
        texts = _token_texts(tokenizer, vocab_size)
        separated = np.array([text != "" and text[0] in sep for text in texts], dtype=bool)
        worded = np.array([any(c.isalpha() or c.isdigit() for c in text) for text in texts], dtype=bool)
        self.vocab0x, self.vocabx0, self.vocabx1 = ~separated, ~worded, worded
        self.vocab10, self.vocab11 = separated & ~worded, separated & worded
        self.vocab_set = np.ones(vocab_size, dtype=bool)
        effects = np.array([_effect(text.translate(kinds)) for text in texts], dtype=np.int64).reshape(-1, 3)
        # one row per class: words begun after a separator inside, whether it begins one by itself, what it ends in
        self._effects, class_of = np.unique(effects, axis=0, return_inverse=True)
        self._class_of = class_of.reshape(-1).astype(np.int32)

    @checked
    def build(self, min_word_count: int, max_word_count: int) -> Graph:
        """Strings of so many words.

        Args:
            min_word_count: fewest words, >= 0.
            max_word_count: most words, >= min_word_count.

        Raises:
            ConstraintError: there are no such counts.
            BudgetError: more of them than an automaton may have states.
        """
        if not 0 <= min_word_count <= max_word_count:
            raise ConstraintError(
                f"from {min_word_count} to {max_word_count} words is no range",
                hint="give two counts, the smaller first, neither negative",
            )
        require_states(2 * max_word_count + 3, MAX_STATES, f"automaton of {max_word_count:,} words")
        inside, begins, ending = self._effects.T
        # state 2 * words + separated, and one for too many words at the end
        words, separated = np.divmod(np.arange(2 * max_word_count + 2), 2)
        counts = words[:, None] + inside + (begins & separated[:, None])
        after = np.where(ending == _UNCHANGED, separated[:, None], ending == _SEPARATED)
        over = len(words)
        delta = np.full((over + 1, len(inside)), over)
        delta[:over] = np.where(counts > max_word_count, over, 2 * counts + after)
        accepting = np.append(words >= min_word_count, False)
        return as_graph(DFA(self._class_of, delta, 1, accepting).minimize())


_UNCHANGED, _SEPARATED, _IN_WORD = 0, 1, 2
_SEPARATOR, _WORD = " ", "w"


class _Kinds(dict[int, str]):
    """For `str.translate`: a separator, a character of a word, or nothing at all."""

    def __init__(self, separators: Iterable[str]) -> None:
        super().__init__((ord(separator), _SEPARATOR) for separator in separators)

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = _WORD if character.isalnum() else _SEPARATOR if character.isspace() else ""
        return self[code]


def _effect(kinds: str) -> tuple[int, int, int]:
    """Words begun after a separator inside, 1 if it begins with one, and _UNCHANGED, _SEPARATED or _IN_WORD."""
    if not kinds:
        return 0, 0, _UNCHANGED
    ending = _SEPARATED if kinds[-1] == _SEPARATOR else _IN_WORD
    return kinds.count(_SEPARATOR + _WORD), int(kinds[0] == _WORD), ending


def _token_texts(tokenizer: Any, vocab_size: int) -> list[str]:
    """The text of every token id, [vocab_size]; empty for those that write none."""
    known = len(tokenizer)
    # an id behind all others stands in for end-of-text, which some tokenizers lack and which is special in the rest
    vocabulary = Vocabulary.of(tokenizer, known + 1, eos_token_id=known)
    texts = [(data or b"").decode("utf-8", errors="ignore") for data in vocabulary.token_bytes]
    for token, added in tokenizer.added_tokens_decoder.items():
        if token < known and not added.special:
            texts[token] = added.content
    return (texts[:known] + [""] * vocab_size)[:vocab_size]


__all__ = ["AhoCorasickBuilder", "EOSBuilder", "KMPBuilder", "TrivialBuilder", "WordCountBuilder"]
