"""Judging constrained generation: concept sets, and how near sentences come to their references."""
