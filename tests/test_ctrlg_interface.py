"""A program written against Ctrl-G's interface: builders, processor, generate, extraction, ranking."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from transformers import LogitsProcessorList

import ctrlg


@pytest.mark.parametrize("kind", ["QuantizedHMM", "HMM"])
def test_phrases_in_order_between_a_prefix_and_a_suffix(default_model: tuple[Any, Any], kind: str) -> None:
    model, tokenizer = default_model
    path = ctrlg.assets.default_hmm_path()
    hmm = ctrlg.HMM.from_pretrained(path) if kind == "HMM" else ctrlg.QuantizedHMM.from_pretrained(path)
    hmm = hmm.to("cpu")
    prefix_ids = tokenizer.encode(" on a fine sunny")
    suffix_ids = tokenizer.encode(" in the park.<|endoftext|>")
    prompt_ids = tokenizer.encode("<|endoftext|> on a fine sunny")
    builder = ctrlg.AhoCorasickBuilder(hmm.vocab_size)
    first, second = [" girl", " boy", " girls", " boys", " children"], [" dogs", " cats", " dog", " cat"]
    graphs = [builder.build([tokenizer.encode(text) for text in group]) for group in (first, second)]
    ordered = ctrlg.DFA_concatenate(graphs)
    words = ctrlg.WordCountBuilder(tokenizer, hmm.vocab_size).build(7, 12)
    dfa = ctrlg.DFAModel(ctrlg.DFA_prod([ordered, words], mode="intersection"), hmm.vocab_size).to("cpu")
    processor = ctrlg.ConstraintLogitsProcessor(
        hmm, dfa, 5, 24, prompt_ids, prefix_ids=prefix_ids, suffix_ids=suffix_ids
    )
    processor.hmm_batch_size = 4
    outputs = model.generate(
        input_ids=torch.tensor([prompt_ids]),
        do_sample=False,
        num_beams=4,
        num_return_sequences=4,
        min_new_tokens=5,
        max_new_tokens=24,
        logits_processor=LogitsProcessorList([processor]),
        pad_token_id=tokenizer.eos_token_id,
    )
    generated = ctrlg.extract_generated_ids(outputs.tolist(), prompt_ids, suffix_ids, hmm.eos_token_id)
    ranked = ctrlg.rank_generated_ids(model, generated, prompt_ids, suffix_ids)
    assert sorted(ranked) == sorted(generated)
    text = tokenizer.decode(ranked[0], skip_special_tokens=True)
    assert re.search(f"({'|'.join(first)}).*({'|'.join(second)})", text)
