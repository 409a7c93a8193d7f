"""Ctrl-G's module of automata: `from ctrlg.dfa import *` gives its names, and `np`, `torch`, `nn` and `Queue`."""

# A star import gives every name in here: there is no list of them beside the imports.
# ruff: noqa: F401

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
