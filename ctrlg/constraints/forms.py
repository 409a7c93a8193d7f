"""The forms under which a concept counts: its inflections, and which of them belong to another concept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=4096)
def inflections(phrase: str) -> tuple[str, ...]:
    """The phrase and its inflections over all parts of speech, by lemminflect; the phrase comes first.

    A word that is no lemma itself is inflected like the lemmas it comes from; a word that is in no dictionary like a
    regular noun and verb. In a phrase of several words, one word at a time is inflected.
    """
    words = phrase.split()
    forms = dict.fromkeys([" ".join(words)])
    for place, word in enumerate(words):
        for form in _word_inflections(word.lower()):
            forms[" ".join([*words[:place], form, *words[place + 1 :]])] = None
    return tuple(forms)


def forms_of(groups: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The forms of every group, such that no concept counts as an inflection of another (the rule of CommonGen).

    A form written in a group belongs to it, and to no group that merely inflects to it. A form to which several groups
    inflect, written in none, would be a guess and belongs to none: "leaves" keeps neither "leaf" nor "leave" if
    both are asked for.
    """
    written = [{phrase.lower() for phrase in group} for group in groups]
    inflected = [{form.lower() for phrase in group for form in inflections(phrase)} for group in groups]

    def belongs(form: str, group: int) -> bool:
        others = [other for other in range(len(groups)) if other != group]
        return not any(form in written[other] or form in inflected[other] for other in others)

    return tuple(
        tuple(
            dict.fromkeys(
                form
                for phrase in group
                for form in inflections(phrase)
                if form.lower() in written[index] or belongs(form.lower(), index)
            )
        )
        for index, group in enumerate(groups)
    )


def _word_inflections(word: str) -> list[str]:
    import lemminflect  # takes a second, so only where inflections are asked for

    tables = [lemminflect.getAllInflections(word)]
    if not tables[0]:
        lemmas = {lemma for found in lemminflect.getAllLemmas(word).values() for lemma in found}
        tables = [lemminflect.getAllInflections(lemma) for lemma in sorted(lemmas)]
    if not any(tables):
        tables = [lemminflect.getAllInflectionsOOV(word, part) for part in ("NOUN", "VERB")]
    return sorted({form for table in tables for forms in table.values() for form in forms})
