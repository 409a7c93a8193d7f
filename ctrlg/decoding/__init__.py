"""Decoding under a promise: look-ahead tables, the logits processor, `generate` and ranking."""

from ctrlg.decoding.generation import GenerationResult, generate, generate_many
from ctrlg.decoding.processor import ConstraintLogitsProcessor
from ctrlg.decoding.ranking import extract_generated_ids, rank_generated_ids, score_generated_ids

__all__ = [
    "ConstraintLogitsProcessor",
    "GenerationResult",
    "extract_generated_ids",
    "generate",
    "generate_many",
    "rank_generated_ids",
    "score_generated_ids",
]
