"""Compression of HMMs: Norm-Q, log-norm-q, what they are compared with, the compressed model and its files."""

from ctrlg.quantization.baselines import METHODS, Method
from ctrlg.quantization.comparison import comparison_hmm
from ctrlg.quantization.fidelity import (
    FidelityRow,
    SequenceLoss,
    fidelity_table,
    held_out_log_likelihood,
    kl_sequence,
    markdown_table,
)
from ctrlg.quantization.loading import load_hmm
from ctrlg.quantization.log_norm_q import log_norm_q, log_norm_q_rows, state_occupancy
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.quantization.norm_q import QuantizedRows, norm_q, norm_q_rows
from ctrlg.quantization.quantize import quantize
from ctrlg.quantization.refine import RefineStep, refine
from ctrlg.quantization.unnormalised import UnnormalisedHMM

__all__ = [
    "METHODS",
    "FidelityRow",
    "Method",
    "QuantizedHMM",
    "QuantizedRows",
    "RefineStep",
    "SequenceLoss",
    "UnnormalisedHMM",
    "comparison_hmm",
    "fidelity_table",
    "held_out_log_likelihood",
    "kl_sequence",
    "load_hmm",
    "log_norm_q",
    "log_norm_q_rows",
    "markdown_table",
    "norm_q",
    "norm_q_rows",
    "quantize",
    "refine",
    "state_occupancy",
]
