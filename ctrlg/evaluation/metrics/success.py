"""Which concepts a sentence uses, judged on its text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ctrlg.constraints import Keywords, Ordered


def covered(sentence: str, concepts: Sequence[str], substring: bool = False) -> list[bool]:
    """For each concept whether some inflection of it occurs, whatever its case: as a whole word ("art" is not in
    "party"), or anywhere (Norm-Q's check).

    A form that two concepts share counts for the one that it is listed with (`Keywords`).

    Args:
        sentence: any text.
        concepts: lemmas.
        substring: anywhere, also inside of words.

    Returns:
        One truth value a concept.
    """
    if substring:
        lowered = sentence.lower()
        return [any(form.lower() in lowered for form in forms) for forms in _forms(concepts)]
    return [bool(Keywords([list(forms)]).holds(sentence)) for forms in _forms(concepts)]


def constraints_kept(sentence: str, concepts: Sequence[str]) -> bool:
    """Norm-Q's check, whose mean it calls constraints accuracy: every concept, or one of its inflections by lemminflect
    that is not another concept, occurs in the text, be it inside of a word. Case counts: "Dogs" has no "dog".

    Args:
        sentence: any text.
        concepts: lemmas.
    """
    return all(
        any(form in sentence for form in {concept, *_inflected(concept) - set(concepts)}) for concept in concepts
    )


@lru_cache(maxsize=4096)
def _inflected(word: str) -> frozenset[str]:
    import lemminflect  # takes a second, so only where it is needed

    return frozenset(form for forms in lemminflect.getAllInflections(word).values() for form in forms)


def _forms(concepts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The forms of every concept, one that is given twice included."""
    return Ordered([[concept] for concept in concepts], inflect=True).forms
