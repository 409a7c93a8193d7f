"""Training data sampled from a language model, in chunks that an interrupted job goes on from."""
