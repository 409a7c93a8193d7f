"""The first HMM: clusters of the language model's hidden states."""
