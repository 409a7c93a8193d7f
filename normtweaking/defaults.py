"""One default for each concept, wherever it is asked for: in Python and on the command line."""

BITS = 4
"""Of a rounded weight."""

BATCH_SIZE = 8
"""Texts at once."""
