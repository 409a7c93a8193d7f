"""What tokens are made of: the bytes behind every token id, and the characters that automata over text read."""

from ctrlg.vocabulary.token_bytes import Vocabulary

__all__ = ["Vocabulary"]
