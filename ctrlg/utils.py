"""Ctrl-G's module of decoding: `from ctrlg.utils import *` gives its names, and `torch` and `LogitsProcessor`."""

# A star import gives every name in here: there is no list of them beside the imports.
# ruff: noqa: F401

import torch
from transformers import LogitsProcessor

from ctrlg.compat import (
    ConstraintLogitsProcessor,
    aggregate_edge_weights,
    asymq,
    distribute_state_weights,
    ends_at,
    logsumexp,
    matmul_a_logb,
    matmul_log,
    matmul_loga_b,
    q_matmul,
    q_matmul_a_logb,
    q_matmul_log,
    q_matmul_loga_b,
    symq,
)
from ctrlg.generation import extract_generated_ids, rank_generated_ids
