"""The names of Ctrl-G (Zhang et al. 2024) and Norm-Q for programs that were written against them.

They are reached as `ctrlg.NAME`, and from the modules `ctrlg.dfa`, `ctrlg.hmm`, `ctrlg.utils` and `ctrlg.mytest` where
the two projects have them. The library itself imports nothing from here.
"""

from ctrlg.compat.concepts import concepts2cnf
from ctrlg.compat.dfa_model import DFAModel
from ctrlg.compat.edge_lists import edges2dict, edges2G, edges2states, set2npset
from ctrlg.compat.graph_builders import (
    AhoCorasickBuilder,
    EOSBuilder,
    KMPBuilder,
    TrivialBuilder,
    WordCountBuilder,
)
from ctrlg.compat.graphs import (
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
)
from ctrlg.compat.log_products import (
    aggregate_edge_weights,
    distribute_state_weights,
    logsumexp,
    matmul_a_logb,
    matmul_log,
    matmul_loga_b,
)
from ctrlg.compat.processor import ConstraintLogitsProcessor, ends_at
from ctrlg.compat.quantized_products import (
    asymq,
    q_matmul,
    q_matmul_a_logb,
    q_matmul_log,
    q_matmul_loga_b,
    symq,
)

__all__ = [
    "AhoCorasickBuilder",
    "ConstraintLogitsProcessor",
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
    "TrivialBuilder",
    "WordCountBuilder",
    "aggregate_edge_weights",
    "asymq",
    "concepts2cnf",
    "distribute_state_weights",
    "edges2G",
    "edges2dict",
    "edges2states",
    "ends_at",
    "logsumexp",
    "matmul_a_logb",
    "matmul_log",
    "matmul_loga_b",
    "q_matmul",
    "q_matmul_a_logb",
    "q_matmul_log",
    "q_matmul_loga_b",
    "set2npset",
    "symq",
]
