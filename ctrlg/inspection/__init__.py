"""What is inside an HMM, what compression took from it, and what a constraint comes down to."""

from ctrlg.inspection.explain import Explanation, explain
from ctrlg.inspection.fidelity import (
    FidelityRow,
    SequenceLoss,
    fidelity_table,
    held_out_log_likelihood,
    kl_sequence,
    markdown_table,
)

__all__ = [
    "Explanation",
    "FidelityRow",
    "SequenceLoss",
    "explain",
    "fidelity_table",
    "held_out_log_likelihood",
    "kl_sequence",
    "markdown_table",
]
