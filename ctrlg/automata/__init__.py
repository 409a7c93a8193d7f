"""Promises as deterministic finite automata over token classes: algebra, builders and Ctrl-G's names."""

from ctrlg.automata.algebra import product
from ctrlg.automata.builders import contains, trivial
from ctrlg.automata.dfa import DFA
from ctrlg.automata.graphs import (
    AhoCorasickBuilder,
    DFA_concatenate,
    DFA_minimize,
    DFA_negate,
    DFA_prod,
    DFA_size,
    DFAModel,
    EOSBuilder,
    KMPBuilder,
    TrivialBuilder,
    WordCountBuilder,
    as_dfa,
)
from ctrlg.automata.lifting import TextDFA, lift
from ctrlg.automata.utf8 import whole_characters
from ctrlg.automata.vocabulary import Vocabulary

__all__ = [
    "DFA",
    "AhoCorasickBuilder",
    "DFAModel",
    "DFA_concatenate",
    "DFA_minimize",
    "DFA_negate",
    "DFA_prod",
    "DFA_size",
    "EOSBuilder",
    "KMPBuilder",
    "TextDFA",
    "TrivialBuilder",
    "Vocabulary",
    "WordCountBuilder",
    "as_dfa",
    "contains",
    "lift",
    "product",
    "trivial",
    "whole_characters",
]
