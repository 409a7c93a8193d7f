"""The command `ctrlg`: thin over the library; every error ends with a hint and exit code 2."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ctrlg.arguments import LARGEST_COUNT, Between, check
from ctrlg.arguments import text as whole_text
from ctrlg.cli.distillation import DISTILL_EXAMPLES, TRAIN_EXAMPLES, distill, train
from ctrlg.cli.evaluation import (
    BENCHMARK_EXAMPLES,
    EVALUATE_EXAMPLES,
    INSPECT_EXAMPLES,
    benchmark,
    evaluate,
    inspect,
)
from ctrlg.cli.tweaking import TWEAK_EXAMPLES, tweak
from ctrlg.errors import ArgumentError
from ctrlg.files.json_text import json_text
from ctrlg.terminal.console import as_program, say, show_error

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's, which typer carries under a private name

app = typer.Typer(
    help="Language models that keep promises.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)

NO_REPEAT_IN_ANSWERS = 3
"""Tokens in a row that an answer does not repeat: small models fall into loops (docs/results.md)."""

GENERATE_EXAMPLES = """
Examples:

  ctrlg generate --keywords dog --keywords "park|garden" --words 6..12

  ctrlg generate --model instruct --prompt "Write a story about a lighthouse." --keywords "storm|gale" --words 60..90

  ctrlg generate --keywords ride --keywords bike --inflect --exclude road --beams 16

  ctrlg generate --prefix "On a sunny day" --suffix " in the park." --keywords dog --number 3 --json

  ctrlg generate --keywords tree --sample --seed 1 --hmm runs/hmm/best --model gpt2
"""


@app.command(epilog=GENERATE_EXAMPLES)
def generate(
    keywords: Annotated[
        list[str] | None, typer.Option(help="A word the text must contain; alternatives as 'dog|puppy'. Repeat.")
    ] = None,
    ordered: Annotated[bool, typer.Option(help="The keywords must come in the order given.")] = False,
    inflect: Annotated[bool, typer.Option(help="Any inflection of a keyword counts.")] = False,
    exclude: Annotated[list[str] | None, typer.Option(help="A phrase the text must not contain. Repeat.")] = None,
    words: Annotated[str | None, typer.Option(help="Number of words, as 8..12 or 10.")] = None,
    lines: Annotated[bool, typer.Option(help="The text may have line breaks, tabs and gaps.")] = False,
    sentences: Annotated[
        bool | None, typer.Option(help="The text may have several sentences; by default as an answer to a prompt.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="How the text begins.")] = "",
    suffix: Annotated[str, typer.Option(help="How the text ends.")] = ".",
    prompt: Annotated[str | None, typer.Option(help="What the language model reads before the text.")] = None,
    chat_template: Annotated[
        bool | None, typer.Option(help="The prompt is a user's turn; by default with the model 'instruct'.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Hugging Face id, folder, .gguf file, 'default' (captions) or 'instruct' (any prompt).")
    ] = "default",
    hmm: Annotated[
        str | None,
        typer.Option(help="Folder or hub id of an HMM, 'default', 'instruct' or 'none'; by default the model's own."),
    ] = None,
    beams: Annotated[int, typer.Option(help="Beams of the search.")] = 8,
    sample: Annotated[bool, typer.Option("--sample", help="Draw texts instead of searching.")] = False,
    number: Annotated[int, typer.Option(help="How many texts to print.")] = 1,
    min_new_tokens: Annotated[int, typer.Option(help="Least tokens between prefix and suffix.")] = 1,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Most tokens between prefix and suffix; by default 32, or twice the most words.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How strongly the HMM pulls; above 1, words come earlier. Default: the HMM's own."),
    ] = None,
    no_repeat: Annotated[
        int | None,
        typer.Option(
            help="No so many tokens twice in the same order, 0: any may; by default 3 in an answer to a prompt."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write texts that keep a promise, best first."""
    from ctrlg.constraints import OneLine, OneSentence
    from ctrlg.devices import fast_dtype
    from ctrlg.distillation.sampling.prompts import encode_prompts
    from ctrlg.generation import generate as write
    from ctrlg.loading import load_hmm
    from ctrlg.loading.language_models import DEFAULT, INSTRUCT, load_language_model

    turn = prompt is not None and (model == INSTRUCT if chat_template is None else chat_template)
    if prompt is not None and not prompt:
        raise ArgumentError("--prompt is empty", hint="leave it out: the text then begins with the prefix")
    if prompt is None and (chat_template or model == INSTRUCT):
        raise ArgumentError("there is no --prompt to answer", hint="--prompt 'Write a story about a lighthouse.'")
    constraint = promise(keywords or [], ordered, inflect, exclude or [], words)
    if not lines:
        constraint = constraint & OneLine()
    if not (lines or (turn if sentences is None else sentences)):
        constraint = constraint & OneSentence()
    if max_new_tokens is None:
        max_new_tokens = max(32, 2 * word_range(words)[1] if words else 0)
    if no_repeat is None:
        no_repeat = NO_REPEAT_IN_ANSWERS if turn else 0
    Between(0, LARGEST_COUNT)("--no-repeat", no_repeat)
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
    own = INSTRUCT if model == INSTRUCT else DEFAULT
    guide = None if hmm == "none" else load_hmm(hmm or own, device=device)
    language_model, tokenizer = load_language_model(model, device, fast_dtype(device))
    if prompt is not None and turn:
        (options["prompt"],) = encode_prompts(tokenizer, [prompt], chat_template=True)
    if no_repeat:
        options["no_repeat_ngram_size"] = no_repeat
    results = write(language_model, tokenizer, guide, constraint, **options)
    if as_json:
        named = [asdict(result) | {"timing": result.timing._asdict()} for result in results]
        typer.echo(json_text(named, indent=2))
        return
    from rich.text import Text

    from ctrlg.terminal.plain_console import PlainConsole

    console = PlainConsole()
    for result in results:
        mark = ("kept", "green") if result.satisfied else ("broken", "red")
        rest = Text.assemble("  (", mark, f", {result.log_prob:.2f} nats per token)", style="dim")
        console.print(Text(result.text) + rest, soft_wrap=True)


