"""Regular languages over text: character sets, expressions, Python's patterns, and the automata they become."""

from ctrlg.regular.character_sets import CharacterSet
from ctrlg.regular.expressions import (
    ANYTHING,
    NOTHING,
    At,
    Characters,
    Expression,
    Graph,
    OneOf,
    Place,
    Repeat,
    Sequence,
    Within,
    literal,
)
from ctrlg.regular.language import Language
from ctrlg.regular.patterns import parsed
from ctrlg.regular.positions import language_of

__all__ = [
    "ANYTHING",
    "NOTHING",
    "At",
    "CharacterSet",
    "Characters",
    "Expression",
    "Graph",
    "Language",
    "OneOf",
    "Place",
    "Repeat",
    "Sequence",
    "Within",
    "language_of",
    "literal",
    "parsed",
]
