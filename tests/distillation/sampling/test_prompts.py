"""Prompts from files of three kinds, chat templates, end-of-text tokens, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.tiny_models import END_OF_TEXT, tiny_tokenizer

from ctrlg.distillation.sampling.prompts import encode_prompts, end_of_text, read_prompts
from ctrlg.errors import ArgumentError, DataError, VocabularyError

TEMPLATE = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("prompts.json", '["the dog", "run é"]'),
        ("prompts", '["the dog", "run é"]'),
        ("prompts.jsonl", '"the dog"\n\n{"prompt": "run é", "other": 1}\n'),
        ("prompts.txt", "the dog\n\nrun é\n"),
        ("prompts.txt", "\ufeffthe dog\r\nrun é"),
    ],
)
def test_files_of_prompts(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_prompts(tmp_path / name) == ["the dog", "run é"]


def test_only_line_feeds_end_a_prompt(tmp_path: Path) -> None:
    prompts = [f"the{mark}dog" for mark in "\u2028\u2029\u0085\v\f\x1c"]
    (tmp_path / "p.txt").write_text("\r\n".join(prompts), encoding="utf-8", newline="")
    assert read_prompts(tmp_path / "p.txt") == prompts
    lines = [json.dumps({"prompt": prompt}, ensure_ascii=False) for prompt in prompts]
    (tmp_path / "p.jsonl").write_text("\r\n".join(lines), encoding="utf-8", newline="")
    assert read_prompts(tmp_path / "p.jsonl") == prompts


def test_another_column(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"text": "dog"}')
    assert read_prompts(tmp_path / "p.jsonl", "text") == ["dog"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "the dog", "not JSON"),
        ("p.json", '{"prompt": "dog"}', "holds a dict"),
        ("p.json", '["dog", 3]', "prompt 2 is no text: 3"),
        ("p.json", "[]", "holds no prompts"),
        ("p.jsonl", '"dog"\n{"prompt"', "line 2 is not JSON"),
        ("p.jsonl", '{"text": "dog"}', "prompt 1 is no text: null"),
        ("p.txt", "\n\n", "holds no prompts"),
    ],
)
def test_files_that_hold_no_prompts_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_prompts(tmp_path / name)


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00\xd8")
    for name in ("nowhere.txt", "bytes"):
        with pytest.raises(DataError, match=name):
            read_prompts(tmp_path / name)


def test_a_chat_template_makes_a_users_turn() -> None:
    tokenizer = tiny_tokenizer()
    plain = encode_prompts(tokenizer, ["the dog"])
    assert plain == [tokenizer.encode("the dog")]
    with pytest.raises(DataError, match="has no chat template"):
        encode_prompts(tokenizer, ["the dog"], chat_template=True)
    tokenizer.chat_template = TEMPLATE
    (row,) = encode_prompts(tokenizer, ["the dog"], chat_template=True)
    assert tokenizer.decode(row) == "<user>the dog>"


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(DataError, match="prompt 2, '', has no tokens"):
        encode_prompts(tiny_tokenizer(), ["dog", ""])


def test_end_of_text() -> None:
    tokenizer = tiny_tokenizer()
    assert end_of_text(tokenizer) == tokenizer.eos_token_id == end_of_text(tokenizer, END_OF_TEXT)
    with pytest.raises(VocabularyError, match="no token '<end>'"):
        end_of_text(tokenizer, "<end>")
    tokenizer.eos_token = None
    with pytest.raises(ArgumentError, match="no end-of-text token"):
        end_of_text(tokenizer)
