"""Token bytes of the usual kinds of tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast

from ctrlg.errors import VocabularyError
from ctrlg.vocabulary.token_bytes import Vocabulary


def byte_level() -> PreTrainedTokenizerFast:
    """All 256 bytes, " dog" and an end-of-text token."""
    marks = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<eos>", *marks, "do", "dog", "Ġdog"]
    vocab = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, [("d", "o"), ("do", "g"), ("Ġ", "dog")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def sentence_piece() -> PreTrainedTokenizerFast:
    """BPE as SentencePiece exports it: a mark for the space, bytes as <0xNN>, a space put before every text."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"dogé", "▁d", "▁do", "▁dog"]
    vocab = {piece: place for place, piece in enumerate(pieces)}
    merges = [("▁", "d"), ("▁d", "o"), ("▁do", "g")]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>", unk_token="<unk>")


def tokens(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@given(text=st.text(max_size=12))
@settings(deadline=None, max_examples=60)
def test_byte_level_tokens_join_to_the_text(text: str) -> None:
    tokenizer = byte_level()
    assert Vocabulary.of(tokenizer).decode(tokens(tokenizer, text)) == text


@given(text=st.text(alphabet="dog é狗\n", max_size=12))
@settings(deadline=None, max_examples=60)
def test_sentence_piece_tokens_join_to_the_text_behind_a_space(text: str) -> None:
    tokenizer = sentence_piece()
    assert Vocabulary.of(tokenizer).decode(tokens(tokenizer, text)) == (" " + text if text else "")


def test_gpt2_decodes_as_its_tokenizer(shared_data: Path) -> None:
    tokenizer = GPT2Tokenizer.from_pretrained(shared_data / "gpt2_tokenizer")
    vocabulary = Vocabulary.of(tokenizer)
    assert vocabulary.vocab_size == 50257
    assert vocabulary.token_bytes[vocabulary.eos_token_id] is None
    assert sum(data is None for data in vocabulary.token_bytes) == 1
    for text in ("The “dog” — 3.5 % of it 😀 naïve 狗\tend\n", " hello  world"):
        assert vocabulary.decode(tokens(tokenizer, text)) == text
        assert vocabulary.spell([text]) == [tuple(tokens(tokenizer, text))]


def test_special_added_padding_and_empty_tokens_are_no_content() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["<|tool|>"])
    known = len(tokenizer)
    vocabulary = Vocabulary.of(tokenizer, vocab_size=known + 3)
    assert vocabulary.token_bytes[vocabulary.eos_token_id] is None
    assert vocabulary.token_bytes[known - 1 :] == (None,) * 4
    assert Vocabulary((b"a", b"", b"b"), eos_token_id=2).token_bytes == (b"a", None, None)


def test_spelling_without_a_tokenizer_takes_the_longest_tokens() -> None:
    vocabulary = Vocabulary((b"", b"d", b"o", b"g", b"do", b" do"), eos_token_id=0)
    assert vocabulary.spell(["dog", " dog", "cat"]) == [(4, 3), (5, 3), None]


def test_spelling_with_sentence_piece_is_exact() -> None:
    vocabulary = Vocabulary.of(sentence_piece())
    for text in (" dog", "dog", " dé狗"):
        (ids,) = vocabulary.spell([text])
        assert ids is not None and vocabulary.decode(ids) == text
    (usual,) = vocabulary.spell([" dog"])
    assert usual is not None and len(usual) == 1


def test_fingerprints_tell_vocabularies_apart() -> None:
    base = Vocabulary((b"a", b"bc", None), eos_token_id=2)
    assert base.fingerprint == Vocabulary((b"a", b"bc", b"<eos>"), eos_token_id=2).fingerprint
    others = [
        Vocabulary((b"ab", b"c", None), eos_token_id=2),
        Vocabulary((b"bc", b"a", None), eos_token_id=2),
        Vocabulary((b"a", b"bc", None, None), eos_token_id=2),
        Vocabulary((b"a", b"bc", None, None), eos_token_id=3),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_of_keeps_what_it_made_and_passes_vocabularies_through() -> None:
    tokenizer = byte_level()
    vocabulary = Vocabulary.of(tokenizer)
    assert Vocabulary.of(tokenizer) is vocabulary
    assert Vocabulary.of(vocabulary) is vocabulary
    assert Vocabulary.of(tokenizer, eos_token_id=5) is not vocabulary
    tokenizer.add_tokens(["<new>"])
    assert Vocabulary.of(tokenizer).vocab_size == vocabulary.vocab_size + 1


def test_refusals() -> None:
    tokenizer = byte_level()
    vocabulary = Vocabulary.of(tokenizer)
    with pytest.raises(VocabularyError, match="vocab_size is 3"):
        Vocabulary.of(tokenizer, vocab_size=3)
    with pytest.raises(VocabularyError, match="vocab_size is 3"):
        Vocabulary.of(vocabulary, vocab_size=3)
    with pytest.raises(VocabularyError, match="outside the vocabulary"):
        Vocabulary((b"a",), eos_token_id=1)
    with pytest.raises(VocabularyError, match="empty"):
        Vocabulary((), eos_token_id=0)
    with pytest.raises(VocabularyError, match="outside the vocabulary"):
        vocabulary.decode([vocabulary.vocab_size])
    tokenizer.eos_token = None
    with pytest.raises(VocabularyError, match="no end-of-text token"):
        Vocabulary.of(tokenizer)


def marked(pieces: list[str], decoder: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *((piece, -1.0) for piece in pieces)], 0))
    tokenizer.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


SPACES = decoders.Metaspace(prepend_scheme="always")
BYTES = decoders.ByteFallback()
UNLIKE_THEIR_DECODER: dict[str, tuple[list[str], Any, str]] = {
    "another mark": (
        ["dog", "_dog"],
        decoders.Metaspace(replacement="_"),
        r"token 3 should read '_dog'.* writes ' dog'",
    ),
    "another mark, behind a word": (["dog", "d_"], decoders.Metaspace("_", "never"), "'d_'.* writes 'd '"),
    "bytes without fallback": (["dog", "<0x59>"], SPACES, "should read 'Y'.* writes '<0x59>'"),
    "two marks": (["dog", "▁dog", "▁A▁"], decoders.Sequence([BYTES, SPACES]), "should read ' A '.* writes 'A'"),
}


@pytest.mark.parametrize("name", UNLIKE_THEIR_DECODER)
def test_tokens_that_their_decoder_writes_otherwise_are_refused(name: str) -> None:
    pieces, decoder, message = UNLIKE_THEIR_DECODER[name]
    with pytest.raises(VocabularyError, match=message) as refused:
        Vocabulary.of(marked(pieces, decoder))
    assert "ByteFallback" in refused.value.hint


def test_the_byte_of_a_space_may_stay_where_its_mark_is_dropped() -> None:
    tokenizer = marked(["dog", "▁dog", "▁", "▁▁", "<0x20>"], decoders.Sequence([BYTES, SPACES]))
    vocabulary = Vocabulary.of(tokenizer)
    assert [vocabulary.drops_space_of(token) for token in range(2, 7)] == [False, True, True, True, False]


def test_word_piece_is_refused() -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "dog": 1, "##s": 2, "[SEP]": 3}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(VocabularyError, match="neither the bytes nor the spaces"):
        Vocabulary.of(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="[SEP]"))
