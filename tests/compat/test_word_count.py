"""Counting words in tokens, against counting them in the text, for several kinds of tokenizers."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AddedToken, GPT2Tokenizer, PreTrainedTokenizerFast

from ctrlg.automata import as_dfa
from ctrlg.compat import AhoCorasickBuilder, DFA_prod, DFA_size, DFAModel, WordCountBuilder
from ctrlg.constraints import WordCount
from ctrlg.errors import ArgumentError, ConstraintError, VocabularyError

PIECES = (
    *("a", "b", "dog", " dog", " cat", "s", "'", "-", " ", "  ", "\n", "\n\n", "\t", ".", ",", ":", ";", '"', "/"),
    *(" a b", "x, y", ". The", "3", ".5", "é", " É", "\u00a0z", "(", ") ", "...", " \n w", "don't"),
)


def byte_level() -> Any:
    """Byte-level BPE with the pieces, halves of a character, a special and an added token."""
    writer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = [writer.pre_tokenize_str(piece)[0][0] for piece in PIECES]
    pieces += writer.pre_tokenize_str("é")[0][0]
    vocab = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.add_tokens([AddedToken("    ", special=False)])
    return fast


def sentence_piece(with_end: bool = True) -> Any:
    """SentencePiece with byte fallback; a space is written as U+2581."""
    pieces = ["<unk>", "<s>", "</s>", "<0x0A>", "<0x09>"]
    pieces += [piece.replace(" ", "\u2581") for piece in PIECES if "\n" not in piece and "\t" not in piece]
    vocab = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    ends = {"eos_token": "</s>", "bos_token": "<s>"} if with_end else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **ends)


def count_words(text: str) -> int:
    """Pieces between separators that hold a letter or digit."""
    return sum(any(character.isalnum() for character in piece) for piece in re.split(r'[\s,.:;"/]', text))


def text_of(tokenizer: Any, ids: list[int]) -> str:
    """The text of tokens in its place, after a word that keeps its leading space."""
    first = tokenizer.convert_tokens_to_ids("a")
    return tokenizer.decode([first, *ids], skip_special_tokens=True, clean_up_tokenization_spaces=False)[1:]


TOKENIZERS = {"byte level": byte_level(), "sentencepiece": sentence_piece()}
HALVES = tuple(TOKENIZERS["byte level"].convert_tokens_to_ids(list("Ã©")))  # the two bytes of an é
BUILDERS = {name: WordCountBuilder(tokenizer, 64) for name, tokenizer in TOKENIZERS.items()}


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, max_examples=100)
@given(data=st.data(), low=st.integers(0, 4), more=st.integers(0, 3))
def test_counts_are_those_of_the_text(name: str, data: st.DataObject, low: int, more: int) -> None:
    tokenizer = TOKENIZERS[name]
    dfa = as_dfa(BUILDERS[name].build(low, low + more), 64)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=8))
    written = [token for token in ids if token not in tokenizer.all_special_ids]
    assume(name != "byte level" or HALVES not in itertools.pairwise(written))  # see the test below
    assert dfa.accepts(ids) == (low <= count_words(text_of(tokenizer, ids)) <= low + more)


def test_a_character_in_two_tokens_counts_for_the_constraint_and_not_for_the_graph() -> None:
    tokenizer = TOKENIZERS["byte level"]
    assert text_of(tokenizer, list(HALVES)) == "é"
    assert as_dfa(BUILDERS["byte level"].build(0, 0), 64).accepts(HALVES)
    constraint = WordCount(0, 0).compile(tokenizer)
    assert constraint.accepts([]) and not constraint.accepts(HALVES)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_padding_and_special_tokens_neither_count_nor_separate(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    dfa = as_dfa(BUILDERS[name].build(1, 1))
    dog, plural = (tokenizer.convert_tokens_to_ids(piece) for piece in ("dog", "s"))
    for silent in (tokenizer.eos_token_id, len(tokenizer), 63):
        assert dfa.accepts([silent, dog, silent, plural, silent]) and not dfa.accepts([silent, silent])


def test_vocabularies_smaller_than_the_tokenizer() -> None:
    """The model may lack the tokens added last."""
    builder = WordCountBuilder(byte_level(), len(PIECES))
    dfa = as_dfa(builder.build(2, 2), len(PIECES))
    assert dfa.accepts([PIECES.index(piece) for piece in ("dog", " dog")])


def test_a_tokenizer_without_end_of_text() -> None:
    tokenizer = sentence_piece(with_end=False)
    assert tokenizer.eos_token_id is None
    dfa = as_dfa(WordCountBuilder(tokenizer, len(tokenizer)).build(1, 1))
    assert dfa.accepts([tokenizer.convert_tokens_to_ids("dog")])


def test_separators_can_be_chosen() -> None:
    tokenizer = TOKENIZERS["byte level"]
    a, b, hyphen, stop = (tokenizer.convert_tokens_to_ids(piece) for piece in ("a", "b", "-", "."))
    usual, chosen = (as_dfa(WordCountBuilder(tokenizer, 64, **sep).build(2, 2)) for sep in ({}, {"sep": ["-"]}))
    assert usual.accepts([a, stop, b]) and not usual.accepts([a, hyphen, b])
    assert chosen.accepts([a, hyphen, b]) and not chosen.accepts([a, stop, b])
    with pytest.raises(ArgumentError, match="'--' is not one character"):
        WordCountBuilder(tokenizer, 64, sep=["--"])


def test_ranges_that_are_none_are_refused() -> None:
    for low, high in ((3, 2), (-1, 2)):
        with pytest.raises(ConstraintError, match="is no range"):
            BUILDERS["byte level"].build(low, high)


def test_other_tokenizers_are_refused() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(VocabularyError):
        WordCountBuilder(PreTrainedTokenizerFast(tokenizer_object=words), 2)


def test_ctrl_gs_tutorial_with_gpt2(shared_data: Path) -> None:
    """Two choices of phrases and exactly ten words, as its notebook writes them."""
    if not (shared_data / "gpt2_tokenizer").is_dir():
        pytest.skip("no GPT-2 tokenizer among the data sets")
    tokenizer = GPT2Tokenizer.from_pretrained(shared_data / "gpt2_tokenizer")
    size = len(tokenizer)
    phrases = [[" riding a bike", " ride bikes", " rides a bike", " biking", " bikes"], [" park", " beach"]]
    graphs = [AhoCorasickBuilder(size).build([tokenizer.encode(p) for p in group]) for group in phrases]
    graphs.append(WordCountBuilder(tokenizer, size).build(10, 10))
    graph = DFA_prod(graphs, mode="intersection")
    model = DFAModel(graph, size)
    assert DFA_size(graph)[0] == model.num_states == 100

    def accepts(text: str) -> bool:
        return model.dfa.accepts(tokenizer.encode(text))

    assert accepts(" A man is riding a bike on the beach today")
    assert not accepts(" A man is riding a bike on the beach")
    assert not accepts(" A man is riding a horse on the beach today")
    assert accepts(" My friends ride bikes,\nwe run in the\tsunny park")
    shortest = model.dfa.shortest_accepted()
    assert shortest is not None
    assert count_words(tokenizer.decode(shortest)) == 10


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("sep", [None, ["-", "d"]])
def test_ctrlg_s_masks_say_how_tokens_begin_and_whether_they_hold_words(name: str, sep: list[str] | None) -> None:
    tokenizer = TOKENIZERS[name]
    builder = WordCountBuilder(tokenizer, 64, **({} if sep is None else {"sep": sep}))
    separators = sep or [" ", "\n", ",", ".", ":", ";", '"', "/"]
    for mask in ("vocab0x", "vocabx0", "vocabx1", "vocab10", "vocab11", "vocab_set"):
        assert getattr(builder, mask).dtype == bool and getattr(builder, mask).shape == (64,)
    assert builder.vocab_set.all()
    for token in range(64):
        silent = token >= len(tokenizer) or token in tokenizer.all_special_ids
        text = "" if silent else text_of(tokenizer, [token])
        begins = text[:1] in separators
        holds = any(character.isalpha() or character.isdigit() for character in text)
        found = [builder.vocab0x[token], builder.vocabx0[token], builder.vocabx1[token]]
        assert found == [not begins, not holds, holds], text
        assert (builder.vocab10[token], builder.vocab11[token]) == (begins and not holds, begins and holds), text
