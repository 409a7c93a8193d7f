"""What all scores check of their input."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from ctrlg.errors import DataError

Texts = Mapping[Any, Sequence[str]]


def check_corpus(gts: Texts, res: Texts) -> list[Hashable]:
    """The keys, in the order of `gts`.

    gts: references, at least one a key. res: sentences, one a key. Raises DataError where they are not, and where the
    keys differ.
    """
    for name, texts in (("gts", gts), ("res", res)):
        if not isinstance(texts, Mapping) or not texts:
            raise DataError(f"{name} is {texts!r}", hint="a dictionary of lists of texts, with at least one key")
    if without := [key for key in (*gts, *res) if key not in gts or key not in res]:
        raise DataError(f"{without[0]!r} is a key of only one of gts and res", hint="a sentence for every references")
    for key in gts:
        _check_texts("gts", key, gts[key])
        _check_texts("res", key, res[key])
        if len(res[key]) > 1:
            raise DataError(f"res[{key!r}] has {len(res[key])} sentences", hint="one sentence a key")
    return list(gts)


def _check_texts(name: str, key: Hashable, texts: Any) -> None:
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{name}[{key!r}] is {texts!r}", hint="a list of at least one text, tokens separated by spaces")
