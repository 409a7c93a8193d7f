"""Texts piece by piece, and what other ways of running `generate` do with a constraint."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import TOKENIZERS, tiny_language_model, tiny_tokenizer
from transformers import LogitsProcessorList, TextIteratorStreamer

from ctrlg import Exclude, Generator, Keywords, WordCount
from ctrlg.decoding import ConstraintLogitsProcessor
from ctrlg.engines.requests import Guiding, Request
from ctrlg.errors import ArgumentError, UnsatisfiableError
from ctrlg.hmm import HMM

TOKENIZER = tiny_tokenizer()
EOS = int(TOKENIZER.eos_token_id)  # type: ignore[arg-type]
MODEL = tiny_language_model(len(TOKENIZER))
HUB = Path(__file__).parents[2] / "examples" / "hub"


@pytest.fixture(scope="module")
def hmm() -> HMM:
    torch.manual_seed(1)
    return HMM(4, len(TOKENIZER), EOS)


@pytest.fixture(scope="module")
def generator(hmm: HMM) -> Generator:
    return Generator(MODEL, TOKENIZER, hmm)


@pytest.mark.parametrize(
    "ways", [{}, {"do_sample": True, "seed": 3}, {"prefix": "the dog", "suffix": " run."}], ids=str
)
def test_the_pieces_are_the_text(generator: Generator, ways: dict[str, Any]) -> None:
    settings = {"suffix": ".", "max_new_tokens": 9} | ways
    pieces = list(generator.stream(Keywords(["park"]), **settings))
    (whole,) = generator(Keywords(["park"]), num_beams=1, **settings)
    assert "".join(pieces) == whole.text and len(pieces) > 1 and all(pieces)


@pytest.mark.parametrize("name", ["byte-level", "byte-level, space", "prepending", "bpe, first", "unigram, always"])
def test_characters_come_whole_with_every_tokenizer(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    generator = Generator(tiny_language_model(len(tokenizer), seed=2), tokenizer)
    for seed in range(2):
        settings: dict[str, Any] = {"suffix": " ü€", "max_new_tokens": 12, "do_sample": True, "seed": seed}
        pieces = list(generator.stream(Exclude(["run"]), **settings))
        (whole,) = generator(Exclude(["run"]), **settings)
        assert "".join(pieces) == whole.text and "\ufffd" not in whole.text


def test_a_closed_stream_ends_its_thread(generator: Generator) -> None:
    stream = generator.stream(WordCount(1, 60), max_new_tokens=100)
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not any(thread.name == "ctrlg-stream" for thread in threading.enumerate())


def test_errors_come_out_of_the_stream(generator: Generator) -> None:
    with pytest.raises(UnsatisfiableError):
        list(generator.stream(Keywords(["dog"]) & Exclude(["dog"])))
    for settings in ({"num_beams": 2}, {"n": 2}, {"streamer": None}):
        with pytest.raises(ArgumentError, match=next(iter(settings))):
            generator.stream(Keywords(["dog"]), **settings)


def test_a_streamer_of_transformers_with_sampling(generator: Generator) -> None:
    streamer = TextIteratorStreamer(TOKENIZER, skip_prompt=True, skip_special_tokens=True)
    settings: dict[str, Any] = {"suffix": ".", "max_new_tokens": 9, "do_sample": True, "seed": 5}
    written: list[Any] = []
    thread = threading.Thread(
        target=lambda: written.extend(generator(Keywords(["dog"]), streamer=streamer, **settings))
    )
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text == written[0].text and written[0].satisfied


def processor_for(hmm: HMM, prompt: list[int], most: int) -> ConstraintLogitsProcessor:
    request = Request(Keywords(["dog"]) & WordCount(2, 6), suffix=".", max_new_tokens=most)
    return ConstraintLogitsProcessor.from_guide(hmm, Guiding(TOKENIZER, hmm).cursor(request).guide, prompt)


@pytest.mark.parametrize(
    "ways",
    [{"assistant_model": tiny_language_model(len(TOKENIZER), seed=9)}, {"prompt_lookup_num_tokens": 3}]
    + [{"cache_implementation": name} for name in ("static", "dynamic")],
    ids=lambda ways: next(iter(ways)) + str(ways.get("cache_implementation", "")),
)
def test_greedy_texts_do_not_depend_on_how_they_are_written(hmm: HMM, ways: dict[str, Any]) -> None:
    """Assistants draft tokens of which some are taken back; static caches have a fixed width."""
    prompt = [EOS, 5, 6, 5, 6]

    def written(**ways: Any) -> list[int]:
        processors = LogitsProcessorList([processor_for(hmm, prompt, 12)])
        ids = torch.tensor([prompt])
        settings: dict[str, Any] = {"do_sample": False, "eos_token_id": EOS, "pad_token_id": EOS, "max_new_tokens": 20}
        return MODEL.generate(
            ids, attention_mask=torch.ones_like(ids), logits_processor=processors, **settings, **ways
        )[0].tolist()

    assert written(**ways) == written()


def test_paged_caches_are_refused(generator: Generator) -> None:
    assert ConstraintLogitsProcessor.supports_continuous_batching is False
    with pytest.raises(ArgumentError, match="paged"):
        generator(Keywords(["dog"]), cache_implementation="paged")


def test_a_folder_for_the_hub_constrains_generate(hmm: HMM) -> None:
    ids = torch.tensor([[EOS, 3, 4], [EOS, 9, 8]])
    rows = MODEL.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        custom_generate=str(HUB),
        trust_remote_code=True,
        tokenizer=TOKENIZER,
        keywords=["dog", "park"],
        words=(2, 6),
        suffix=".",
        hmm=hmm,
        max_new_tokens=14,
        do_sample=True,
    )
    assert rows.shape[0] == 2
    for row in rows[:, 3:].tolist():
        text = str(TOKENIZER.decode(row[: row.index(EOS)]))
        assert (Keywords(["dog", "park"]) & WordCount(2, 6)).holds(text) and text.endswith(".")
