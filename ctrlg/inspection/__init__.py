"""What is inside an HMM, and what compression took from it."""

from ctrlg.inspection.fidelity import (
    FidelityRow,
    SequenceLoss,
    fidelity_table,
    held_out_log_likelihood,
    kl_sequence,
    markdown_table,
)

__all__ = [
    "FidelityRow",
    "SequenceLoss",
    "fidelity_table",
    "held_out_log_likelihood",
    "kl_sequence",
    "markdown_table",
]
