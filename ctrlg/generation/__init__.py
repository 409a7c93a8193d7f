"""Whole texts under constraints: prompts in, searched or sampled, ranked texts out."""

from ctrlg.generation.generate import generate, generate_many
from ctrlg.generation.generator import Generator
from ctrlg.generation.ranking import extract_generated_ids, rank_generated_ids, score_generated_ids
from ctrlg.generation.results import GenerationResult, Timing
from ctrlg.generation.tracing import Preferred, Trace, TraceStep

__all__ = [
    "GenerationResult",
    "Generator",
    "Preferred",
    "Timing",
    "Trace",
    "TraceStep",
    "extract_generated_ids",
    "generate",
    "generate_many",
    "rank_generated_ids",
    "score_generated_ids",
]
