"""Constraints as deterministic finite automata over token classes: algebra and builders."""

from ctrlg.automata.algebra import product
from ctrlg.automata.builders import contains, trivial
from ctrlg.automata.dfa import DFA
from ctrlg.automata.graph_conversion import as_dfa
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.automata.utf8 import whole_characters

__all__ = [
    "DFA",
    "TextDFA",
    "as_dfa",
    "contains",
    "lift",
    "product",
    "trivial",
    "whole_characters",
]
