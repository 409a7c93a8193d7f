"""Language models that keep promises: constrained generation with compressed hidden Markov models.

    import ctrlg
    model, tokenizer = ctrlg.assets.default_model()
    promise = ctrlg.Keywords([["dog"], ["park"]], inflect=True) & ctrlg.WordCount(6, 12)
    print(ctrlg.generate(model, tokenizer, ctrlg.load_hmm("default"), promise)[0].text)

The names of Ctrl-G and Norm-Q (KMPBuilder ... rank_generated_ids) are here too, with their arguments: `ctrlg.compat`.
"""

from ctrlg import assets, compat, dfa, mytest, utils
from ctrlg.automata import DFA, Vocabulary
from ctrlg.compat import *  # noqa: F403
from ctrlg.constraints import Constraint, EndsWith, Exclude, Keywords, OneLine, OneSentence, Ordered, WordCount
from ctrlg.decoding import GenerationResult, extract_generated_ids, generate, generate_many, rank_generated_ids
from ctrlg.errors import (
    ArgumentError,
    BudgetError,
    CheckpointError,
    ConstraintError,
    CtrlGError,
    DataError,
    UnsatisfiableError,
    VocabularyError,
)
from ctrlg.hmm import HMM, ib_ib_bj_to_ij, matmul
from ctrlg.matrices import CompressedMatrix, DenseMatrix, StochasticMatrix
from ctrlg.quantization import QuantizedHMM, load_hmm, log_norm_q, norm_q, quantize, refine

__all__ = [
    "DFA",
    "HMM",
    "ArgumentError",
    "BudgetError",
    "CheckpointError",
    "CompressedMatrix",
    "Constraint",
    "ConstraintError",
    "CtrlGError",
    "DataError",
    "DenseMatrix",
    "EndsWith",
    "Exclude",
    "GenerationResult",
    "Keywords",
    "OneLine",
    "OneSentence",
    "Ordered",
    "QuantizedHMM",
    "StochasticMatrix",
    "UnsatisfiableError",
    "Vocabulary",
    "VocabularyError",
    "WordCount",
    "assets",
    "dfa",
    "extract_generated_ids",
    "generate",
    "generate_many",
    "ib_ib_bj_to_ij",
    "load_hmm",
    "log_norm_q",
    "matmul",
    "mytest",
    "norm_q",
    "quantize",
    "rank_generated_ids",
    "refine",
    "utils",
]
__all__ += compat.__all__
