"""The parts of `benchmarks/gpu.py`, one subject a file."""
