"""The forms under which a concept counts: its inflections, and which of them belong to another concept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=4096)
def inflections(phrase: str) -> tuple[str, ...]:
    """The phrase and its inflections over all parts of speech, by lemminflect and, for what it lacks, a short table.

    The phrase comes first.

    A word that is no lemma itself is inflected like the lemmas it comes from; a word that is in no dictionary like a
    regular noun and verb. Of a word with hyphens the last part is inflected, or the first where a particle follows it
    ("mothers-in-law"). In a phrase of several words, one word at a time is inflected.
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
    first, hyphen, rest = word.partition("-")
    if not (first and hyphen and rest) or _tables([word], None):
        return sorted(_forms(word, None))
    parts = word.split("-")
    before, last = "-".join(parts[:-1]), parts[-1]
    if not _PARTICLES.intersection(parts[1:]):
        return sorted(f"{before}-{form}" for form in _forms(last, None))
    # The noun comes first: "mothers-in-law", "passers-by". Many take the ending of a whole word as well: "push-ups".
    return sorted({f"{form}-{rest}" for form in _forms(first, "NOUN")} | {f"{word}s", f"{before}-{last}"})


def _forms(word: str, part: str | None) -> set[str]:
    """Inflections of a word, as one part of speech or as any."""
    import lemminflect  # takes a second, so only where inflections are asked for

    lemmas, tables = [word], _tables([word], part)
    if not tables:
        found = {lemma for lemmas in lemminflect.getAllLemmas(word, part).values() for lemma in lemmas}
        found |= {lemma for lemma, forms in _MISSING.items() if word in forms}
        lemmas = sorted(found) or [word]
        tables = _tables(lemmas, part)
    is_known = bool(tables)
    if not tables:
        parts = ("NOUN", "VERB") if part is None else (part,)
        tables = [lemminflect.getAllInflectionsOOV(lemma, each) for lemma in lemmas for each in parts]
    forms = {form for table in tables for forms in table.values() for form in forms}
    return forms.union(lemmas, *(_irregular(lemma, is_known) for lemma in lemmas))


def _tables(lemmas: Sequence[str], part: str | None) -> list[dict[str, tuple[str, ...]]]:
    """Inflections of lemminflect's dictionary by their tags, of those lemmas that it knows."""
    import lemminflect

    return [table for lemma in lemmas if (table := lemminflect.getAllInflections(lemma, part))]


def _irregular(lemma: str, is_known: bool) -> set[str]:
    """Irregular forms that lemminflect lacks. is_known: whether its dictionary has the word, and so most plurals."""
    endings = _ENDINGS if is_known else (*_ENDINGS, *_ENDINGS_OF_UNKNOWN)
    plurals = (lemma.removesuffix(one) + many for one, many in endings if lemma.endswith(one))
    return {*_MISSING.get(lemma, ()), *plurals}


_PARTICLES = frozenset(  # behind the noun of a compound
    ("about", "at", "away", "by", "down", "for", "in", "of", "off", "on", "out", "over", "to", "under", "up", "with")
)
_ENDINGS = (("person", "people"), ("child", "children"))
_ENDINGS_OF_UNKNOWN = (
    ("man", "men"),
    ("louse", "lice"),
    ("mouse", "mice"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("eau", "eaux"),
)
_MISSING = {
    "brother": ("brethren",),
    "cherub": ("cherubim",),
    "clothe": ("clad",),
    "gild": ("gilt",),
    "handwrite": ("handwrote", "handwritten"),
    "knit": ("knitted",),
    "leap": ("leaped",),
    "lie": ("lain",),
    "melt": ("molten",),
    "ox": ("oxen",),
    "paparazzo": ("paparazzi",),
    "prove": ("proven",),
    "seraph": ("seraphim",),
    "shave": ("shaven",),
    "sightsee": ("sightsaw", "sightseen"),
    "sink": ("sunken",),
    "skydive": ("skydove",),
    "sneak": ("snuck",),
    "sunburn": ("sunburnt",),
    "troubleshoot": ("troubleshot",),
}
"""Forms of common words that lemminflect's dictionary lacks: a list of English irregular verbs and plurals was held
against it."""
