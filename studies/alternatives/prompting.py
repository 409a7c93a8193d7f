"""Sentences by asking for them: an instructed language model, a prompt, and nothing that keeps the constraint."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import torch

from ctrlg.evaluation.concept_sets import ConceptSet
from studies.alternatives.expressions import Attempt

_FIRST_SENTENCE = re.compile(r".*?[.!?](?=[\"'”]?(?:\s|$))")


def request(concepts: Sequence[str], words: tuple[int, int]) -> str:
    """What is asked for. words: least and most."""
    return f"Write one sentence of {words[0]} to {words[1]} words that uses the words: {', '.join(concepts)}."


def messages(
    concepts: Sequence[str], words: tuple[int, int], examples: Sequence[ConceptSet] = ()
) -> list[dict[str, str]]:
    """A chat that ends with the request; before it, other sets are asked for and answered by their first reference."""
    turns = [(request(example.concepts, words), example.references[0]) for example in examples]
    roles = ("user", "assistant")
    told = [{"role": role, "content": text} for turn in turns for role, text in zip(roles, turn, strict=True)]
    return [*told, {"role": "user", "content": request(concepts, words)}]


@torch.no_grad()
def write_asked(model: Any, tokenizer: Any, chat: Sequence[dict[str, str]], beams: int, max_new_tokens: int) -> Attempt:
    """The first sentence of the answer that a beam search finds best. tokenizer: one with a chat template."""
    started = time.perf_counter()
    inputs = tokenizer.apply_chat_template(
        list(chat), add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    length = inputs["input_ids"].shape[1]
    prepared = time.perf_counter()
    outputs = model.generate(
        **inputs,
        num_beams=beams,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    answer = tokenizer.decode(outputs[0, length:], skip_special_tokens=True)
    seconds = time.perf_counter() - prepared
    return Attempt(first_sentence(answer), prepared - started, seconds, 0.0, outputs.shape[1] - length)


def first_sentence(answer: str) -> str:
    """The first sentence of the first line that holds one, without quotation marks around it; else that line."""
    line = next((line.strip() for line in answer.splitlines() if line.strip()), "").lstrip("\"'“")
    found = _FIRST_SENTENCE.match(line)
    return found.group() if found else line.rstrip("\"'”")
