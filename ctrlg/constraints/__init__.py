"""What a user asks of a text, turned into automata for a tokenizer."""

from ctrlg.constraints.base import AllOf, AnyOf, Constraint, Not
from ctrlg.constraints.counting import Count, CountParity
from ctrlg.constraints.ending import EndsWith
from ctrlg.constraints.exclusion import Exclude
from ctrlg.constraints.keywords import Keywords, Ordered
from ctrlg.constraints.one_line import OneLine
from ctrlg.constraints.one_sentence import OneSentence
from ctrlg.constraints.positions import Apart, At
from ctrlg.constraints.separators import After, Before
from ctrlg.constraints.word_count import WordCount

__all__ = [
    "After",
    "AllOf",
    "AnyOf",
    "Apart",
    "At",
    "Before",
    "Constraint",
    "Count",
    "CountParity",
    "EndsWith",
    "Exclude",
    "Keywords",
    "Not",
    "OneLine",
    "OneSentence",
    "Ordered",
    "WordCount",
]
