"""Sentences from files of any kind, and refusals that say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.tiny_models import tiny_tokenizer

from ctrlg.adaptation.sentences import encode_sentences, end_of_text_id, read_sentences, split_groups, tidy
from ctrlg.errors import ArgumentError, DataError, VocabularyError


@pytest.mark.parametrize(
    ("name", "content", "groups"),
    [
        ("a.txt", "One.\n\n Two. \r\n", [["One."], ["Two."]]),
        ("a.text", "One,two", [["One,two"]]),
        ("a.jsonl", '{"text": ["One.", " "]}\n\n{"text": "Two\u2028lines."}\n', [["One."], ["Two\u2028lines."]]),
        ("a.json", '["One.", {"text": ["Two.", "Three."]}]', [["One."], ["Two.", "Three."]]),
        ("a.csv", 'id,text\n1,"One, two."\n2,\n3,"Three\nlines"\n', [["One, two."], ["Three\nlines"]]),
    ],
)
def test_files_of_sentences(name: str, content: str, groups: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_sentences(tmp_path / name, "text") == groups


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}', "line 1 has no column 'text'\n  hint: it has: a"),
        ("a.jsonl", "{", "line 1 is not JSON"),
        ("a.jsonl", "[1]", "is a list, not an object"),
        ("a.jsonl", '{"text": 3}', "holds no text"),
        ("a.json", '{"text": "One."}', "is a dict"),
        ("a.json", '[{"a": 1}]', "entry 1 has no column 'text'"),
        ("a.csv", "id,name\n1,One\n", "no column 'text'\n  hint: it has: id, name"),
        ("a.csv", "", "no column 'text'"),
        ("a.txt", " \n", "holds no sentences"),
        ("a.txt", b"\xff\xfe\x00", "is no text in UTF-16"),
    ],
)
def test_files_without_sentences_are_refused(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read_sentences(tmp_path / name, "text")
    assert message in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data file"):
        read_sentences(tmp_path / "nowhere.txt")


def test_a_split_parts_no_group() -> None:
    groups = [[f"{group}.{sentence}" for sentence in range(1 + group % 3)] for group in range(30)]
    training, held_out = split_groups(groups, 9)
    assert sorted(training + held_out) == sorted(sentence for group in groups for sentence in group)
    assert not {text.split(".")[0] for text in training} & {text.split(".")[0] for text in held_out}
    assert 4 <= len(held_out) < 12
    with pytest.raises(DataError, match="cannot hold out 60 of 60"):
        split_groups(groups, 60)


def test_the_token_between_sentences() -> None:
    tokenizer = tiny_tokenizer()
    end = end_of_text_id(tokenizer)
    assert tokenizer.eos_token_id == end_of_text_id(tokenizer, "<|endoftext|>") == end
    assert end_of_text_id(tokenizer, "a") == tokenizer.convert_tokens_to_ids("a")
    with pytest.raises(VocabularyError, match="no token '</s>'"):
        end_of_text_id(tokenizer, "</s>")


def test_a_sentence_that_was_cut_has_no_end() -> None:
    tokenizer = tiny_tokenizer()
    end = end_of_text_id(tokenizer)
    content = tokenizer.encode("The dog ran.")
    for most in (len(content), len(content) + 1):
        assert encode_sentences(tokenizer, ["the  dog ran ,", " "], end, most) == [[end, *content, end]]
    for most in (1, len(content) - 1):
        assert encode_sentences(tokenizer, ["the dog ran"], end, most) == [[end, *content[:most]]]
    for wrong in (0, -1):
        with pytest.raises(ArgumentError, match=f"max_tokens is {wrong}"):
            encode_sentences(tokenizer, ["the dog ran"], end, wrong)


def test_tidy() -> None:
    assert tidy(" the dog  ran , then stopped . ") == "The dog ran, then stopped."
    assert tidy("who ran ?") == "Who ran?"
    assert tidy(" . ") == ""
