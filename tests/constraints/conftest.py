"""Vocabularies the constraints are tried on: a small one whose tokens cut words and characters anywhere, and
GPT-2's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctrlg.vocabulary.token_bytes import Vocabulary


def synthetic_vocabulary() -> Vocabulary:
    """Every byte, and pieces of words such that the same text can be cut in many ways."""
    pieces = """ dog| Dog|dog|do|og| do|gs|s| hot| cat| the| The| park|par|k| party|art| a|ss|iss|café|caf| été|t|
        .| .|,| ,|...| -|\n|\t|  |'s| “|”|—|-|"| "|3|.5| 3|,000|狗|é|\u00a0|\u3000|²|_|\u00d7|K""".replace(
        "\n        ", ""
    )
    tokens = [None, None, *(bytes([byte]) for byte in range(256))]
    tokens += [piece.encode() for piece in pieces.split("|") if len(piece.encode()) > 1]
    tokens += [b"\xe2\x80", b"\xc2", b"\xe7\x8b", b"dog\xe2\x80", b"\x99s", b"\x9d ", b"\x80\x83", b"\xe3\x80", None]
    return Vocabulary(tuple(tokens), eos_token_id=1)


@pytest.fixture(scope="session")
def synthetic() -> Vocabulary:
    return synthetic_vocabulary()


@pytest.fixture(scope="session")
def gpt2(shared_data: Path) -> Vocabulary:
    from transformers import GPT2Tokenizer

    return Vocabulary.of(GPT2Tokenizer.from_pretrained(shared_data / "gpt2_tokenizer"))


@pytest.fixture(scope="session", params=["synthetic", "gpt2"])
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return request.getfixturevalue(request.param)
