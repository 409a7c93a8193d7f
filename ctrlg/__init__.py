"""Language models that keep promises: constrained generation with compressed hidden Markov models.

    import ctrlg
    model, tokenizer = ctrlg.assets.default_model()
    promise = ctrlg.Keywords([["dog"], ["park"]], inflect=True) & ctrlg.WordCount(6, 12)
    print(ctrlg.generate(model, tokenizer, ctrlg.load_hmm("default"), promise)[0].text)

The names of Ctrl-G (KMPBuilder ... rank_generated_ids) are here too, with its arguments.
"""

from ctrlg import assets
from ctrlg.automata import (
    DFA,
    AhoCorasickBuilder,
    DFA_concatenate,
    DFA_minimize,
    DFA_negate,
    DFA_prod,
    DFA_size,
    DFAModel,
    EOSBuilder,
    KMPBuilder,
    TrivialBuilder,
    Vocabulary,
    WordCountBuilder,
)
from ctrlg.constraints import Constraint, EndsWith, Exclude, Keywords, OneLine, Ordered, WordCount
from ctrlg.decoding import (
    ConstraintLogitsProcessor,
    GenerationResult,
    extract_generated_ids,
    generate,
    generate_many,
    rank_generated_ids,
)
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
from ctrlg.hmm import HMM
from ctrlg.matrices import CompressedMatrix, DenseMatrix, StochasticMatrix
from ctrlg.quantization import QuantizedHMM, load_hmm, log_norm_q, norm_q, quantize, refine

__all__ = [
    "DFA",
    "HMM",
    "AhoCorasickBuilder",
    "ArgumentError",
    "BudgetError",
    "CheckpointError",
    "CompressedMatrix",
    "Constraint",
    "ConstraintError",
    "ConstraintLogitsProcessor",
    "CtrlGError",
    "DFAModel",
    "DFA_concatenate",
    "DFA_minimize",
    "DFA_negate",
    "DFA_prod",
    "DFA_size",
    "DataError",
    "DenseMatrix",
    "EOSBuilder",
    "EndsWith",
    "Exclude",
    "GenerationResult",
    "KMPBuilder",
    "Keywords",
    "OneLine",
    "Ordered",
    "QuantizedHMM",
    "StochasticMatrix",
    "TrivialBuilder",
    "UnsatisfiableError",
    "Vocabulary",
    "VocabularyError",
    "WordCount",
    "WordCountBuilder",
    "assets",
    "extract_generated_ids",
    "generate",
    "generate_many",
    "load_hmm",
    "log_norm_q",
    "norm_q",
    "quantize",
    "rank_generated_ids",
    "refine",
]
