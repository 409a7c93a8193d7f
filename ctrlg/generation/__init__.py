"""Whole texts under constraints: prompts in, searched or sampled, ranked texts out."""

from ctrlg.generation.generate import GenerationResult, generate, generate_many
from ctrlg.generation.ranking import extract_generated_ids, rank_generated_ids, score_generated_ids

__all__ = [
    "GenerationResult",
    "extract_generated_ids",
    "generate",
    "generate_many",
    "rank_generated_ids",
    "score_generated_ids",
]
