"""Automata over text that look for phrases: the construction behind `Keywords`, `Ordered`, `Exclude` and `EndsWith`."""

from ctrlg.constraints.phrases.search import PhraseSearch

__all__ = ["PhraseSearch"]
