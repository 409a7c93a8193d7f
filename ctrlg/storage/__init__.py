"""Checkpoints of HMMs: where they are found, what their files hold, and codes in few bits."""
