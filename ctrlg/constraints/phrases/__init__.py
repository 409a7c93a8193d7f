"""Phrases in a text: one construction, read as sure (what must occur) or as possible (what must not)."""
