"""The share of a decoder's step that the constraint costs: Llamas of random weights, in bfloat16, with their cache."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import torch

from ctrlg.evaluation.synthetic import SyntheticHMM, keywords_and_words
from gpu_sections import models, steps, timing
from gpu_sections.ceilings import COPY
from gpu_sections.record import Once, Run
from gpu_sections.sizes import Llama

GOAL = 0.05
WEIGHT_SCALE = 0.02


def measure(run: Run) -> None:
    sizes = run.sizes
    hmm = models.compressed_hmm(sizes.hidden_states[0], sizes.vocab_size, sizes.entries, run.device)
    for name, shape in sizes.llamas.items():
        model = Once(partial(random_llama, shape, sizes.vocab_size, run.device))
        for beams in sizes.beams:
            run.attempt(f"{name} B={beams}", partial(_measure_beams, run, name, model, hmm, beams))
            timing.free(run.device)
        del model
        timing.free(run.device)


def random_llama(shape: Llama, vocab_size: int, device: torch.device) -> Any:
    """Made on the device; no weight is written twice, and none passes through the host."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size, max_position_embeddings=1024, tie_word_embeddings=False, **shape._asdict()
    )
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
        model = model.to(torch.bfloat16)
    model.to_empty(device=device)
    with torch.no_grad(), torch.device(device):
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0) if "norm" in name else parameter.normal_(0.0, WEIGHT_SCALE)
        # Its frequencies are no parameters, and what was made without memory has none to keep.
        rotary = type(model.model.rotary_emb)(config)
    model.model.rotary_emb = rotary
    return model.eval()


@torch.no_grad()
def _measure_beams(run: Run, name: str, made: Once[Any], hmm: SyntheticHMM, beams: int) -> None:
    """A token at a time: the language model reads it, the processor joins its scores with the HMM's, one is sampled."""
    device, sizes, model = run.device, run.sizes, made()
    keywords, words = sizes.automata[-1]
    processor = steps.build(run, hmm, keywords_and_words(sizes.vocab_size, keywords, words))
    generator = torch.Generator(device).manual_seed(7)
    prompt = torch.randint(sizes.vocab_size, (beams, sizes.prompt), device=device, generator=generator)
    read = model(prompt, use_cache=True, logits_to_keep=1)
    rows = torch.zeros(beams, 1, dtype=torch.long, device=device)
    neural, symbolic = [], []
    for step in range(steps.WARM_UP_STEPS + sizes.steps):
        cache, last = read.past_key_values, rows[:, -1:]
        forward, read = timing.clock(lambda: model(last, past_key_values=cache, use_cache=True), device)  # noqa: B023
        logits = read.logits[:, -1].float()
        join, scores = timing.clock(lambda: processor(rows, logits), device)  # noqa: B023
        if step >= steps.WARM_UP_STEPS:
            neural.append(1e3 * forward)
            symbolic.append(1e3 * join)
        rows = torch.cat([rows, torch.multinomial(scores.exp(), 1, generator=generator)], dim=1)
    theirs, ours = statistics.median(neural), statistics.median(symbolic)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    least = 1e3 * weights / run.ceiling("copy", COPY)
    share = ours / (ours + theirs)
    run.add(
        f"{name} B={beams}",
        share,
        "share",
        "< 5 %",
        share < GOAL,
        f"model {theirs:.1f} ms (weights alone {least:.1f}), ours {ours:.2f}",
        neural_milliseconds=theirs,
        symbolic_milliseconds=ours,
        weights_bytes=weights,
        weights_milliseconds=least,
        share_of_weights=ours / (ours + least),
    )
