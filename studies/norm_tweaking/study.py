"""How much perplexity do tweaked norms win back? One JSON line per scheme, way, number of texts and seed.

    python -m studies.norm_tweaking.study --text wiki.test.raw --output runs/tweak/study.jsonl
    python -m studies.norm_tweaking.study --text wiki.test.raw --output runs/tweak/study.jsonl --schemes 4 \\
        --ways end-to-end --samples 16 64 128 512
    python -m studies.norm_tweaking.study --summarise runs/tweak/study.jsonl --table runs/tweak/study.md \\
        --plot fig/norm_tweaking.svg
    python -m studies.norm_tweaking.study --text wiki.test.raw --output runs/tweak/study.jsonl --schemes 3:64 \\
        --ways end-to-end --draw_layers fig/norm_tweaking_layers.svg

Schemes: "4" (4 bits, a step for each output channel), "4:64" (for each group of 64). Ways: "distribution" (the paper's
loss, layer by layer), "mse", "moments", "least-squares", "own-least-squares" (closed forms), "end-to-end" (all norms at
once, KL), or a closed form and then that: "own-least-squares+end-to-end". The model writes its calibration texts
itself, others for each seed. Learning rates are chosen on texts held out from them. What is measured already is not
measured again, so that a study may be stopped, and widened by other options into the same file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ctrlg.errors import ArgumentError, DataError
from ctrlg.figures import check_figure_path
from ctrlg.files.atomic import write_lines
from ctrlg.files.json_text import json_text
from ctrlg.files.records import read_study
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from normtweaking import quantize_model, read_tokens
from normtweaking.grid import Grid
from studies.norm_tweaking.layer_deltas import draw_layers, layer_deltas, layer_moments
from studies.norm_tweaking.measures import COLUMNS, NormStudy, Scheme, StudySettings, Way
from studies.norm_tweaking.report import draw_study, table

console = PlainConsole(highlight=False, soft_wrap=True)


def main() -> None:
    arguments = parse_arguments()
    for figure in filter(None, (arguments.plot, arguments.draw_layers)):
        check_figure_path(figure)
    if arguments.summarise:
        summarise(arguments)
        return
    if not arguments.text or not arguments.output:
        raise ArgumentError("a study needs --text and --output", hint="or --summarise what was measured")
    schemes, ways = [Scheme.parse(text) for text in arguments.schemes], [Way.parse(text) for text in arguments.ways]
    settings = StudySettings(
        arguments.held_out,
        arguments.length,
        arguments.passes,
        arguments.batch_size,
        Grid(arguments.rates, arguments.scales),
        Grid(arguments.end_to_end_rates, arguments.end_to_end_scales),
        arguments.window,
        arguments.stride,
    )
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model, tokenizer = load_language_model(arguments.model_name_or_path, arguments.device)
    tokens = read_tokens(tokenizer, arguments.text)[: arguments.tokens]
    study = NormStudy(model, tokenizer, tokens, settings, arguments.output, console.print)
    if arguments.draw_layers:
        layers(arguments, study, schemes[0], ways[0])
        return
    for line in study.run(schemes, ways, arguments.samples, arguments.seeds):
        console.print(json_text(line))


def layers(arguments: argparse.Namespace, study: NormStudy, scheme: Scheme, way: Way) -> None:
    """Draw the layers' deltas on held-out texts, for the first scheme, way, number of texts and seed."""
    count, seed = arguments.samples[0], arguments.seeds[0]
    texts = study.held_out(count, seed)
    exact = layer_moments(study.model, texts)
    quantize_model(study.model, scheme.quantizer())
    quantized = layer_moments(study.model, texts)
    study.tweak(scheme, way, count, seed)
    tweaked = layer_moments(study.model, texts)
    deltas = layer_deltas(exact, quantized), layer_deltas(exact, tweaked)
    draw_layers(*deltas, f"{scheme}; {way}", arguments.draw_layers)


def summarise(arguments: argparse.Namespace) -> None:
    if not Path(arguments.summarise).is_file():
        raise DataError(f"no such results file: {arguments.summarise}", hint="give the --output of a study")
    lines = read_study(arguments.summarise, COLUMNS)
    content = table(lines)
    say(content)
    if arguments.table:
        write_lines(arguments.table, content)
    if arguments.plot:
        draw_study(lines, arguments.plot)


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model_name_or_path", default="default-base", help="(default-base)")
    parser.add_argument("--text", default="", help="perplexity is measured on it")
    parser.add_argument("--tokens", type=int, default=8192, help="of the text, from its beginning (8192)")
    parser.add_argument("--output", default="", help="results, JSON lines")
    parser.add_argument("--schemes", nargs="+", default=["4", "4:64", "3", "3:64", "2", "2:64"])
    parser.add_argument("--ways", nargs="+", default=["distribution", "own-least-squares", "end-to-end"])
    parser.add_argument("--samples", nargs="+", type=int, default=[32], help="texts tweaked on (32)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the calibration texts")
    parser.add_argument("--length", type=int, default=128, help="tokens of a calibration text (128)")
    parser.add_argument("--held_out", type=int, default=8, help="texts that choose, beside those tweaked on (8)")
    parser.add_argument("--passes", type=int, default=4, help="over the texts, end to end, at most (4)")
    parser.add_argument("--batch_size", type=int, default=4, help="texts of a step (4)")
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-4, 1e-3], help="to choose from, layers")
    parser.add_argument("--scales", nargs="+", type=float, default=[1.0], help="to choose from, layers")
    parser.add_argument("--end_to_end_rates", nargs="+", type=float, default=[3e-3, 1e-2], help="to choose from")
    parser.add_argument("--end_to_end_scales", nargs="+", type=float, default=[0.0], help="to choose from")
    parser.add_argument("--window", type=int, default=512, help="of the perplexity, tokens (512)")
    parser.add_argument("--stride", type=int, default=256, help="of the perplexity, tokens (256)")
    parser.add_argument("--threads", type=int, default=0, help="(all)")
    parser.add_argument("--draw_layers", default="", help="only draw the layers' deltas of the first of everything")
    parser.add_argument("--summarise", default="", help="only summarise this file")
    parser.add_argument("--table", default="", help="Markdown file for the summary")
    parser.add_argument("--plot", default="", help="figure of the summary, .svg, .png or .pdf")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
