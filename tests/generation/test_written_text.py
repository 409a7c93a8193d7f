"""The text is what the written tokens decode to, whole characters, and constraints are judged on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.tiny_models import TOKENIZERS, tiny_language_model
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from ctrlg.automata.utf8 import whole_characters
from ctrlg.constraints import Constraint, EndsWith, Exclude, Keywords, OneLine, WordCount
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.errors import ArgumentError
from ctrlg.generation import generate
from ctrlg.generation.compiled import Place, compiled
from ctrlg.hmm import HMM
from ctrlg.vocabulary.token_bytes import Vocabulary

MODELS = {name: tiny_language_model(len(tokenizer)) for name, tokenizer in TOKENIZERS.items()}
CASES: list[tuple[Constraint, str, str]] = [
    (Keywords(["dog"]), "", "."),
    (OneLine(), "The", " in the park."),
    (~OneLine(), "", "."),
    (EndsWith(["running"]), "The dog", "ning."),
    (Exclude(["dog park"]), "The dog", " park."),
    (WordCount(3, 4) & Keywords(["park"]), " The do", "g"),
]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """What every call of transformers' `generate` returns."""
    seen: list[torch.Tensor] = []
    original: Any = LlamaForCausalLM.generate  # pyright: ignore[reportAttributeAccessIssue]

    def spy(self: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(original(self, *arguments, **options))
        return seen[-1]

    monkeypatch.setattr(LlamaForCausalLM, "generate", spy)
    yield seen


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_text_is_what_the_tokens_decode_to(name: str, case: int, rows: list[torch.Tensor]) -> None:
    constraint, prefix, suffix = CASES[case]
    tokenizer: Any = TOKENIZERS[name]
    results = generate(
        MODELS[name], tokenizer, None, constraint, prefix=prefix, suffix=suffix, max_new_tokens=5, num_beams=4,
        num_return_sequences=4, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    decoded = {
        tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False) for row in rows[0].tolist()
    }
    assert results
    for result in results:
        assert result.text in decoded
        assert result.satisfied and constraint.holds(result.text)
        assert result.text.startswith(prefix) and result.text.endswith(suffix)
        assert "\ufffd" not in result.text


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.text(alphabet="The dogparkuni.狗é😀\n", min_size=1, max_size=12))
@settings(deadline=None, max_examples=30)
def test_what_is_spelled_decodes_to_the_text(name: str, text: str) -> None:
    tokenizer: Any = TOKENIZERS[name]
    vocabulary = Vocabulary.of(tokenizer)
    (inside,), beginning = vocabulary.spell([text]), vocabulary.spell_beginning(text)
    assert inside is not None and vocabulary.join(inside) == text.encode()
    assert beginning is not None and tokenizer.decode(beginning, clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_text_is_what_the_tokens_decode_to_whatever_comes_first(name: str) -> None:
    tokenizer: Any = TOKENIZERS[name]
    vocabulary = Vocabulary.of(tokenizer)
    constraint = compiled(Keywords(["dog"]), vocabulary, Place("", ".", True, (1, 32), False), 1000)
    (dog,) = vocabulary.spell(["dog"])
    assert dog is not None
    for first, data in enumerate(vocabulary.token_bytes):
        if data and data.isascii() and not (constraint.drops_space and data.startswith(b"  ")):
            ids = [first, *dog]
            whole = [*ids, *constraint.suffix_ids[:-1]]
            assert constraint.text(ids) == tokenizer.decode(whole, clean_up_tokenization_spaces=False)


def test_a_spelling_is_found_wherever_there_is_one() -> None:
    vocabulary = Vocabulary((b"ab", b"abc", b"cd", b"a", None), eos_token_id=4)
    assert vocabulary.spell(["abcd", "aabc", "abcb"]) == [(0, 2), (3, 1), None]


def test_what_the_tokenizer_cannot_write_is_refused() -> None:
    tokenizer = TOKENIZERS["byte-level"]
    vocabulary = Vocabulary((b"a", b" b", b".", None), eos_token_id=3)
    with pytest.raises(ArgumentError, match="cannot write the suffix") as refused:
        compiled(WordCount(1), vocabulary, Place("", "!", True, (1, 32), False), 1000)
    assert "'!'" in refused.value.hint
    with pytest.raises(ArgumentError, match="generate: prefix is"):
        generate(MODELS["byte-level"], tokenizer, None, WordCount(1), suffix=".", prefix="\ud83d")


@pytest.mark.parametrize("word", ["Nguyễn", "é", "狗"])
@pytest.mark.parametrize("name", ["byte-level", "prepending"])
def test_texts_never_end_inside_a_character(word: str, name: str) -> None:
    tokenizer: Any = TOKENIZERS[name]
    hmm = HMM(3, len(tokenizer), tokenizer.eos_token_id)
    results = generate(
        MODELS[name], tokenizer, hmm, Keywords([word]), suffix=".", do_sample=True, num_return_sequences=16, seed=0,
        max_new_tokens=24,
    )  # fmt: skip
    assert len(results) == 16
    for result in results:
        assert "\ufffd" not in result.text and result.satisfied
        assert Vocabulary.of(tokenizer).join(result.token_ids).decode() == result.text.removesuffix(".") or (
            Vocabulary.of(tokenizer).drops_first_space
        )


@given(
    pieces=st.lists(
        st.sampled_from([b"a", b"\xe7\x8b\x97", b"\xf0", b"\x9f", b"\x98\x80", b"\xed", b"\xc3", b"\xa9 b"])
    )
)
def test_whole_characters_are_what_python_decodes(pieces: list[bytes]) -> None:
    tokens = [b"a", b"\xe7\x8b\x97", b"\xf0", b"\x9f", b"\x98\x80", b"\xed", b"\xc3", b"\xa9 b"]
    automaton = whole_characters(Vocabulary((*tokens, None), eos_token_id=8))
    try:
        b"".join(pieces).decode()
        whole = True
    except UnicodeDecodeError:
        whole = False
    assert automaton.accepts([tokens.index(piece) for piece in pieces]) == whole
    assert not automaton.accepts([8])


@given(data=st.binary(max_size=6))
@settings(max_examples=300)
def test_whole_characters_by_the_byte(data: bytes) -> None:
    vocabulary = Vocabulary((*(bytes([byte]) for byte in range(256)), None), eos_token_id=256)
    assert whole_characters(vocabulary).accepts(data) == (data.decode(errors="replace").encode() == data)


@pytest.mark.parametrize("seed", range(4))
def test_a_mask_only_forbids(seed: int) -> None:
    """What the mask allows is what the product of both automata allows, weighted as without the mask."""
    tokenizer = TOKENIZERS["byte-level"]
    vocabulary = Vocabulary.of(tokenizer)
    eos = vocabulary.eos_token_id
    torch.manual_seed(seed)
    hmm = HMM(3, len(tokenizer), eos)
    dfa = (Keywords(["é"]) if seed % 2 else WordCount(1, 2)).compile(vocabulary, suffix=".")
    suffix = list(vocabulary.spell(["."])[0] or ())
    mask = whole_characters(vocabulary)
    arguments: Any = {"min_new_tokens": 1, "max_new_tokens": 6, "prompt_ids": [eos], "suffix_ids": suffix}
    masked = ConstraintLogitsProcessor(hmm, dfa, mask=mask, **arguments)
    unguided = ConstraintLogitsProcessor(None, dfa, mask=mask, eos_token_id=eos, **arguments)
    without = ConstraintLogitsProcessor(hmm, dfa, **arguments)
    product = ConstraintLogitsProcessor(None, dfa & mask, eos_token_id=eos, **arguments)
    row = torch.tensor([[eos]])
    for _ in range(5):
        allowed = product.log_ratio(row).isfinite()
        assert torch.equal(masked.log_ratio(row).isfinite(), allowed)
        assert torch.equal(unguided.log_ratio(row).isfinite(), allowed)
        torch.testing.assert_close(masked.log_ratio(row)[allowed], without.log_ratio(row)[allowed])
        halves = [token for token in allowed[0].nonzero()[:, 0].tolist() if token != eos and allowed[0].sum() > 1]
        partial = [token for token in halves if (vocabulary.token_bytes[token] or b"a")[-1] >= 0x80]
        chosen = (partial or halves or [eos])[seed % len(partial or halves or [eos])]
        row = torch.cat([row, torch.tensor([[chosen]])], 1)
