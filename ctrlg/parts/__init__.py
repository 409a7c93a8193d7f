"""Constraints of any size: automata kept apart, whose states are followed side by side instead of multiplied."""

from ctrlg.parts.factored import Factored
from ctrlg.parts.nfa import NFA, alternatives, sequence

__all__ = ["NFA", "Factored", "alternatives", "sequence"]
