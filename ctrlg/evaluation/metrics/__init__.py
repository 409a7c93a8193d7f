"""Scores of sentences against references."""
