"""What a user asks of a text, turned into automata for a tokenizer."""

from ctrlg.constraints.base import AllOf, AnyOf, Constraint, Not
from ctrlg.constraints.counting import Count, CountParity
from ctrlg.constraints.ending import EndsWith
from ctrlg.constraints.exclusion import Exclude
from ctrlg.constraints.json_schema.constraint import Json
from ctrlg.constraints.keywords import Keywords, Ordered
from ctrlg.constraints.one_line import OneLine
from ctrlg.constraints.one_sentence import OneSentence
from ctrlg.constraints.patterns.counts import CapitalWords, Case, CharacterCount, LetterCount
from ctrlg.constraints.patterns.fixed_texts import Choice, StartsWith
from ctrlg.constraints.patterns.infill import Infill
from ctrlg.constraints.patterns.layout import Lines, ParagraphCount
from ctrlg.constraints.patterns.regex import Contains, Regex
from ctrlg.constraints.patterns.sentences import SentenceCount
from ctrlg.constraints.places.positions import Apart, At
from ctrlg.constraints.places.separators import After, Before
from ctrlg.constraints.word_count import WordCount

__all__ = [
    "After",
    "AllOf",
    "AnyOf",
    "Apart",
    "At",
    "Before",
    "CapitalWords",
    "Case",
    "CharacterCount",
    "Choice",
    "Constraint",
    "Contains",
    "Count",
    "CountParity",
    "EndsWith",
    "Exclude",
    "Infill",
    "Json",
    "Keywords",
    "LetterCount",
    "Lines",
    "Not",
    "OneLine",
    "OneSentence",
    "Ordered",
    "ParagraphCount",
    "Regex",
    "SentenceCount",
    "StartsWith",
    "WordCount",
]
