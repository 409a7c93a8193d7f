"""Random contents that come close to keeping or breaking a constraint, and the text they make."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from ctrlg.vocabulary.token_bytes import Vocabulary

PUNCTUATION = tuple(" .,\n\t-'\"(_1sK\u2019\u2014\u00a0\u3000\u00b2\u00d7")


def finished(vocabulary: Vocabulary, prefix: str, ids: Sequence[int], suffix: str) -> str:
    """prefix + content + suffix as a reader sees it."""
    content = b"".join(vocabulary.token_bytes[token] or b"" for token in ids)
    return (prefix.encode() + content + suffix.encode()).decode(errors="replace")


@lru_cache(maxsize=4)
def halves(vocabulary: Vocabulary) -> frozenset[int]:
    """Tokens that cut a character in two."""
    return frozenset(
        token
        for token, data in enumerate(vocabulary.token_bytes)
        if data and data.decode(errors="ignore").encode() != data
    )


@lru_cache(maxsize=64)
def contents(vocabulary: Vocabulary, words: tuple[str, ...], count: int) -> list[list[int]]:
    """Token strings of up to about ten tokens: pieces of the words, punctuation, halves of characters, any tokens, and
    words as they are usually spelled.
    """
    draw = random.Random(0)
    pools = [
        _pieces(vocabulary, words),
        [ids[0] for ids in vocabulary.spell(PUNCTUATION) if ids],
        sorted(halves(vocabulary)),
        [token for token, data in enumerate(vocabulary.token_bytes) if data],
    ]
    spelled = vocabulary.spell([_sentence(draw, words) for _ in range(count)])
    strings = []
    for sentence in spelled:
        ids = [draw.choice(draw.choices(pools, weights=[5, 3, 1, 1])[0]) for _ in range(draw.randrange(8))]
        strings.append([*(sentence or ()), *ids[:2]] if draw.random() < 0.4 else ids)
    return strings


def _sentence(draw: random.Random, words: Sequence[str]) -> str:
    cases = (str, str.upper, str.capitalize, str.title)
    spaces = ("", " ", "\n", " a ", "-", ' "')
    return "".join(draw.choice(spaces) + draw.choice(cases)(draw.choice(words)) for _ in range(draw.randrange(1, 4)))


def _pieces(vocabulary: Vocabulary, words: Sequence[str]) -> list[int]:
    text = " ".join(words).lower()
    pool = []
    for token, data in enumerate(vocabulary.token_bytes):
        piece = (data or b"").decode(errors="ignore").lower().strip()
        if piece and (piece in text or any(word in piece and len(piece) < len(word) + 3 for word in words)):
            pool.append(token)
    return pool
