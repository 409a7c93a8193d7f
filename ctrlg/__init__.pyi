# The names of `import ctrlg`, each loaded when it is first used.
from . import (
    assets as assets,
)
from . import (
    automata as automata,
)
from . import (
    compat as compat,
)
from . import (
    constraints as constraints,
)
from . import (
    decoding as decoding,
)
from . import (
    dfa as dfa,
)
from . import (
    errors as errors,
)
from . import (
    generation as generation,
)
from . import (
    hmm as hmm,
)
from . import (
    inspection as inspection,
)
from . import (
    loading as loading,
)
from . import (
    matrices as matrices,
)
from . import (
    mytest as mytest,
)
from . import (
    quantization as quantization,
)
from . import (
    utils as utils,
)
from . import (
    vocabulary as vocabulary,
)
from .automata import DFA as DFA
from .compat import (
    AhoCorasickBuilder as AhoCorasickBuilder,
)
from .compat import (
    ConstraintLogitsProcessor as ConstraintLogitsProcessor,
)
from .compat import (
    DFA_concatenate as DFA_concatenate,
)
from .compat import (
    DFA_concatenate_binary as DFA_concatenate_binary,
)
from .compat import (
    DFA_merge_dead_states as DFA_merge_dead_states,
)
from .compat import (
    DFA_merge_undistinguishable_states as DFA_merge_undistinguishable_states,
)
from .compat import (
    DFA_minimize as DFA_minimize,
)
from .compat import (
    DFA_negate as DFA_negate,
)
from .compat import (
    DFA_prod as DFA_prod,
)
from .compat import (
    DFA_prod_binary as DFA_prod_binary,
)
from .compat import (
    DFA_remove_unreachable_states as DFA_remove_unreachable_states,
)
from .compat import (
    DFA_size as DFA_size,
)
from .compat import (
    DFAModel as DFAModel,
)
from .compat import (
    EOSBuilder as EOSBuilder,
)
from .compat import (
    KMPBuilder as KMPBuilder,
)
from .compat import (
    TrivialBuilder as TrivialBuilder,
)
from .compat import (
    WordCountBuilder as WordCountBuilder,
)
from .compat import (
    aggregate_edge_weights as aggregate_edge_weights,
)
from .compat import (
    asymq as asymq,
)
from .compat import (
    concepts2cnf as concepts2cnf,
)
from .compat import (
    distribute_state_weights as distribute_state_weights,
)
from .compat import (
    edges2dict as edges2dict,
)
from .compat import (
    edges2G as edges2G,
)
from .compat import (
    edges2states as edges2states,
)
from .compat import (
    ends_at as ends_at,
)
from .compat import (
    logsumexp as logsumexp,
)
from .compat import (
    matmul_a_logb as matmul_a_logb,
)
from .compat import (
    matmul_log as matmul_log,
)
from .compat import (
    matmul_loga_b as matmul_loga_b,
)
from .compat import (
    q_matmul as q_matmul,
)
from .compat import (
    q_matmul_a_logb as q_matmul_a_logb,
)
from .compat import (
    q_matmul_log as q_matmul_log,
)
from .compat import (
    q_matmul_loga_b as q_matmul_loga_b,
)
from .compat import (
    set2npset as set2npset,
)
from .compat import (
    symq as symq,
)
from .constraints import (
    After as After,
)
from .constraints import (
    Apart as Apart,
)
from .constraints import (
    At as At,
)
from .constraints import (
    Before as Before,
)
from .constraints import (
    CapitalWords as CapitalWords,
)
from .constraints import (
    Case as Case,
)
from .constraints import (
    CharacterCount as CharacterCount,
)
from .constraints import (
    Choice as Choice,
)
from .constraints import (
    Constraint as Constraint,
)
from .constraints import (
    Contains as Contains,
)
from .constraints import (
    Count as Count,
)
from .constraints import (
    CountParity as CountParity,
)
from .constraints import (
    EndsWith as EndsWith,
)
from .constraints import (
    Exclude as Exclude,
)
from .constraints import (
    Infill as Infill,
)
from .constraints import (
    Json as Json,
)
from .constraints import (
    Keywords as Keywords,
)
from .constraints import (
    LetterCount as LetterCount,
)
from .constraints import (
    Lines as Lines,
)
from .constraints import (
    OneLine as OneLine,
)
from .constraints import (
    OneSentence as OneSentence,
)
from .constraints import (
    Ordered as Ordered,
)
from .constraints import (
    ParagraphCount as ParagraphCount,
)
from .constraints import (
    Regex as Regex,
)
from .constraints import (
    SentenceCount as SentenceCount,
)
from .constraints import (
    StartsWith as StartsWith,
)
from .constraints import (
    WordCount as WordCount,
)
from .errors import (
    ArgumentError as ArgumentError,
)
from .errors import (
    BudgetError as BudgetError,
)
from .errors import (
    CheckpointError as CheckpointError,
)
from .errors import (
    ConstraintError as ConstraintError,
)
from .errors import (
    CtrlGError as CtrlGError,
)
from .errors import (
    DataError as DataError,
)
from .errors import (
    UnsatisfiableError as UnsatisfiableError,
)
from .errors import (
    VocabularyError as VocabularyError,
)
from .generation import (
    GenerationResult as GenerationResult,
)
from .generation import (
    Generator as Generator,
)
from .generation import (
    extract_generated_ids as extract_generated_ids,
)
from .generation import (
    generate as generate,
)
from .generation import (
    generate_many as generate_many,
)
from .generation import (
    rank_generated_ids as rank_generated_ids,
)
from .hmm import (
    HMM as HMM,
)
from .hmm import (
    ib_ib_bj_to_ij as ib_ib_bj_to_ij,
)
from .hmm import (
    matmul as matmul,
)
from .inspection import (
    Explanation as Explanation,
)
from .inspection import (
    explain as explain,
)
from .loading import (
    load_hmm as load_hmm,
)
from .matrices import (
    CompressedMatrix as CompressedMatrix,
)
from .matrices import (
    DenseMatrix as DenseMatrix,
)
from .matrices import (
    StochasticMatrix as StochasticMatrix,
)
from .quantization import (
    QuantizedHMM as QuantizedHMM,
)
from .quantization import (
    log_norm_q as log_norm_q,
)
from .quantization import (
    norm_q as norm_q,
)
from .quantization import (
    quantize as quantize,
)
from .quantization import (
    refine as refine,
)
from .vocabulary import Vocabulary as Vocabulary

