"""Triton kernels, imported only where tensors lie on a GPU (or Triton's interpreter is asked for)."""
