"""Compression of HMMs: Norm-Q, log-norm-q, the compressed model and its files."""

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

__all__ = [
    "FidelityRow",
    "QuantizedHMM",
    "QuantizedRows",
    "RefineStep",
    "SequenceLoss",
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