@app.command(epilog="Examples:\n\n  ctrlg demo --compare\n\n  ctrlg demo --compare --picture fig/demo.svg")
def demo(
    compare: Annotated[bool, typer.Option("--compare", help="Also show what the mask alone writes.")] = False,
    beams: Annotated[int, typer.Option(help="Beams of the search.")] = 16,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    picture: Annotated[Path | None, typer.Option(help="Also save what is printed as an SVG file.")] = None,
) -> None:
    """Eight promises, eight sentences: the main job on the embedded model, in a minute or two."""
    from ctrlg.cli.demo import run
    from ctrlg.files.atomic import atomic_file
    from ctrlg.files.outputs import check_output_file
    from ctrlg.terminal.plain_console import PlainConsole

    if picture is not None:
        if picture.suffix.lower() != ".svg":
            raise ArgumentError(f"--picture {picture}", hint="a name that ends in .svg")
        check_output_file(picture, "--picture")
    check(run, compare=compare, beams=beams, device=device)
    console = PlainConsole(record=picture is not None, width=120 if picture is not None else None)
    run(console, compare=compare, beams=beams, device=device)
    if picture is not None:
        with atomic_file(picture) as file:
            console.save_svg(str(file), title="ctrlg demo" + (" --compare" if compare else ""))


QUANTIZE_EXAMPLES = """
Examples:

  ctrlg quantize runs/hmm/best runs/hmm-4bit --method log-norm-q --bits 4 --max-bytes 2000000

  ctrlg quantize runs/hmm/best runs/hmm-tiny --bits 4 --max-bytes 100000 --refine 6

  ctrlg quantize runs/hmm/best runs/hmm-norm-q --method norm-q --bits 8
"""


