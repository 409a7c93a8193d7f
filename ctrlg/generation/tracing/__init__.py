"""How a text was written, token by token: what the guide believed and what the language model preferred."""

from ctrlg.generation.tracing.trace import Preferred, Trace, TraceStep, traced

__all__ = ["Preferred", "Trace", "TraceStep", "traced"]
