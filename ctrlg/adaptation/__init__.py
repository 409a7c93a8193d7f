"""Adapting a language model to a domain's sentences."""
