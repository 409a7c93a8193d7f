"""Norm-Q's token patterns for CommonGen's concepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Clause = tuple[tuple[int, ...], ...]


def concepts2cnf(concepts: Sequence[str], tokenizer: Any, no_inflection: bool = False) -> tuple[Clause, ...]:
    """One clause for each concept: the token ids of its forms, each after a space, of which one is to occur.

    A form that begins with the concept's own tokens is left out, for it contains them; so is one that is another of the
    concepts. `ctrlg.Keywords(inflect=True)` is about whole words instead.

    Args:
        concepts: words.
        tokenizer: of the language model.
        no_inflection: the concept alone instead of all its inflections.

    Returns:
        For each concept its forms, each as token ids.
    """
    own = {concept: _encoded(tokenizer, concept) for concept in concepts}
    clauses = []
    for concept in concepts:
        ids = own[concept]
        forms = [] if no_inflection else [_encoded(tokenizer, form) for form in _inflections(concept)]
        others = (form for form in forms if form[: len(ids)] != ids and form not in own.values())
        clauses.append(tuple(dict.fromkeys([ids, *others])))
    return tuple(clauses)


def _inflections(word: str) -> list[str]:
    import lemminflect  # takes a second, so only where inflections are asked for

    return [form for forms in lemminflect.getAllInflections(word).values() for form in forms]


def _encoded(tokenizer: Any, word: str) -> tuple[int, ...]:
    return tuple(int(token) for token in tokenizer.encode(f" {word}", add_special_tokens=False))
