"""Hidden Markov models: parameters and inference."""

from torch import matmul  # `ctrlg.hmm.matmul` is a name of Ctrl-G's

from ctrlg.hmm.expectation import CountSums, ExpectedCounts, TotalCounts, expected_counts, total_counts
from ctrlg.hmm.flows import ib_ib_bj_to_ij
from ctrlg.hmm.inference import (
    Filtered,
    Parameters,
    Smoothed,
    filter_tokens,
    log_likelihood,
    smooth_tokens,
)
from ctrlg.hmm.learning import Estimate, Prior, maximize
from ctrlg.hmm.model import HMM
from ctrlg.hmm.sequences import SavedOverHMMs, SequenceModel

__all__ = [
    "HMM",
    "CountSums",
    "Estimate",
    "ExpectedCounts",
    "Filtered",
    "Parameters",
    "Prior",
    "SavedOverHMMs",
    "SequenceModel",
    "Smoothed",
    "TotalCounts",
    "expected_counts",
    "filter_tokens",
    "ib_ib_bj_to_ij",
    "log_likelihood",
    "matmul",
    "maximize",
    "smooth_tokens",
    "total_counts",
]
