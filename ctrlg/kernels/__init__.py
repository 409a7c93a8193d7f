"""Kernels of the matrix operations: `reference` in torch for any device and dtype, `cpu` in numba."""
