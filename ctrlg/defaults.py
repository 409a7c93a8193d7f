"""One default for each concept, wherever it is asked for: in Python, on the command line, in the pipeline."""

METHOD = "log-norm-q"
"""Of compression: it loses far less than Norm-Q at every number of bits (docs/results.md)."""

BITS = 5
"""Of a code: as in the HMMs that this package carries."""

AWARE_METHOD = "norm-q"
"""Of quantization inside of EM: as published."""

AWARE_BITS = 8
"""Of a code there: as in Norm-Q's scripts."""

BEAMS = 8
"""Of a search."""

MAX_STATES = 20_000
"""Of an automaton on the way: what its look-ahead tables need memory for."""
