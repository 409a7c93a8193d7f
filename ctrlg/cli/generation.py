"""The commands `ctrlg generate` and `ctrlg demo`; what they import, they import when they run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ctrlg.arguments import AboveZero, Natural, Positive, Seed, check, checked
from ctrlg.cli.constraints import WholeText, constraint_of, number_range
from ctrlg.defaults import BEAMS
from ctrlg.errors import ArgumentError
from ctrlg.files.json_text import json_text
from ctrlg.terminal.program import Program

NO_REPEAT_IN_ANSWERS = 3
"""Tokens in a row that an answer does not repeat: small models fall into loops (docs/results.md)."""


@checked
def generate(
    keywords: tuple[str, ...] = (),
    ordered: bool = False,
    inflect: bool = False,
    exclude: tuple[str, ...] = (),
    count: tuple[str, ...] = (),
    words: str | None = None,
    regex: str | None = None,
    choice: tuple[str, ...] = (),
    json_schema: Path | None = None,
    infill: str | None = None,
    gap_words: str | None = None,
    lower: bool = False,
    lines: bool = False,
    sentences: str | None = None,
    prefix: str = "",
    suffix: str | None = None,
    prompt: str | None = None,
    chat_template: bool | None = None,
    model: str = "default",
    hmm: str | None = None,
    beams: Positive = BEAMS,
    sample: bool = False,
    number: Positive = 1,
    min_new_tokens: Natural = 1,
    max_new_tokens: Natural | None = None,
    strength: AboveZero | None = None,
    no_repeat: Natural | None = None,
    seed: Seed = 0,
    device: str = "cpu",
    as_json: bool = False,
    explain: bool = False,
) -> None:
    """Write texts that satisfy a constraint, best first.

    Args:
        keywords: a word the text must contain; alternatives as 'dog|puppy'. Repeat.
        ordered: the keywords must come in the order given.
        inflect: any inflection of a keyword counts.
        exclude: a phrase the text must not contain. Repeat.
        count: how often a word occurs, as 'dog:2..3', 'dog|puppy:2' or 'dog:2..'. Repeat.
        words: number of words, as 8..12 or 10.
        regex: a regular expression that the whole text matches.
        choice: the whole text, or one of several. Repeat.
        json_schema: file with a JSON schema; the whole text is JSON that fits it.
        infill: the whole text, with [gap] where something is to be filled in.
        gap_words: number of words in each gap, as 2..8 or 3.
        lower: all letters are lower case.
        lines: the text may have line breaks, tabs and gaps.
        sentences: number of sentences, as 2..4 or 3, or 'any'; by default one, and any in an answer to a prompt.
        prefix: how the text begins.
        suffix: how the text ends; by default '.', and nothing where an option says what the whole text is.
        prompt: what the language model reads before the text.
        chat_template: the prompt is a user's turn; by default with the model 'instruct'.
        model: Hugging Face id, folder, .gguf file, 'default' (captions) or 'instruct' (any prompt).
        hmm: folder or hub id of an HMM, 'default', 'instruct' or 'none'; by default the model's own.
        beams: of the search.
        sample: sample texts instead of searching.
        number: how many texts to print.
        min_new_tokens: least tokens between prefix and suffix.
        max_new_tokens: most tokens between prefix and suffix; by default 32, or twice the most words.
        strength: how strongly the HMM pulls; above 1, words come earlier. By default the HMM's own.
        no_repeat: no so many tokens twice in the same order, 0: any may; by default 3 in an answer to a prompt.
        seed: of the samples.
        device: cpu or cuda.
        as_json: print JSON.
        explain: print what the constraint comes down to (parts, states, tables) and write nothing.
    """
    from ctrlg.constraints import OneLine, OneSentence
    from ctrlg.distillation.sampling.prompts import encode_prompts
    from ctrlg.generation import generate as write
    from ctrlg.loading import load_pair
    from ctrlg.loading.language_models import INSTRUCT

    turn = prompt is not None and (model == INSTRUCT if chat_template is None else chat_template)
    if prompt is not None and not prompt:
        raise ArgumentError("--prompt is empty", hint="leave it out: the text then begins with the prefix")
    if prompt is None and (chat_template or model == INSTRUCT):
        raise ArgumentError("there is no --prompt to answer", hint="--prompt 'Write a story about a lighthouse.'")
    whole = WholeText(regex, choice, json_schema, infill, gap_words)
    constraint = constraint_of(keywords, ordered, inflect, exclude, words, sentences, lower, whole, count)
    formed = whole != WholeText()  # the option says what lines and sentences there are
    if not (lines or formed):
        constraint = constraint & OneLine()
    if not (lines or formed or turn or sentences is not None):
        constraint = constraint & OneSentence()
    if suffix is None:
        suffix = "" if formed else "."
    if max_new_tokens is None:
        max_new_tokens = max(32, 2 * number_range(words, "--words")[1] if words else 0)
    if no_repeat is None:
        no_repeat = NO_REPEAT_IN_ANSWERS if turn else 0
    options: dict[str, Any] = {
        "prompt": prompt,
        "prefix": prefix,
        "suffix": suffix,
        "min_new_tokens": min_new_tokens,
        "max_new_tokens": max_new_tokens,
        "num_beams": None if sample else beams,
        "do_sample": sample,
        "num_return_sequences": number,
        "seed": seed,
        "strength": strength,
    }
    check(write, **options)  # before models are loaded, or even fetched
    language_model, tokenizer, guide = load_pair(model, hmm, device)
    if explain:
        from ctrlg.generation.compiled import vocabulary_of
        from ctrlg.inspection import explain as explained

        shared = ("prefix", "suffix", "min_new_tokens", "max_new_tokens")
        vocabulary = vocabulary_of(language_model, tokenizer, guide)
        print(explained(constraint, vocabulary, guide, **{name: options[name] for name in shared}))
        return
    if prompt is not None and turn:
        (options["prompt"],) = encode_prompts(tokenizer, [prompt], chat_template=True)
    if no_repeat:
        options["no_repeat_ngram_size"] = no_repeat
    results = write(language_model, tokenizer, guide, constraint, **options)
    if as_json:
        named = [asdict(result) | {"timing": result.timing._asdict()} for result in results]
        print(json_text(named, indent=2))
        return
    from rich.text import Text

    from ctrlg.terminal.plain_console import PlainConsole

    console = PlainConsole()
    for result in results:
        mark = ("kept", "green") if result.satisfied else ("broken", "red")
        rest = Text.assemble("  (", mark, f", {result.log_prob:.2f} nats per token)", style="dim")
        console.print(Text(result.text) + rest, soft_wrap=True)


@checked
def demo(compare: bool = False, beams: Positive = BEAMS, device: str = "cpu", picture: Path | None = None) -> None:
    """Eight constraints, eight sentences: the main job on the embedded model.

    It takes a minute or two.

    Args:
        compare: also show what the mask alone writes.
        beams: of the search.
        device: cpu or cuda.
        picture: also save what is printed as an SVG file.
    """
    from ctrlg.cli.demo import run
    from ctrlg.files.atomic import atomic_file
    from ctrlg.files.outputs import check_output_file
    from ctrlg.terminal.plain_console import PlainConsole

    if picture is not None:
        if picture.suffix.lower() != ".svg":
            raise ArgumentError(f"--picture {picture}", hint="a name that ends in .svg")
        check_output_file(picture, "--picture")
    console = PlainConsole(record=picture is not None, width=120 if picture is not None else None)
    run(console, compare=compare, beams=beams, device=device)
    if picture is not None:
        with atomic_file(picture) as file:
            console.save_svg(str(file), title="ctrlg demo" + (" --compare" if compare else ""))


PROGRAMS = {
    "generate": Program(
        generate,
        "ctrlg generate",
        examples="""
Examples:

  ctrlg generate --keywords dog --keywords "park|garden" --words 6..12

  ctrlg generate --model instruct --prompt "Write a story about a lighthouse." --keywords "storm|gale" --words 60..90

  ctrlg generate --keywords ride --keywords bike --inflect --exclude road --beams 16

  ctrlg generate --prefix "On a sunny day" --suffix " in the park." --keywords dog --number 3 --json

  ctrlg generate --regex "[A-Z][a-z]+ [0-9]{1,2}, 20[0-9]{2}" --number 3

  ctrlg generate --infill "Once upon a time [gap] until [gap]." --gap-words 2..8

  ctrlg generate --json-schema person.json --max-new-tokens 60

  ctrlg generate --keywords tree --sample --seed 1 --hmm runs/hmm/best --model gpt2
""",
    ),
    "demo": Program(
        demo,
        "ctrlg demo",
        examples="""
Examples:

  ctrlg demo --compare

  ctrlg demo --compare --picture fig/demo.svg
""",
    ),
}
