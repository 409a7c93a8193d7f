"""Ctrl-G's module of automata: `from ctrlg.dfa import *` gives its names, and `np`, `torch`, `nn` and `Queue`."""

from queue import Queue

import numpy as np
import torch
from torch import nn

from ctrlg.compat import (
    AhoCorasickBuilder,
    DFA_concatenate,
    DFA_concatenate_binary,
    DFA_merge_dead_states,
    DFA_merge_undistinguishable_states,
    DFA_minimize,
    DFA_negate,
    DFA_prod,
    DFA_prod_binary,
    DFA_remove_unreachable_states,
    DFA_size,
    DFAModel,
    EOSBuilder,
    KMPBuilder,
    TrivialBuilder,
    WordCountBuilder,
    edges2dict,
    edges2G,
    edges2states,
    set2npset,
)

__all__ = [
    "AhoCorasickBuilder",
    "DFAModel",
    "DFA_concatenate",
    "DFA_concatenate_binary",
    "DFA_merge_dead_states",
    "DFA_merge_undistinguishable_states",
    "DFA_minimize",
    "DFA_negate",
    "DFA_prod",
    "DFA_prod_binary",
    "DFA_remove_unreachable_states",
    "DFA_size",
    "EOSBuilder",
    "KMPBuilder",
    "Queue",
    "TrivialBuilder",
    "WordCountBuilder",
    "edges2G",
    "edges2dict",
    "edges2states",
    "nn",
    "np",
    "set2npset",
    "torch",
]
