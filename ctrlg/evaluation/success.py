"""Which concepts a sentence uses, judged on its text."""

from __future__ import annotations

from collections.abc import Sequence

from ctrlg.constraints import Keywords


def covered(sentence: str, concepts: Sequence[str], substring: bool = False) -> list[bool]:
    """For each concept whether some inflection of it occurs, whatever its case: as a whole word ("art" is not in
    "party"), or anywhere (Norm-Q's check).

    A form that two concepts share counts for the one that it is listed with (`Keywords`).
    """
    if substring:
        lowered = sentence.lower()
        return [any(form.lower() in lowered for form in forms) for forms in _keywords(concepts).forms]
    return [bool(Keywords([list(forms)]).holds(sentence)) for forms in _keywords(concepts).forms]


def _keywords(concepts: Sequence[str]) -> Keywords:
    return Keywords([[concept] for concept in concepts], inflect=True)
