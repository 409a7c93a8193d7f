"""Promises as deterministic finite automata over token classes: algebra, builders and Ctrl-G's names."""

from ctrlg.automata.algebra import product
from ctrlg.automata.dfa import DFA

__all__ = ["DFA", "product"]
