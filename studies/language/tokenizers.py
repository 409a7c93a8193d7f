"""Small tokenizers of the kinds that matter: how they write a space, and characters that they have no piece for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ctrlg.loading.language_models import load_tokenizer
from studies.language.texts import POOL

_SPACE = "\u2581"


def tokenizer_of(name: str) -> Any:
    """One of KINDS, or the tokenizer of a language model: a name or a folder."""
    return KINDS[name]() if name in KINDS else load_tokenizer(name)


def byte_fallback() -> Any:
    """BPE as SentencePiece exports it (Llama 2): a mark for the space, and bytes for unknown characters."""
    from tokenizers import Tokenizer, models, normalizers

    pieces, pairs = _pieces(), _pairs()
    vocab = {piece: number for number, piece in enumerate([*pieces, *pairs])}
    merges = [(pair[0], pair[1]) for pair in pairs]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])  # type: ignore[assignment]
    return _wrapped(tokenizer, strips=True)


def unigram() -> Any:
    """Unigram with byte fallback (Gemma's way with spaces: marked, none put before a text)."""
    from tokenizers import Tokenizer, models, normalizers

    scores = [(piece, -1.0 - 9 * (len(piece) < 2)) for piece in [*_pieces(), *_pairs()]]
    tokenizer = Tokenizer(models.Unigram(scores, 0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)  # type: ignore[assignment]
    return _wrapped(tokenizer, strips=False)


KINDS = {"byte-fallback": byte_fallback, "unigram": unigram}


def _pieces() -> list[str]:
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return list(dict.fromkeys([*special, _SPACE, *POOL.replace(" ", "")]))


def _pairs() -> list[str]:
    """Every character of the pool with its neighbour and with the mark."""
    letters = POOL.replace(" ", "").replace("\n", "")
    pairs = [left + right for left, right in pairwise(letters)]
    return list(dict.fromkeys([*pairs, *(_SPACE + letter for letter in letters)]))


def _wrapped(tokenizer: Any, strips: bool) -> Any:
    from tokenizers import decoders
    from transformers import PreTrainedTokenizerFast

    steps: list[Any] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strips else steps)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>", unk_token="<unk>")
