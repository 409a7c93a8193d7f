"""The demonstration: eight constraints, the sentences that keep them, and what the symbolic half costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ctrlg.arguments import Positive, checked
from ctrlg.constraints import Keywords, OneLine, OneSentence, WordCount
from ctrlg.devices import fast_dtype
from ctrlg.generation import GenerationResult, generate
from ctrlg.loading import load_hmm
from ctrlg.loading.language_models import DEFAULT, load_language_model

# Concept sets of CommonGen's validation set (MIT licence); their references are not used.
CONCEPT_SETS = (
    ("cat", "pet", "couch"),
    ("candle", "table", "sit"),
    ("drive", "snow", "car"),
    ("kitchen", "pan", "cook"),
    ("beach", "run", "water", "dog"),
    ("camel", "ride", "walk", "desert"),
    ("field", "kick", "football", "goal"),
    ("dance", "music", "front", "stage", "audience"),
)
WORDS = (6, 14)
MAX_NEW_TOKENS = 24


@checked
def run(console: Console, compare: bool = False, beams: Positive = 16, device: str = "cpu") -> list[GenerationResult]:
    """Print constraint and sentence for each concept set, then a summary. Returns the guided results.

    compare: also write under the mask alone, without an HMM. Whether a constraint is kept is checked on the text.
    """
    with console.status("Loading the language model (fetched once, about 93 MB) ..."):
        model, tokenizer = load_language_model(DEFAULT, device, fast_dtype(device))
        hmm = load_hmm("default", device=device)
        # Kernels are compiled once a machine and models warm up: neither belongs to the time of a step.
        generate(model, tokenizer, hmm, WordCount(1, 3), suffix=".", max_new_tokens=4, num_beams=beams, progress=False)
    guided, alone = [], []
    for concepts in CONCEPT_SETS:
        keywords = Keywords([[concept] for concept in concepts], inflect=True)
        constraint = keywords & WordCount(*WORDS) & OneSentence() & OneLine()
        console.print(Text.assemble("constraint  ", (", ".join(concepts), "bold"), f", {WORDS[0]} to {WORDS[1]} words"))
        for name, guide, results in (("with HMM ", hmm, guided), ("mask only", None, alone)):
            if guide is None and not compare:
                continue
            best = generate(
                model,
                tokenizer,
                guide,
                constraint,
                suffix=".",
                max_new_tokens=MAX_NEW_TOKENS,
                num_beams=beams,
                num_return_sequences=beams,
            )[0]
            results.append(best)
            console.print(Text.assemble((f"{name}  ", "dim"), marked(best, keywords)))
        console.print()
    console.print(summary(guided, alone, hmm))
    return guided


def marked(result: GenerationResult, keywords: Keywords) -> Text:
    """The sentence with its kept words in bold, and whether the constraint is kept."""
    text = Text(result.text.replace("\n", "⏎"))
    for start, end in keywords.kept_spans(result.text):
        text.stylize("bold green", start, end)
    verdict = ("  kept", "green") if result.satisfied else ("  BROKEN", "bold red")
    return Text.assemble(text, verdict, (f"  {result.log_prob:.2f}", "dim"))


def summary(guided: Sequence[GenerationResult], alone: Sequence[GenerationResult], hmm: Any) -> Table:
    """Constraints kept, quality, size and time."""
    states, vocabulary = hmm.hidden_states, hmm.vocab_size
    dense = 4 * (states * states + states * vocabulary + states)
    neural = sum(result.timing.neural for result in guided)
    symbolic = sum(result.timing.symbolic for result in guided)
    tokens = sum(result.timing.steps for result in guided)
    table = Table(show_header=False, box=None)
    table.add_row("constraints kept, checked on the text", f"{sum(r.satisfied for r in guided)}/{len(guided)}")
    table.add_row("log-probability per token, with HMM", f"{_mean(guided):.2f} nats")
    if alone:
        table.add_row("log-probability per token, mask only", f"{_mean(alone):.2f} nats")
    table.add_row(
        "HMM in memory", f"{dense / 1e6:.1f} MB -> {hmm.nbytes / 1e6:.1f} MB ({states} states x {vocabulary:,} tokens)"
    )
    table.add_row("neural time per step", f"{1e3 * neural / tokens:.0f} ms")
    table.add_row("symbolic time per step", f"{1e3 * symbolic / tokens:.1f} ms")
    return table


def _mean(results: Sequence[GenerationResult]) -> float:
    return sum(result.log_prob for result in results) / len(results)
