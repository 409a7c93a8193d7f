"""Patterns, schemas and texts for constraints that are regular languages."""
