"""Weights rounded to few levels, and files of them."""
