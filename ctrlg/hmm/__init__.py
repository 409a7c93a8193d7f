"""Hidden Markov models: parameters and inference."""

from ctrlg.hmm.inference import (
    ExpectedCounts,
    Filtered,
    Parameters,
    Smoothed,
    expected_counts,
    filter_tokens,
    log_likelihood,
    smooth_tokens,
)
from ctrlg.hmm.learning import Prior, maximise
from ctrlg.hmm.model import HMM
from ctrlg.hmm.sequences import SequenceModel

__all__ = [
    "HMM",
    "ExpectedCounts",
    "Filtered",
    "Parameters",
    "Prior",
    "SequenceModel",
    "Smoothed",
    "expected_counts",
    "filter_tokens",
    "log_likelihood",
    "maximise",
    "smooth_tokens",
]