@app.command(epilog=QUANTIZE_EXAMPLES)
def quantize(
    hmm: Annotated[str, typer.Argument(help="Folder or hub id of an HMM, or 'default'.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    method: Annotated[str, typer.Option(help="norm-q or log-norm-q.")] = "log-norm-q",
    bits: Annotated[int, typer.Option(help="Bits per code, 1 to 8.")] = 4,
    max_bytes: Annotated[int | None, typer.Option(help="Size budget in bytes (log-norm-q).")] = None,
    threshold: Annotated[float | None, typer.Option(help="Least gain of a kept entry (log-norm-q).")] = None,
    layout: Annotated[str, typer.Option(help="auto, dense or sparse.")] = "auto",
    initial: Annotated[
        bool | None, typer.Option(help="Quantise the initial distribution, too; by default with norm-q.")
    ] = None,
    refine: Annotated[int, typer.Option(help="Then so many steps of EM on samples of the HMM, in the same bytes.")] = 0,
) -> None:
    """Compress an HMM."""
    from ctrlg.distillation.progress import StageBars
    from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder
    from ctrlg.hmm import HMM
    from ctrlg.loading import load_hmm
    from ctrlg.loading.hmms import hmm_folder
    from ctrlg.quantization import quantize as compress
    from ctrlg.quantization import refine as improve

    Between(0, LARGEST_COUNT)("--refine", refine)
    check(compress, method=method, bits=bits, layout=layout, threshold=threshold, max_bytes=max_bytes)
    options = {"layout": layout, "threshold": threshold, "max_bytes": max_bytes, "initial": initial}
    check_folder(output, HMM_FOLDER, [hmm])  # before an HMM is fetched
    with atomic_folder(output, HMM_FOLDER, [hmm_folder(hmm)]) as folder:
        opened = load_hmm(hmm)
        model = opened if isinstance(opened, HMM) else opened.dequantize()
        compressed = compress(model, method, bits, **options)
        if refine:
            with StageBars() as bars:
                compressed = improve(
                    compressed, model, refine, report=lambda step: bars("refining", step.step, step.steps)
                )
        compressed.save_pretrained(folder)
    say(f"{model.nbytes:,} bytes -> {compressed.packed_nbytes:,} bytes in {output}")


app.command(epilog=DISTILL_EXAMPLES)(distill)
app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=BENCHMARK_EXAMPLES)(benchmark)
app.command(epilog=EVALUATE_EXAMPLES)(evaluate)
app.command(epilog=INSPECT_EXAMPLES)(inspect)
app.command(epilog=TWEAK_EXAMPLES)(tweak)


def promise(keywords: list[str], ordered: bool, inflect: bool, exclude: list[str], words: str | None) -> Any:
    """The constraint the options describe. Raises ArgumentError where they describe none, or badly."""
    from ctrlg.constraints import Exclude, Keywords, Ordered, WordCount

    parts: list[Any] = []
    if keywords:
        groups = [[form.strip() for form in group.split("|") if form.strip()] for group in keywords]
        parts.append(Ordered(groups, inflect=inflect) if ordered else Keywords(groups, inflect=inflect))
    if exclude:
        parts.append(Exclude(exclude))
    if words is not None:
        parts.append(WordCount(*word_range(words)))
    if not parts:
        raise ArgumentError("no promise was given", hint="name at least one of --keywords, --exclude, --words")
    whole = parts[0]
    for part in parts[1:]:
        whole = whole & part
    return whole


def word_range(text: str) -> tuple[int, int]:
    """ "8..12" as (8, 12) and "10" as (10, 10). Raises ArgumentError."""
    least, _, most = text.partition("..")
    try:
        return int(least), int(most or least)
    except ValueError as error:
        raise ArgumentError(f"--words {text!r} is no range", hint="write it as 8..12 or 10") from error


def main() -> None:
    """Entry point: errors of this library, and of the command line itself, become a message and exit code 2."""
    with as_program():
        given = [whole_text(f"argument {place}", each) for place, each in enumerate(sys.argv[1:], start=1)]
        try:
            code = app(given or ["--help"], standalone_mode=False)
        except typer.Abort:
            code = 1
        except _UsageError as error:
            # Printed here, not by typer: the message quotes what was typed, escape sequences included.
            context = getattr(error, "ctx", None)
            command = "ctrlg" if context is None else context.command_path
            show_error(error.format_message(), f"{command} --help")  # type: ignore[attr-defined]
            code = 2
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
