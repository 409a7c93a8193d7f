"""Norm-Q's interval study on an HMM of one's own: EM aware of quantisation, against quantising afterwards.

    python -m studies.aware_em.study --training runs/samples/commongen.train.{0,1,2} \\
        --test runs/samples/commongen.test --vocab_size 49152 --eos_token_id 0 \\
        --output runs/aware_em.jsonl --plot fig/aware_em.png fig/aware_em.svg
    python -m studies.aware_em.study ... --methods log-norm-q k-means --variants annealed straight-through

Every run's result is a line of OUTPUT; what is there already is not run again. EM starts from a random model of
--hidden_states states, another for each seed, or from --checkpoint (whose sizes count); the seed also draws the
training rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.figures import check_figure_path
from ctrlg.files.atomic import writable_folder
from ctrlg.files.locks import Lock
from ctrlg.hmm import HMM
from ctrlg.hmm.inference import check_tokens
from ctrlg.terminal.console import as_program
from ctrlg.terminal.flags import PlainArgumentParser
from ctrlg.terminal.plain_console import PlainConsole
from studies.aware_em.intervals import VARIANTS, SeedStudy, StudyRun, StudySettings, random_model
from studies.aware_em.results import add_result, open_results, plot_study


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    settings = StudySettings(
        arguments.hidden_states,
        arguments.steps,
        arguments.training_sequences,
        arguments.batch_size,
        arguments.pseudocount,
        arguments.straight_through_rate,
    )
    runs = all_runs(arguments)
    for run in runs:
        settings.schedule(run)
    for output in arguments.plot:
        check_figure_path(output)
    writable_folder(Path(arguments.output).parent)
    training = torch.cat([read_sequences(file) for file in arguments.training])
    test = read_sequences(arguments.test)[: arguments.test_sequences]
    start = HMM.from_pretrained(arguments.checkpoint) if arguments.checkpoint else None
    for sequences in (training, test):
        check_tokens(sequences, start.vocab_size if start else arguments.vocab_size)
    names = ("training", "test", "test_sequences", "checkpoint", "vocab_size", "eos_token_id")
    identity = vars(settings) | {name: getattr(arguments, name) for name in names}
    lock = Lock(arguments.output)
    results = open_results(arguments.output, identity)
    left = [run for run in runs if run not in results]
    console = PlainConsole()
    bar = (TextColumn("EM steps"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*bar, console=console) as progress:
        task = progress.add_task("", total=settings.em_steps(left))
        for seed in dict.fromkeys(run.seed for run in left):
            mine = [run for run in left if run.seed == seed]
            sizes = (settings.hidden_states, arguments.vocab_size, arguments.eos_token_id)
            first = start or random_model(*sizes, seed)
            study = SeedStudy(
                settings,
                seed,
                training,
                test,
                first.to(arguments.device),
                mine,
                report=lambda: progress.advance(task),
            )
            console.print(f"seed {seed}: {study.tokens:,} training tokens")
            for run in mine:
                started = time.monotonic()
                results[run] = study.run(run)
                add_result(arguments.output, run, results[run], time.monotonic() - started)
                console.print(describe(run, results[run]._asdict()), highlight=False, soft_wrap=True)
    lock.close()
    if arguments.plot:
        plot_study({run: results[run] for run in runs}, arguments.plot, command=" ".join(sys.argv))


def all_runs(arguments: argparse.Namespace) -> list[StudyRun]:
    intervals = [None if text == "none" else int(text) for text in arguments.intervals]
    parts = product(arguments.seeds, arguments.methods, arguments.variants, arguments.bits, intervals)
    return [StudyRun(method, bits, interval, variant, seed) for seed, method, variant, bits, interval in parts]


def describe(run: StudyRun, values: dict[str, float]) -> str:
    interval = "at the end" if run.interval is None else f"every {run.interval}"
    shown = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in values.items())
    return f"{run.method} {run.variant}, {run.bits} bits, {interval}, seed {run.seed}: {shown}"


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--training", nargs="+", required=True, help="sampled sequences")
    parser.add_argument("--test", required=True, help="sampled sequences that are not trained on")
    parser.add_argument("--vocab_size", type=int, required=True)
    parser.add_argument("--eos_token_id", type=int, required=True)
    parser.add_argument("--output", required=True, help="results, JSON lines")
    parser.add_argument("--plot", nargs="*", default=[], help="figures, .png or .svg")
    parser.add_argument("--methods", nargs="+", default=["norm-q"], help="one of docs/methods.md whose rows sum to 1")
    parser.add_argument("--variants", nargs="+", default=["plain"], help=", ".join(VARIANTS))
    parser.add_argument("--intervals", nargs="+", default=["1", "2", "5", "10", "20", "50", "none"])
    parser.add_argument("--bits", nargs="+", type=int, default=[3, 4, 8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--hidden_states", type=int, default=128)
    parser.add_argument("--checkpoint", default="", help="first model, instead of random ones")
    parser.add_argument("--steps", type=int, default=50, help="of EM")
    parser.add_argument("--training_sequences", type=int, default=5000, help="drawn for each seed")
    parser.add_argument("--test_sequences", type=int, default=2500)
    parser.add_argument("--batch_size", type=int, default=512)
    parser.add_argument("--pseudocount", type=float, default=0.001)
    parser.add_argument("--straight_through_rate", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