__all__ = [
    "DFA",
    "HMM",
    "After",
    "AhoCorasickBuilder",
    "Apart",
    "ArgumentError",
    "At",
    "Before",
    "BudgetError",
    "CapitalWords",
    "Case",
    "CharacterCount",
    "CheckpointError",
    "Choice",
    "CompressedMatrix",
    "Constraint",
    "ConstraintError",
    "ConstraintLogitsProcessor",
    "Contains",
    "Count",
    "CountParity",
    "CtrlGError",
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
    "DataError",
    "DenseMatrix",
    "EOSBuilder",
    "EndsWith",
    "Exclude",
    "Explanation",
    "GenerationResult",
    "Generator",
    "Infill",
    "Json",
    "KMPBuilder",
    "Keywords",
    "LetterCount",
    "Lines",
    "OneLine",
    "OneSentence",
    "Ordered",
    "ParagraphCount",
    "QuantizedHMM",
    "Regex",
    "SentenceCount",
    "StartsWith",
    "StochasticMatrix",
    "TrivialBuilder",
    "UnsatisfiableError",
    "Vocabulary",
    "VocabularyError",
    "WordCount",
    "WordCountBuilder",
    "aggregate_edge_weights",
    "assets",
    "asymq",
    "concepts2cnf",
    "dfa",
    "distribute_state_weights",
    "edges2G",
    "edges2dict",
    "edges2states",
    "ends_at",
    "explain",
    "extract_generated_ids",
    "generate",
    "generate_many",
    "ib_ib_bj_to_ij",
    "load_hmm",
    "log_norm_q",
    "logsumexp",
    "matmul",
    "matmul_a_logb",
    "matmul_log",
    "matmul_loga_b",
    "mytest",
    "norm_q",
    "q_matmul",
    "q_matmul_a_logb",
    "q_matmul_log",
    "q_matmul_loga_b",
    "quantize",
    "rank_generated_ids",
    "refine",
    "set2npset",
    "symq",
    "utils",
]
