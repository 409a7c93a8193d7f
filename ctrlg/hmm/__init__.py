"""Hidden Markov models: parameters and inference."""

from ctrlg.hmm.expectation import CountSums, ExpectedCounts, TotalCounts, expected_counts, total_counts
from ctrlg.hmm.inference import (
    Filtered,
    Parameters,
    Smoothed,
    filter_tokens,
    log_likelihood,
    smooth_tokens,
)
from ctrlg.hmm.learning import Estimate, Prior, maximise
from ctrlg.hmm.model import HMM
from ctrlg.hmm.sequences import SequenceModel

__all__ = [
    "HMM",
    "CountSums",
    "Estimate",
    "ExpectedCounts",
    "Filtered",
    "Parameters",
    "Prior",
    "SequenceModel",
    "Smoothed",
    "TotalCounts",
    "expected_counts",
    "filter_tokens",
    "log_likelihood",
    "maximise",
    "smooth_tokens",
    "total_counts",
]
