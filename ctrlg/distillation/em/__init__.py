"""EM over sampled sequences, from one checkpoint to the next."""
