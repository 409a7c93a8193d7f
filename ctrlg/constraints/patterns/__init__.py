"""Constraints that are regular languages over text."""
