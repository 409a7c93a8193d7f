"""One step of decoding under a constraint: what the automaton allows, and how the HMM weighs it."""

from ctrlg.decoding.processor import ConstraintLogitsProcessor

__all__ = ["ConstraintLogitsProcessor"]
