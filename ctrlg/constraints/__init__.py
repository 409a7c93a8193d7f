"""What a user asks of a text, turned into automata for a tokenizer."""

from ctrlg.constraints.base import AllOf, AnyOf, Constraint, Not
from ctrlg.constraints.ending import EndsWith
from ctrlg.constraints.exclusion import Exclude
from ctrlg.constraints.keywords import Keywords, Ordered
from ctrlg.constraints.one_line import OneLine
from ctrlg.constraints.one_sentence import OneSentence
from ctrlg.constraints.patterns.regex import Contains, Regex
from ctrlg.constraints.word_count import WordCount

__all__ = [
    "AllOf",
    "AnyOf",
    "Constraint",
    "Contains",
    "EndsWith",
    "Exclude",
    "Keywords",
    "Not",
    "OneLine",
    "OneSentence",
    "Ordered",
    "Regex",
    "WordCount",
]
