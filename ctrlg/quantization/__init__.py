"""Compression of HMMs: Norm-Q, log-norm-q, what they are compared with, the compressed model and its files."""

from ctrlg.quantization.comparison import comparison_hmm
from ctrlg.quantization.log_norm_q import log_norm_q, log_norm_q_rows, state_occupancy
from ctrlg.quantization.methods import METHODS, Method
from ctrlg.quantization.model import QuantizedHMM
from ctrlg.quantization.norm_q import norm_q, norm_q_rows
from ctrlg.quantization.quantize import quantize
from ctrlg.quantization.refine import RefineStep, refine
from ctrlg.quantization.unnormalised import UnnormalisedHMM

__all__ = [
    "METHODS",
    "Method",
    "QuantizedHMM",
    "RefineStep",
    "UnnormalisedHMM",
    "comparison_hmm",
    "log_norm_q",
    "log_norm_q_rows",
    "norm_q",
    "norm_q_rows",
    "quantize",
    "refine",
    "state_occupancy",
]
