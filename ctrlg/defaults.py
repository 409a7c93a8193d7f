"""One default for each concept, wherever it is asked for: in Python, on the command line, in the pipeline."""

METHOD = "log-norm-q"
"""Of compression: it loses far less than Norm-Q at every number of bits (docs/results.md)."""

BITS = 5
"""Of a code: as in the HMMs that this package carries."""

NORM_Q, NORM_Q_BITS = "norm-q", 8
"""What Norm-Q's own scripts take: for EM that is aware of quantization, and where a script has their flags."""

BEAMS = 8
"""Of a search."""

TOKENS = 32
"""Most tokens of a sequence that is sampled, and of a caption."""

MAX_STATES = 20_000
"""Of an automaton on the way: what its look-ahead tables need memory for."""

EXACT_STATES = 2_000
"""Of one automaton for a whole constraint in `generate`; above it the parts are kept apart (docs/sizes.md)."""
