"""Random language models of a few thousand parameters and a byte tokenizer: `generate` without downloads."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
WORDS = ["dog", "park", "run", "the", "s"]


def tiny_language_model(
    vocab_size: int, seed: int = 0, eos_token_id: int | None = None, layers: int = 1, initializer_range: float = 0.3
) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=initializer_range,
        bos_token_id=None,
        eos_token_id=eos_token_id,
        pad_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over all bytes, with some words, alone and after a space, and one special token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pairs = [(word[:length], word[length]) for length in range(1, len(word))]
        for left, right in [*pairs, ("Ġ", word)]:
            merges.append((left, right))
            vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT)


_WORDS = ["▁dog", "▁park", "▁run", "▁The", "▁the", "▁in", "ning", "dog", "run", "n"]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_PIECES = [
    "<unk>",
    "<s>",
    END_OF_TEXT,
    *_BYTES,
    "▁",
    ".",
    *"Ttheardogpkunig",
    *_WORDS,
]  # every single character of the words is there


def _bpe() -> Tokenizer:
    """BPE with byte fallback, whose merges build each of the words from left to right."""
    vocab: dict[str, int] = {}
    merges: list[tuple[str, str]] = []
    for piece in _PIECES:
        vocab.setdefault(piece, len(vocab))
    for word in _WORDS:
        for length in range(1, len(word)):
            merge = (word[:length], word[length])
            vocab.setdefault(word[: length + 1], len(vocab))
            if merge not in merges:
                merges.append(merge)
    return Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))


def _unigram() -> Tokenizer:
    pieces = list(dict.fromkeys(_PIECES))
    return Tokenizer(models.Unigram([(piece, -1.0 - 9 * (len(piece) < 2)) for piece in pieces], 0, byte_fallback=True))


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, bos_token="<s>", unk_token="<unk>"
    )


def metaspace(kind: str, scheme: str) -> PreTrainedTokenizerFast:
    """A mark for the space, put before texts "always", "first" or "never". kind: "bpe" or "unigram"."""
    tokenizer = _bpe() if kind == "bpe" else _unigram()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)  # type: ignore[assignment]
    spaces: list[Any] = [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)]
    tokenizer.decoder = decoders.Sequence(spaces)  # type: ignore[assignment]
    return _wrapped(tokenizer)


def prepending() -> PreTrainedTokenizerFast:
    """As Llama 2: the normalizer puts the space, the decoder takes it away."""
    tokenizer = _bpe()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])  # type: ignore[assignment]
    tokenizer.decoder = decoders.Sequence(  # type: ignore[assignment]
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _wrapped(tokenizer)


def replacing() -> PreTrainedTokenizerFast:
    """As Gemma: spaces are marked, none is put."""
    tokenizer = _bpe()
    tokenizer.normalizer = normalizers.Replace(" ", "▁")  # type: ignore[assignment]
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])  # type: ignore[assignment]
    return _wrapped(tokenizer)


def byte_level(add_prefix_space: bool) -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)  # type: ignore[assignment]
    return tokenizer


TOKENIZERS = {
    "byte-level": byte_level(False),
    "byte-level, space": byte_level(True),
    "prepending": prepending(),
    "replacing": replacing(),
    **{
        f"{kind}, {scheme}": metaspace(kind, scheme)
        for kind in ("bpe", "unigram")
        for scheme in ("always", "first", "never")
    },
}
