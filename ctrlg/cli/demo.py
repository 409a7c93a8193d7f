"""The demonstration: constraints, the texts that keep them, and what the symbolic half costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ctrlg.arguments import Positive, checked
from ctrlg.constraints import Constraint, Keywords, OneLine, OneSentence, WordCount
from ctrlg.defaults import BEAMS
from ctrlg.generation import GenerationResult, Generator

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

PROMPT = "Write a short story about a lighthouse."
STORY_WORDS = (("storm",), ("boat",))
STORY_LENGTH = (40, 60)
STORY_TOKENS = 120
STORY_BEAMS = 4  # texts of five times as many tokens
NO_REPEAT = 3  # tokens: small models fall into loops


@checked
def run(
    console: Console, compare: bool = False, beams: Positive = BEAMS, device: str = "cpu"
) -> list[GenerationResult]:
    """Eight captions and an answer to a prompt, each under a constraint. Returns the guided results.

    Args:
        console: to show the texts on.
        compare: also write under the mask alone, without an HMM. Whether a constraint is kept is checked on the text.
        beams: of the searches.
        device: of the models.
    """
    with console.status("Loading the language model (fetched once, about 93 MB) ..."):
        generator = Generator.default(device=device)
        # Kernels are compiled once a machine and models warm up: neither belongs to the time of a step.
        generator(WordCount(1, 3), suffix=".", max_new_tokens=4, num_beams=beams, progress=False)
    guided, alone = [], []
    for concepts in CONCEPT_SETS:
        keywords = Keywords([[concept] for concept in concepts], inflect=True)
        constraint = keywords & WordCount(*WORDS) & OneSentence() & OneLine()
        console.print(_heading(concepts, WORDS))
        with_hmm, without = _write(
            console, generator, constraint, keywords, compare, n=beams, max_new_tokens=MAX_NEW_TOKENS, num_beams=beams
        )
        guided += with_hmm
        alone += without
    console.print(summary(guided, alone, generator.hmm))
    return guided + _story(console, compare, device)


def _story(console: Console, compare: bool, device: str) -> list[GenerationResult]:
    """An answer to a prompt by the second embedded pair."""
    with console.status("Loading the model that answers prompts ..."):
        generator = Generator.default("instruct", device)
    keywords = Keywords(STORY_WORDS)
    console.print()
    console.print(Text.assemble("prompt  ", (PROMPT, "bold")))
    console.print(_heading([word for (word,) in STORY_WORDS], STORY_LENGTH))
    turn = [{"role": "user", "content": PROMPT}]
    return _write(
        console,
        generator,
        keywords & WordCount(*STORY_LENGTH) & OneLine(),
        keywords,
        compare,
        prompt=generator.tokenizer.apply_chat_template(turn, add_generation_prompt=True),
        max_new_tokens=STORY_TOKENS,
        num_beams=STORY_BEAMS,
        no_repeat_ngram_size=NO_REPEAT,
    )[0]


def _write(
    console: Console, generator: Generator, constraint: Constraint, keywords: Keywords, compare: bool, **settings: Any
) -> tuple[list[GenerationResult], list[GenerationResult]]:
    """Print and return the best text with the HMM, and that of the mask alone where it is asked for."""
    hmm = generator.hmm
    guides = [("with HMM ", generator)]
    if compare and hmm is not None:
        mask = Generator(generator.model, generator.tokenizer, eos_token_id=hmm.eos_token_id)
        guides.append(("mask only", mask))
    written = []
    for name, guide in guides:
        best = guide(constraint, suffix=".", **settings)[0]
        written.append(best)
        console.print(Text.assemble((f"{name}  ", "dim"), marked(best, keywords)))
    console.print()
    return written[:1], written[1:]


def _heading(words: Sequence[str], length: tuple[int, int]) -> Text:
    return Text.assemble("constraint  ", (", ".join(words), "bold"), f", {length[0]} to {length[1]} words")


def marked(result: GenerationResult, keywords: Keywords) -> Text:
    """The sentence with its kept words in bold, and whether the constraint is kept.

    Args:
        result: a guided text.
        keywords: of its constraint.
    """
    text = Text(result.text.replace("\n", "⏎"))
    for start, end in keywords.kept_spans(result.text):
        text.stylize("bold green", start, end)
    verdict = ("  kept", "green") if result.satisfied else ("  BROKEN", "bold red")
    return Text.assemble(text, verdict, (f"  {result.log_prob:.2f}", "dim"))


def summary(guided: Sequence[GenerationResult], alone: Sequence[GenerationResult], hmm: Any) -> Table:
    """Constraints kept, quality, size and time.

    Args:
        guided: texts under HMM and mask.
        alone: texts under the mask alone.
        hmm: the guide.
    """
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
